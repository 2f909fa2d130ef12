"""A call's receipt as JSON."""

from __future__ import annotations

from gateway.callers import Caller
from gateway.door.errors import DoorError


async def receipt(caller: Caller, call: str) -> bytes:
    """Raises DoorError."""
    raise DoorError(404, "unknown_call", "There is no call of that id here.")
