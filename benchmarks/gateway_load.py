"""
What stands around a gateway when it is measured, on a core of its own: the provider behind it, and the clients.

    python -m benchmarks.gateway_load PORT      serves the provider, until it is ended

Both speak just as much HTTP/1.1 as they need, so that they cost little beside what is measured. The provider answers
OpenAI chat completions of about 0.9 KB: at once, under /slow after 50 ms, and as a stream of 100 events, one each 5 ms.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop

SLOW_SECONDS = 0.05
EVENTS, EVENT_EVERY_SECONDS = 100, 0.005
TEXT = "The quick brown fox jumps over the lazy dog. " * 11
USAGE = {"prompt_tokens": 210, "completion_tokens": 120, "total_tokens": 330}


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


_CHOICE = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1-mini"}
ANSWER = _whole(_json({**_HEAD, "choices": [_CHOICE], "usage": USAGE, "service_tier": "default"}))
MODELS = _whole(_json({"object": "list", "data": [{"id": "gpt-4.1-mini"}, {"id": "mistral-small-latest"}]}))
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _delta(delta: object, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _chunk(_json({**_HEAD, "object": "chat.completion.chunk", "choices": [choice], "usage": None}))


EVENT = _delta({"content": "seven words of an answer and more "})
LAST_EVENTS = (
    _delta({}, "stop")
    + _chunk(_json({**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}))
    + _chunk(b"[DONE]")
    + b"0\r\n\r\n"
)


class Provider(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.received = cast("asyncio.Transport", transport), bytearray()
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.received[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else end]) if at >= 0 else 0
        if len(self.received) < end + 4 + length:
            return
        body = bytes(self.received[end + 4 : end + 4 + length])
        del self.received[: end + 4 + length]
        if head.startswith(b"get"):
            self.transport.write(MODELS)
        elif b'"stream":true' in body:
            self.transport.write(STREAM_HEAD)
            self.loop.call_later(EVENT_EVERY_SECONDS, self.event, 0, self.loop.time())
        elif b"/slow/" in head[:60]:
            self.loop.call_later(SLOW_SECONDS, self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)

    def event(self, number: int, began: float) -> None:
        if self.transport.is_closing():
            return
        if number == EVENTS:
            self.transport.write(LAST_EVENTS)
            return
        self.transport.write(EVENT)
        self.loop.call_at(began + (number + 2) * EVENT_EVERY_SECONDS, self.event, number + 1, began)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", port, backlog=512)
    async with server:
        await server.serve_forever()


def question(model: str, *, stream: bool = False) -> bytes:
    """About 1.1 KB, as clients write it."""
    messages = [{"role": "system", "content": "You are terse. " * 30}, {"role": "user", "content": "Why? " * 100}]
    content: dict[str, object] = {"model": model, "messages": messages, "max_completion_tokens": 400}
    return _json({**content, "stream": True} if stream else content)


@dataclass(slots=True)
class Figures:
    """What clients saw: how many answers in how many seconds, and how long each took, in milliseconds."""

    answers: int = 0
    failures: int = 0
    seconds: float = 0.0
    took_ms: list[float] = field(default_factory=list)
    events: int = 0

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0

    def percentile(self, which: int) -> float:
        if len(self.took_ms) < 2:
            return 0.0
        return statistics.quantiles(self.took_ms, n=100, method="inclusive")[which - 1]


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(
        self, request: bytes, figures: Figures, go_on: Callable[[], bool], ended: asyncio.Future[None]
    ) -> None:
        self.request, self.figures, self.go_on, self.ended = request, figures, go_on, ended
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.needed = -1
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        received = self.received
        received += data
        if self.needed < 0:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(received[:end]).lower()
            at = head.find(b"content-length:")
            self.is_fine = head.startswith(b"http/1.1 200")
            self.needed = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if self.needed:
            if len(received) < self.needed:
                return
        elif not received.endswith(b"0\r\n\r\n"):
            return
        else:
            self.figures.events += received.count(b"data: ")
        received.clear()
        self.figures.answers += self.is_fine
        self.figures.failures += not self.is_fine
        self.figures.took_ms.append((time.perf_counter() - self.began) * 1000)
        if self.go_on():
            self.ask()
        else:
            self.transport.close()
            self.end()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.figures.failures += 1
            self.end()

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def load(
    port: int, path: str, token: str, body: bytes, *, connections: int, seconds: float = 0.0, each: int = 0
) -> Figures:
    """Asks over so many connections for so long, or until `each` of them was answered so often."""
    loop, figures = asyncio.get_running_loop(), Figures()
    request = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    began = time.perf_counter()

    def until() -> bool:
        return time.perf_counter() - began < seconds

    async def one() -> None:
        left, ended = [each - 1], loop.create_future()

        def again() -> bool:
            left[0] -= 1
            return left[0] >= 0

        go_on = again if each else until
        await loop.create_connection(lambda: Client(request, figures, go_on, ended), "127.0.0.1", port)
        await ended

    await asyncio.gather(*(one() for _ in range(connections)))
    figures.seconds = time.perf_counter() - began
    return figures


def loaded(
    port: int, path: str, token: str, body: bytes, *, connections: int, seconds: float = 0.0, each: int = 0
) -> Figures:
    return uvloop.run(load(port, path, token, body, connections=connections, seconds=seconds, each=each))


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
