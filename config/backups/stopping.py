"""Being told to stop: by default SIGTERM and SIGHUP end a process where it stands, and what it had begun would stay."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clearing_up_when_stopped() -> Iterator[None]:
    """Within it, both end the process as an exception does: by way of every `finally`. For main threads."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: object) -> None:
    sys.exit(128 + number)
