"""
Natural group commit: whatever waits when one transaction ends is written by the next one, together.

There is no window of time: who comes alone is written at once, and the more come, the more share a transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
MOST_TOGETHER = 500
DATABASE_TROUBLE = (OperationalError, InterfaceError)


class GroupCommit(Generic[Item]):
    """
    Hands items to `store`, in the order they came, as many at a time as there are.

    `store` is synchronous, runs in `thread` (else where Django's queries run), and stores all it is given or raises.
    What failed by trouble of the database is tried once more: a deadlock, or a lock that somebody held for too long,
    passes. Where it raises for many, each is tried alone, so that one which cannot be stored takes no other along.
    What `store` was interrupted at (by Ctrl-C, the time limit of a task, the end of the loop) it is given once more:
    storing twice is as good as once.
    """

    def __init__(self, store: Callable[[Sequence[Item]], None], thread: Executor | None = None) -> None:
        self._store = store
        self._thread = thread
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, item: Item) -> None:
        """Return once `item` is stored; raises what `store` did. Who is cancelled meanwhile leaves it to be stored."""
        await self.add(item)

    def add(self, item: Item) -> asyncio.Future[None]:
        """The same for who goes on meanwhile: what comes of it is told by the future."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((item, stored))
        self._begin()
        return stored

    @property
    def waiting(self) -> int:
        """Items that are not stored yet."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Return once nothing waits."""
        while self._waiting or self._writing:
            await asyncio.wait([self._begin()])

    def _begin(self) -> asyncio.Task[None]:
        if self._writing is None or self._writing.done():  # of which `_end` may not have been told yet
            self._writing = asyncio.create_task(self._write_all())
            self._writing.add_done_callback(self._end)  # also of a task that was cancelled before it began
        return self._writing

    def _end(self, task: asyncio.Task[None]) -> None:
        if self._writing is task:
            self._writing = None
        if not task.cancelled():
            task.exception()  # which the loop has raised already: it is no news to the log

    async def _write_all(self) -> None:
        while batch := self._waiting[:MOST_TOGETHER]:
            errors = await self._in_thread([item for item, _ in batch])
            del self._waiting[: len(batch)]
            for (_, stored), error in zip(batch, errors, strict=True):
                if stored.done():  # who waited for it was cancelled
                    continue
                if error is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(error)

    async def _in_thread(self, items: Sequence[Item]) -> list[BaseException | None]:
        if self._thread is None:
            return await sync_to_async(self._errors_of)(items)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._errors_of, items)

    def _errors_of(self, items: Sequence[Item]) -> list[BaseException | None]:
        """What kept each item from being stored."""
        error = self._error_of(items)
        if len(items) == 1 or error is None:
            return [error] * len(items)
        logger.warning("%d could not be stored (%s); each is tried alone.", len(items), type(error).__name__)
        errors: list[BaseException | None] = []
        for place, item in enumerate(items):
            errors.append(self._error_of([item]))
            if place and all(isinstance(each, DATABASE_TROUBLE) for each in errors[-2:]):
                # The database is gone or blocked, and each further one would wait for it as long.
                return errors + [errors[-1]] * (len(items) - place - 1)
        return errors

    def _error_of(self, items: Sequence[Item]) -> BaseException | None:
        error = self._error_of_one_try(items)
        return self._error_of_one_try(items) if isinstance(error, DATABASE_TROUBLE) else error

    def _error_of_one_try(self, items: Sequence[Item]) -> BaseException | None:
        try:
            self._store(items)
        except (KeyboardInterrupt, SystemExit):  # they end the loop; the items still wait
            raise
        except BaseException as error:
            return error
        return None
