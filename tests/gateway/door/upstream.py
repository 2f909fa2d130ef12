"""A provider that notes exactly what it is sent and answers exactly what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """`chunks` are sent one by one; where one is a float, so many seconds pass, and CUT breaks the connection."""

    chunks: Sequence[bytes | float] = ()
    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)


CUT = b"\x00cut"


def chat_answer(text: str = "Hello") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    content = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1-mini"}
    return json.dumps({**content, "choices": [choice], "usage": USAGE}).encode()


def chat_event(text: str = "", *, finish: str | None = None, usage: object = None) -> bytes:
    choices = [] if usage else [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]
    content = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1-mini"}
    return b"data: " + json.dumps({**content, "choices": choices, "usage": usage}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
EVENTS = (("content-type", "text/event-stream"),)


def chat_stream(*texts: str) -> Scripted:
    events = [chat_event(text) for text in texts]
    return Scripted([*events, chat_event(finish="stop"), chat_event(usage=USAGE), DONE], headers=EVENTS)


@dataclass
class Upstream:
    """`left` is set when a caller hung up before the end of an answer."""

    received: list[Received] = field(default_factory=list)
    answers: deque[Scripted] = field(default_factory=deque)
    left: int = 0
    sent: int = 0  # chunks of answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        received = Received(scope["method"], scope["path"], scope["query_string"].decode(), headers, body)
        self.received.append(received)
        await self.reply(self.answer_to(received), receive, send)

    def answer_to(self, received: Received) -> Scripted:
        return self.answers.popleft() if self.answers else Scripted([chat_answer()])

    async def reply(self, answer: Scripted, receive: Any, send: Any) -> None:
        raw = [(name.encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        leaving = asyncio.ensure_future(receive())
        try:
            async for chunk in self._chunks(answer, leaving):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self.sent += 1
            if not leaving.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()

    async def _chunks(self, answer: Scripted, leaving: asyncio.Future[Any]) -> AsyncIterator[bytes]:
        for chunk in answer.chunks:
            if isinstance(chunk, float):
                await asyncio.wait([leaving], timeout=chunk)
            elif chunk == CUT:
                raise ConnectionAbortedError
            else:
                yield chunk
                await asyncio.sleep(0)
            if leaving.done():
                self.left += 1
                return
