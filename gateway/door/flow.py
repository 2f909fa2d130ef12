"""What a caller gets while a stream runs."""

from __future__ import annotations

import asyncio
import time

from gateway.door.asgi import Send
from gateway.door.endpoints import Wire
from gateway.door.estimates import written_in
from providers.adapters.dialects.base import Stream

PING_SECONDS = 15.0
COMMENT = b": waiting\n\n"
# None on Gemini's: its SDKs (Python 3.6, Go 1.x; 2026-11) fail at whatever is not data, a comment too.
PINGS = {Wire.OPENAI: COMMENT, Wire.ANTHROPIC: b'event: ping\ndata: {"type": "ping"}\n\n'}


class Flow:
    """The events of a stream; while it is entered, pings between them where the provider is silent."""

    def __init__(self, send: Send, stream: Stream, wire: Wire, *, is_events: bool) -> None:
        self._send, self._stream = send, stream
        self._ping = PINGS.get(wire)
        self.is_events = is_events
        self.written = 0
        self._sent_at = time.monotonic()
        self._is_sending = False
        self._timer: asyncio.TimerHandle | None = None
        self._pings: set[asyncio.Task[None]] = set()

    async def hand_on(self, chunk: bytes) -> None:
        self.written += written_in(chunk)
        self._is_sending = True
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._is_sending = False
        self._sent_at = time.monotonic()

    async def __aenter__(self) -> None:
        if self.is_events and self._ping:
            self._look_later()

    async def __aexit__(self, *raised: object) -> None:
        if self._timer:
            self._timer.cancel()
        await asyncio.gather(*self._pings, return_exceptions=True)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._look)

    def _look(self) -> None:
        is_silent = time.monotonic() - self._sent_at >= PING_SECONDS * 0.9
        if is_silent and not self._is_sending and not self._pings and self._stream.is_between_events:
            ping = asyncio.ensure_future(self._send_ping())
            self._pings.add(ping)
            ping.add_done_callback(self._pings.discard)
        self._look_later()

    async def _send_ping(self) -> None:
        await self._send({"type": "http.response.body", "body": self._ping, "more_body": True})
        self._sent_at = time.monotonic()
