"""
Natural group commit: whatever waits when one transaction ends is written by the next one, together.

There is no window of time: who comes alone is written at once, and the more come, the more share a transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
MOST_TOGETHER = 500


class GroupCommit(Generic[Item]):
    """
    Hands items to `store`, in the order they came, as many at a time as there are.

    `store` is synchronous, and stores all it is given or raises. Where it raises for many, each is tried alone, so that
    one which cannot be stored takes no other along.
    """

    def __init__(self, store: Callable[[Sequence[Item]], None]) -> None:
        self._store = store
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, item: Item) -> None:
        """Return once `item` is stored; raises what `store` did. Who is cancelled meanwhile leaves it to be stored."""
        await asyncio.shield(self.add(item))

    def add(self, item: Item) -> asyncio.Future[None]:
        """The same for who goes on meanwhile: what comes of it is told by the future, which nobody may cancel."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((item, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return stored

    async def drain(self) -> None:
        """Return once nothing waits."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write_all(self) -> None:
        while batch := self._waiting[:MOST_TOGETHER]:
            del self._waiting[:MOST_TOGETHER]
            errors = await sync_to_async(self._errors_of)([item for item, _ in batch])
            for (_, stored), error in zip(batch, errors, strict=True):
                if error is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(error)
        self._writing = None

    def _errors_of(self, items: Sequence[Item]) -> list[Exception | None]:
        """What kept each item from being stored."""
        try:
            self._store(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
            logger.warning(
                "%d could not be stored together (%s); each is tried alone.", len(items), type(error).__name__
            )
            return self._errors_one_by_one(items)
        return [None] * len(items)

    def _errors_one_by_one(self, items: Sequence[Item]) -> list[Exception | None]:
        errors: list[Exception | None] = []
        for place, item in enumerate(items):
            errors += self._errors_of([item])
            if isinstance(errors[-1], OperationalError | InterfaceError):
                # The database is gone or blocked, and each further one would wait for it as long.
                return errors + [errors[-1]] * (len(items) - place - 1)
        return errors
