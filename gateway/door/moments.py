"""The database's time without asking it each time: what it said a moment ago, and what has passed since."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Self

from asgiref.sync import sync_to_async

from organizations import clock

logger = logging.getLogger(__name__)

ASK_EVERY_SECONDS = 30.0


class Moments:
    def __init__(self, told: datetime) -> None:
        self._take(told)

    @classmethod
    @asynccontextmanager
    async def kept(cls) -> AsyncIterator[Self]:
        """For the running loop. Where the database cannot be asked, what it said last goes on."""
        moments = cls(await sync_to_async(clock.now)())
        task = asyncio.create_task(moments._ask_on())
        try:
            yield moments
        finally:
            task.cancel()

    def now(self) -> datetime:
        return self._told + timedelta(seconds=time.monotonic() - self._at)

    def _take(self, told: datetime) -> None:
        self._told, self._at = told, time.monotonic()

    async def _ask_on(self) -> None:
        while True:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            try:
                self._take(await sync_to_async(clock.now)())
            except Exception as error:  # whatever it is: what was said last goes on
                logger.warning("The database could not be asked for its time: %s", error)
