"""One timer for all that a call waits for: `asyncio.timeout` would make one for each of its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Part = TypeVar("Part")


class Deadline:
    """Of one call: `seconds` over everything, `idle_seconds` for each wait. Belongs to the task that makes it."""

    def __init__(self, seconds: float, idle_seconds: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101  # for the type checker
        self._task = task
        self._over_at = self._loop.time() + seconds
        self._idle_seconds = idle_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._is_waiting = False
        self._until = 0.0  # when the wait ends that is under way
        self._has_ended_it = False

    async def within(self, work: Callable[[], Awaitable[Part]]) -> Part:
        """What `work` gives. Raises TimeoutError."""
        now, self._until = self._loop.time(), self._over_at
        if self._idle_seconds is not None:
            self._until = min(self._until, now + self._idle_seconds)
        if self._until <= now:
            raise TimeoutError
        if self._timer is None:
            self._timer = self._loop.call_at(self._until, self._look)
        cancelled_before, self._is_waiting = self._task.cancelling(), True
        try:
            return await work()
        except asyncio.CancelledError:
            if self._has_ended_it and self._task.uncancel() <= cancelled_before:
                raise TimeoutError from None
            raise
        finally:
            self._is_waiting = False

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """A timer never fires later than the wait ends that is under way: each ends later than those before."""
        self._timer = None
        if not self._is_waiting:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._look)
        else:
            self._has_ended_it = self._task.cancel()
