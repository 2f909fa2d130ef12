"""
Finding out whose a token is that no snapshot holds.

Whoever sends tokens at random costs little: what waits is asked for together, one question at a time, with a pause
after each that met a stranger; what was unknown is remembered, up to a number, until some token changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from gateway.snapshot_reading import KnownToken, find_tokens

MOST_REMEMBERED = 10_000
MOST_WAITING = 2_000
MOST_AT_ONCE = 500
PAUSE_SECONDS = 0.02

# The token where it was revoked, the id of the organization in whose snapshot it is, or None of a stranger.
Found = KnownToken | int | None


class TooManyUnknown(Exception):
    """So many wait that another one would not get an answer in time."""


class TokenSearch:
    """Belongs to one event loop. `in_thread` has a thread ask the database, `begin` starts a task that may be ended."""

    def __init__(
        self,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        begin: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._in_thread, self._begin = in_thread, begin
        self._remembered: dict[str, KnownToken | None] = {}  # by prefix, the oldest first
        self._waiting: dict[str, asyncio.Future[Found]] = {}
        self._is_searching = False
        self._forgotten = 0  # how often

    async def find(self, prefix: str) -> Found:
        """The token that begins with `prefix`. Raises TooManyUnknown and DatabaseError."""
        if prefix in self._remembered:
            return self._remembered[prefix]
        answer = self._waiting.get(prefix)
        if answer is None:
            if len(self._waiting) >= MOST_WAITING:
                raise TooManyUnknown
            answer = self._waiting[prefix] = asyncio.get_running_loop().create_future()
            if not self._is_searching:
                self._is_searching = True
                self._begin(self._search())
        return await asyncio.shield(answer)

    def forget(self) -> None:
        """Some token changed; what is being asked for is not remembered either."""
        self._remembered.clear()
        self._forgotten += 1

    async def _search(self) -> None:
        try:
            while prefixes := list(self._waiting)[:MOST_AT_ONCE]:
                await self._search_for(prefixes)
        finally:
            self._is_searching = False

    async def _search_for(self, prefixes: list[str]) -> None:
        forgotten = self._forgotten
        try:
            found = await self._in_thread(partial(find_tokens, prefixes))
        except Exception as error:  # for whoever waits: what it means, and whether it is logged, they decide
            for prefix in prefixes:
                answer = self._waiting.pop(prefix)
                answer.set_exception(error)
                answer.exception()  # which is no news where nobody waits any more
            return
        for prefix in prefixes:
            token = found.get(prefix)
            if not isinstance(token, int) and forgotten == self._forgotten:
                self._remembered[prefix] = token
            self._waiting.pop(prefix).set_result(token)
        while len(self._remembered) > MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        if len(found) < len(prefixes):
            await asyncio.sleep(PAUSE_SECONDS)
