"""
Runs a command for another process, and ends it with all that it started when that process is gone.

    python -m config.child PARENT_PID COMMAND…

What does not end in time is killed. The worker's processes, which have a group of their own, end with its supervisor.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE_SECONDS = 8.0
LOOK_EVERY_SECONDS = 0.2


def run(parent: int, command: list[str]) -> int:
    """The command's exit code, once it has ended by itself, `parent` is gone or SIGTERM came."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: told.set())
    child = subprocess.Popen(command, start_new_session=True)  # noqa: S603  # our caller's own command line
    while child.poll() is None and os.getppid() == parent and not told.wait(LOOK_EVERY_SECONDS):
        pass
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
