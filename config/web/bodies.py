"""
Bodies of requests: how large they may be, and how long they may take.

Django writes a body to memory or disk as a whole before anything looks at it. Here it is refused by its declared
length at once, else at the first byte too many, or when it trickles: the application then sees a client that has
left, and the client reads a page that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from config.web.refusals import DISCONNECT, Application, Message, Receive, Refusal, Render, Scope, Send, refuse

# Somebody who sends on at full speed reads the answer only after this much more of it.
LINGER_SECONDS = 30.0
LINGER_WITH_SLOW_SECONDS = 2.0
SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limit:
    """
    Of a body: its size, the time for all of it, and the pace below which nobody may fall after the first seconds.

    `sentence` tells a person what is possible instead.
    """

    bytes: int
    seconds: float
    sentence: str
    grace_seconds: float = 20
    bytes_a_second: int = 4096


TOO_SLOW = Refusal(
    408,
    "That took too long",
    "Nothing was changed: what you sent did not arrive in time. Try again over a better connection, or send less.",
)
FULL = Refusal(
    503,
    "Too much arrives at once",
    "Nothing was changed: others are sending much at this moment. Try again in half a minute.",
    retry_after_seconds=30,
)


def too_large(limit: Limit) -> Refusal:
    return Refusal(413, "That was too much at once", f"Nothing was changed. {limit.sentence}")


class Bodies:
    """ASGI: around `app`, with `limit_of` a path. Together, bodies being read or worked on hold `most_held_bytes`."""

    def __init__(
        self, app: Application, *, limit_of: Callable[[str], Limit], render: Render, most_held_bytes: int
    ) -> None:
        self.app = app
        self.limit_of = limit_of
        self.render = render
        self.most_held_bytes = most_held_bytes
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit_of(scope["path"])
        body = _Body(self, limit, receive, send)
        if _declared_bytes(scope) > limit.bytes:
            body.refusal = too_large(limit)
        else:
            try:
                await self.app(scope, body.receive, body.send)
            finally:
                self.held_bytes -= body.bytes
        if body.refusal is not None and not body.is_answered:
            linger = LINGER_WITH_SLOW_SECONDS if body.refusal is TOO_SLOW else LINGER_SECONDS
            await refuse(
                body.refusal, render=self.render, scope=scope, receive=receive, send=send, linger_seconds=linger
            )


class _Body:
    def __init__(self, around: Bodies, limit: Limit, receive: Receive, send: Send) -> None:
        self._around = around
        self._limit = limit
        self._receive = receive
        self._send = send
        self._began = asyncio.get_running_loop().time()
        self._is_whole = False
        self.bytes = 0
        self.refusal: Refusal | None = None
        self.is_answered = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()  # waits for the client to leave, however long
        if self.refusal is not None:
            return DISCONNECT
        try:
            async with asyncio.timeout_at(self._deadline()):
                message = await self._receive()
        except TimeoutError:
            self.refusal = TOO_SLOW
            return DISCONNECT
        if message["type"] != "http.request":
            return message
        self._is_whole = not message.get("more_body", False)
        arrived = len(message.get("body", b""))
        self.bytes += arrived
        self._around.held_bytes += arrived
        if self.bytes > self._limit.bytes:
            self.refusal = too_large(self._limit)
        elif self.bytes > SMALL_BYTES and self._around.held_bytes > self._around.most_held_bytes:
            self.refusal = FULL
        return message if self.refusal is None else DISCONNECT

    async def send(self, message: Message) -> None:
        """What the application says to a client that it believes to have left is not sent."""
        if self.refusal is None or self.is_answered:
            self.is_answered = True
            await self._send(message)

    def _deadline(self) -> float:
        pace = self._limit.grace_seconds + self.bytes / self._limit.bytes_a_second
        return self._began + min(self._limit.seconds, pace)


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value.lstrip(b"0")[:19] or b"0")  # of a longer number the beginning says enough
    return 0
