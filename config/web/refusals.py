"""Answers that are given before the application is asked, or in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

DISCONNECT: Message = {"type": "http.disconnect"}
QUIET_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    title: str
    sentence: str
    retry_after_seconds: int | None = None
    address: str = ""  # where to go instead of back


# Headers and body of the answer to a request; its length, and Connection where needed, are added by `refuse`.
Render = Callable[[Scope, Refusal], tuple[list[tuple[bytes, bytes]], bytes]]


async def refuse(
    refusal: Refusal, *, render: Render, scope: Scope, receive: Receive, send: Send, linger_seconds: float = 0
) -> None:
    """
    Answer with `refusal`.

    With `linger_seconds` the client is still sending: the connection is given up, but what arrives is thrown away for
    so long first. Closed at once, it would be reset, and the client would never read why.
    """
    headers, body = render(scope, refusal)
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    if linger_seconds and scope.get("http_version", "1.1").startswith("1"):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    if linger_seconds:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await _throw_away(receive, linger_seconds)
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _throw_away(receive: Receive, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                message = await asyncio.wait_for(receive(), QUIET_SECONDS)
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
