"""
The providers, simulated: one ASGI application that answers as all the providers do.

For the demo, tests and benchmarks: it needs no internet and no real key, and its answers depend on nothing
but the prompt. What a key is good for stands in the key itself (see `KeyState`), for model calls and for the
calls that validate a key alike; what goes wrong with a stream stands in the prompt (see `Fault`). Only model calls are
delayed. Never give it a real key.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from simulator.streams import Fault, Streamed
from simulator.wires.anthropic import AnthropicWire
from simulator.wires.base import KeyState, Reply, Wire, encode, next_id
from simulator.wires.compatible import CompatibleWire, MistralWire, OllamaWire
from simulator.wires.google import GoogleWire
from simulator.wires.openai import OpenAIWire, OpenRouterWire
from simulator.wires.responses import ResponsesWire

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPENAI, OPENROUTER, ANTHROPIC, GOOGLE = OpenAIWire(), OpenRouterWire(), AnthropicWire(), GoogleWire()
RESPONSES = ResponsesWire()
MISTRAL, OLLAMA, COMPATIBLE = MistralWire(), OllamaWire(), CompatibleWire()

BASE_PATHS = {
    "openrouter": "/openrouter/api/v1",
    "openai": "/openai/v1",
    "anthropic": "/anthropic/v1",
    "google": "/google/v1beta",
    "mistral": "/mistral/v1",
    "ollama": "/ollama",
    "openai_compatible": "/compatible/v1",
}
CHATS: dict[str, Wire] = {
    "/openai/v1/chat/completions": OPENAI,
    "/openai/v1/responses": RESPONSES,
    "/openrouter/api/v1/chat/completions": OPENROUTER,
    "/anthropic/v1/messages": ANTHROPIC,
    "/mistral/v1/chat/completions": MISTRAL,
    "/ollama/v1/chat/completions": OLLAMA,
    "/compatible/v1/chat/completions": COMPATIBLE,
}
LISTINGS: dict[str, Wire] = {
    "/openai/v1/models": OPENAI,
    "/openrouter/api/v1/models/user": OPENROUTER,
    "/anthropic/v1/models": ANTHROPIC,
    "/google/v1beta/models": GOOGLE,
    "/mistral/v1/models": MISTRAL,
    "/ollama/api/tags": OLLAMA,
    "/compatible/v1/models": COMPATIBLE,
}
PUBLIC_LISTING = "/openrouter/api/v1/models"
OPEN_COMPATIBLE_LISTING = "/ollama/v1/models"
KEY_FACTS = "/openrouter/api/v1/key"
GOOGLE_MODELS = "/google/v1beta/models/"
STREAM = "streamGenerateContent"
GOOGLE_METHODS = ("generateContent", STREAM)


class Simulator:
    """
    The application. `delay_seconds` may be changed while it runs; `model_calls` counts the calls.

    For tests: `received` holds the bodies of the latest model calls, and replies put into `upcoming` are given to the
    next ones, in their order, whatever these ask.
    """

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.model_calls = 0
        self.received: deque[Any] = deque(maxlen=100)
        self.upcoming: deque[Reply] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            body = await _read(receive)
            wire, reply = await self._answer(scope, dict(scope["headers"]), body)
            if reply.streamed:
                await _stream(receive, send, wire, reply.streamed, Fault.of(body))
            else:
                await _send(send, wire, reply)

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], body: bytes) -> tuple[Wire, Reply]:
        method, path = scope["method"], scope["path"]
        if method == "POST":
            wire, told = _chat_route(path, scope["query_string"])
            if wire:
                return wire, await self._chat(wire, told, headers, body)
        elif method == "GET":
            if path == PUBLIC_LISTING:
                return OPENROUTER, _listing(OPENROUTER)
            if path == OPEN_COMPATIBLE_LISTING:
                return OLLAMA, OLLAMA.compatible_listing()
            if wire := LISTINGS.get(path):
                state = KeyState.of(key := wire.key(headers))
                lists = state in (KeyState.VALID, KeyState.DRAINED)
                return wire, _listing(wire) if lists else wire.refusal(state, key)
            if path == KEY_FACTS:
                key = OPENROUTER.key(headers)
                return OPENROUTER, OPENROUTER.key_facts(KeyState.of(key), key)
        wire = next((chat for start, chat in CHATS.items() if path.startswith(start.split("v1")[0])), GOOGLE)
        return wire, wire.not_found(f"Invalid URL ({method} {path})")

    async def _chat(self, wire: Wire, told: dict[str, Any], headers: dict[bytes, bytes], body: bytes) -> Reply:
        self.model_calls += 1
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        self.received.append(content)
        scripted = self.upcoming.popleft() if self.upcoming else None
        if self.delay_seconds > 0:
            await asyncio.sleep(self.delay_seconds)
        if scripted is not None:
            return scripted
        state = KeyState.of(key := wire.key(headers))
        if state is not KeyState.VALID:
            return wire.refusal(KeyState.NO_CREDIT if state is KeyState.DRAINED else state, key)
        if not isinstance(content, dict):
            return wire.bad_request("We could not parse the JSON body of your request.")
        content |= told
        reply = wire.chat(content, headers)
        if not content.get("stream") or reply.status != 200:
            return reply
        whole: Any = reply.content
        if Fault.of(body) is Fault.NO_USAGE:
            whole = {name: value for name, value in whole.items() if name not in ("usage", "usageMetadata")}
        return replace(reply, streamed=wire.streamed(whole, content))


def create_app(delay_seconds: float = 0.0) -> Simulator:
    """A simulator whose model calls take `delay_seconds`, and no longer than Python needs if that is 0."""
    return Simulator(delay_seconds)


def origins(address: str) -> dict[str, str]:
    """KEYFARE_PROVIDER_ORIGINS for a simulator at `address` ("http://127.0.0.1:9001"), by provider."""
    return {slug: f"{address}{path}" for slug, path in BASE_PATHS.items()}


def _chat_route(path: str, query: bytes) -> tuple[Wire | None, dict[str, Any]]:
    """Who answers a model call at this path, and what Google's say that others say in the body."""
    if wire := CHATS.get(path):
        return wire, {}
    model, _, method = path.removeprefix(GOOGLE_MODELS).rpartition(":")
    if not path.startswith(GOOGLE_MODELS) or method not in GOOGLE_METHODS:
        return None, {}
    if method == STREAM:
        return GOOGLE, {"model": model, "stream": True, "alt": parse_qs(query.decode()).get("alt", [""])[0]}
    return GOOGLE, {"model": model}


@cache
def _listing(wire: Wire) -> Reply:
    return wire.listing()


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _send(send: Send, wire: Wire, reply: Reply) -> None:
    content = encode(reply.content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (wire.request_id_header.encode(), next_id("req_").encode()),
        *((name.encode(), value.encode()) for name, value in reply.headers.items()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _stream(receive: Receive, send: Send, wire: Wire, streamed: Streamed, fault: Fault | None) -> None:
    """Each event as a chunk of its own. A server closes the connection where the answer does not end."""
    headers = [
        (b"content-type", streamed.content_type.encode()),
        (wire.request_id_header.encode(), next_id("req_").encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for raw in streamed.with_fault(fault):
        await send({"type": "http.response.body", "body": raw, "more_body": True})
    if fault is Fault.STALL:
        while (await receive())["type"] != "http.disconnect":
            pass
    elif fault is not Fault.CUT:
        await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
