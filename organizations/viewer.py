"""
Whether whoever looks may see what things cost. Owners and admins may; members where an owner lets them.

Set once, where it becomes known who looks: by `organization_view`, the door of the API and that of the gateway. Asked
by `usage/audience.py` alone. Nobody in particular (a job, a command, the admin of staff) may.

Like the scope of tenancy it belongs to the running context, so what is made later, such as the rest of a streamed
answer, has to enter it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_may_see_usd: ContextVar[bool] = ContextVar("keyfare_viewer", default=True)


@contextmanager
def viewing(*, sees_usd: bool) -> Iterator[None]:
    """Within it, whoever looks sees USD or not."""
    token = _may_see_usd.set(sees_usd)
    try:
        yield
    finally:
        _may_see_usd.reset(token)


def may_see_usd() -> bool:
    return _may_see_usd.get()
