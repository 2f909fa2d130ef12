"""
How many requests are in the application at once: no more than there are database connections for.

A request takes its room when its body has arrived, so that slow senders hold none, and keeps it until the application
is done with it. Who finds no room waits for one, then reads that Keyfare is busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from config.web.refusals import DISCONNECT, Application, Message, Receive, Refusal, Render, Scope, Send, refuse

RETRY_AFTER_SECONDS = 5
# A client that does not read keeps its room for so long, all pauses together; of some kinds longer.
PATIENCE_WITH_READERS_SECONDS = 120.0
BUSY = Refusal(
    503,
    "Keyfare is busy",
    "Nothing was changed: more is asked of Keyfare than it can answer at this moment. Try again in a few seconds.",
    retry_after_seconds=RETRY_AFTER_SECONDS,
)


class Rooms:
    """
    ASGI: around an `app` that reads the whole body of a request before it works on it.

    `sizes` says how many rooms of a kind there are, `kind_of` which kind a path takes: one kind full stops no other.
    """

    def __init__(
        self,
        app: Application,
        *,
        sizes: Mapping[str, int],
        kind_of: Callable[[str], str],
        wait_seconds: float,
        render: Render,
        patience: Mapping[str, float] | None = None,
    ) -> None:
        self.app = app
        self.kind_of = kind_of
        self.wait_seconds = wait_seconds
        self.render = render
        self.patience = patience or {}
        self._rooms = {kind: asyncio.Semaphore(size) for kind, size in sizes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        kind = self.kind_of(scope["path"])
        patience = self.patience.get(kind, PATIENCE_WITH_READERS_SECONDS)
        guest = _Guest(self._rooms[kind], self.wait_seconds, patience, receive, send)
        try:
            await self.app(scope, guest.receive, guest.send)
        finally:
            guest.leave()
        if guest.is_turned_away:
            await refuse(BUSY, render=self.render, scope=scope, receive=receive, send=send)


class _Guest:
    def __init__(
        self, rooms: asyncio.Semaphore, wait_seconds: float, patience_seconds: float, receive: Receive, send: Send
    ) -> None:
        self._rooms = rooms
        self._wait_seconds = wait_seconds
        self._receive = receive
        self._send = send
        self._is_inside = False
        self._patience_seconds = patience_seconds
        self.is_turned_away = False

    async def receive(self) -> Message:
        if self.is_turned_away:
            return DISCONNECT
        message = await self._receive()
        if self._is_inside or message["type"] != "http.request" or message.get("more_body", False):
            return message
        return message if await self._enter() else DISCONNECT

    async def send(self, message: Message) -> None:
        if self.is_turned_away or self._patience_seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_seconds):
                await self._send(message)
        self._patience_seconds -= loop.time() - began

    def leave(self) -> None:
        if self._is_inside:
            self._rooms.release()

    async def _enter(self) -> bool:
        """Whether there is a room; else the client has left, or is to be turned away."""
        if not self._rooms.locked():
            await self._rooms.acquire()  # does not wait
            self._is_inside = True
            return True
        has_room = asyncio.ensure_future(self._rooms.acquire())
        has_left = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({has_room, has_left}, timeout=self._wait_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            client_left = has_left.done()
            for waiting in (has_room, has_left):
                waiting.cancel()
            await asyncio.gather(has_room, has_left, return_exceptions=True)
            # Left by whoever is inside even at the moment of giving up: the room is ours to give back.
            self._is_inside = not has_room.cancelled() and has_room.exception() is None
        self.is_turned_away = not self._is_inside and not client_left
        return self._is_inside and not client_left
