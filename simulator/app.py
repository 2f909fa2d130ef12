"""
The providers, simulated: one ASGI application that answers as all the providers do.

For the demo, tests and benchmarks: it needs no internet and no real key, and its answers depend on nothing
but the prompt and the responses that it goes on from. What a key is good for stands in the key itself (see
`KeyState`), for model calls and for the calls that validate a key alike; what goes wrong with a call stands in the
prompt, the key or a header (see `Fault`).
Only model calls are delayed. Never give it a real key.

It answers what clients of the providers ask for: chats, OpenAI's Responses, embeddings, counts of tokens and lists of
models, whole or as streams, with tools that are called (see `simulator.tools`) and output in the shape of a schema.
"""

from __future__ import annotations

import json
from asyncio import sleep
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from simulator.faults import HEADER, PAUSE_SECONDS, Fault, usage_as_told
from simulator.streams import Streamed
from simulator.wires.anthropic import AnthropicCompatibleWire, AnthropicWire, OpenRouterMessagesWire
from simulator.wires.base import Headers, KeyState, Reply, Wire, encode, next_id
from simulator.wires.compatible import CompatibleWire, MistralWire, OllamaWire
from simulator.wires.google import GeminiCompatibleWire, GoogleWire
from simulator.wires.openai import OpenAIWire
from simulator.wires.openrouter import OpenRouterWire
from simulator.wires.responses import CompatibleResponsesWire, OpenRouterResponsesWire, ResponsesWire

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answering = Callable[[dict[str, Any], Headers], Reply]

OPENAI, OPENROUTER, ANTHROPIC, GOOGLE = OpenAIWire(), OpenRouterWire(), AnthropicWire(), GoogleWire()
RESPONSES, COMPATIBLE_RESPONSES = ResponsesWire(), CompatibleResponsesWire()
ROUTER_RESPONSES, ROUTER_MESSAGES = OpenRouterResponsesWire(), OpenRouterMessagesWire()
MISTRAL, OLLAMA, COMPATIBLE = MistralWire(), OllamaWire(), CompatibleWire()
ANTHROPIC_COMPATIBLE, GEMINI_COMPATIBLE = AnthropicCompatibleWire(), GeminiCompatibleWire()

BASE_PATHS = {
    "openrouter": "/openrouter/api/v1",
    "openai": "/openai/v1",
    "anthropic": "/anthropic/v1",
    "google": "/google/v1beta",
    "mistral": "/mistral/v1",
    "ollama": "/ollama",
    "openai_compatible": "/compatible/v1",
    "anthropic_compatible": "/anthropic-compatible",
    "gemini_compatible": "/gemini-compatible",
}
CHATS: dict[str, Wire] = {
    "/openai/v1/chat/completions": OPENAI,
    "/openai/v1/responses": RESPONSES,
    "/openrouter/api/v1/chat/completions": OPENROUTER,
    "/openrouter/api/v1/responses": ROUTER_RESPONSES,
    "/openrouter/api/v1/messages": ROUTER_MESSAGES,
    "/anthropic/v1/messages": ANTHROPIC,
    "/mistral/v1/chat/completions": MISTRAL,
    "/ollama/v1/chat/completions": OLLAMA,
    "/compatible/v1/chat/completions": COMPATIBLE,
    "/compatible/v1/responses": COMPATIBLE_RESPONSES,
    "/anthropic-compatible/v1/messages": ANTHROPIC_COMPATIBLE,
}
LISTINGS: dict[str, Wire] = {
    "/openai/v1/models": OPENAI,
    "/openrouter/api/v1/models/user": OPENROUTER,
    "/anthropic/v1/models": ANTHROPIC,
    "/google/v1beta/models": GOOGLE,
    "/google/v1/models": GOOGLE,
    "/mistral/v1/models": MISTRAL,
    "/ollama/api/tags": OLLAMA,
    "/compatible/v1/models": COMPATIBLE,
    "/anthropic-compatible/v1/models": ANTHROPIC_COMPATIBLE,
    "/gemini-compatible/v1beta/models": GEMINI_COMPATIBLE,
}
# What else there is beside those chats.
EMBEDDINGS = {
    path.replace("/chat/completions", "/embeddings"): wire for path, wire in CHATS.items() if "/chat/" in path
}
COUNTS = {f"{path}/count_tokens": wire for path, wire in CHATS.items() if path.endswith("/messages")}
PUBLIC_LISTING = "/openrouter/api/v1/models"
OPEN_COMPATIBLE_LISTING = "/ollama/v1/models"
KEY_FACTS = "/openrouter/api/v1/key"
GEMINI_MODELS: dict[str, GoogleWire] = {
    "/google/v1beta/models/": GOOGLE,
    "/google/v1/models/": GOOGLE,
    "/gemini-compatible/v1beta/models/": GEMINI_COMPATIBLE,
}


class Simulator:
    """
    The application. `delay_seconds` may be changed while it runs; `model_calls` counts the calls.

    For tests: `received` holds the bodies of the latest model calls, and replies put into `upcoming` are given to the
    next ones, in their order, whatever these ask. `spent` is what keys used, in USD, where a provider tells that.
    """

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.model_calls = 0
        self.received: deque[Any] = deque(maxlen=100)
        self.upcoming: deque[Reply] = deque()
        self.spent: defaultdict[str, float] = defaultdict(float)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            body = await _read(receive)
            wire, reply = await self._answer(scope, dict(scope["headers"]), body)
            if reply.streamed:
                await _stream(receive, send, wire, reply.streamed, reply.fault)
            else:
                await _send(receive, send, wire, reply)

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], body: bytes) -> tuple[Wire, Reply]:
        method, path = scope["method"], scope["path"]
        if method == "POST":
            if route := _route(path, scope["query_string"]):
                wire, answering, told = route
                return wire, await self._call(wire, answering, told, headers, body)
        elif method == "GET":
            if path == PUBLIC_LISTING:
                return OPENROUTER, _listing(OPENROUTER)
            if path == OPEN_COMPATIBLE_LISTING:
                return OLLAMA, OLLAMA.compatible_listing()
            if listed := LISTINGS.get(path):
                state = KeyState.of(key := listed.key(headers))
                lists = state in (KeyState.VALID, KeyState.DRAINED)
                return listed, _listing(listed) if lists else listed.refusal(state, key)
            if path == KEY_FACTS:
                key = OPENROUTER.key(headers)
                return OPENROUTER, OPENROUTER.key_facts(KeyState.of(key), key, self.spent[key])
        wire = next((chat for start, chat in CHATS.items() if path.startswith(start.split("v1")[0])), GOOGLE)
        return wire, wire.not_found(f"Invalid URL ({method} {path})")

    async def _call(
        self, wire: Wire, answering: Answering, told: dict[str, Any], headers: dict[bytes, bytes], body: bytes
    ) -> Reply:
        self.model_calls += 1
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        self.received.append(content)
        scripted = self.upcoming.popleft() if self.upcoming else None
        if self.delay_seconds > 0:
            await sleep(self.delay_seconds)
        if scripted is not None:
            return scripted
        state = KeyState.of(key := wire.key(headers))
        if state is not KeyState.VALID:
            return wire.refusal(KeyState.NO_CREDIT if state is KeyState.DRAINED else state, key)
        if not isinstance(content, dict):
            return wire.bad_request("We could not parse the JSON body of your request.")
        fault = Fault.of(body, key, headers.get(HEADER, b"").decode("latin-1"))
        if fault and (failed := wire.faulty(fault)):
            return failed
        content |= told
        reply = answering(content, headers)
        if reply.status != 200 or not isinstance(reply.content, dict):
            return reply
        self.spent[key] += (reply.content.get("usage") or {}).get("cost") or 0
        whole = usage_as_told(reply.content, fault) if fault else reply.content
        streamed = wire.streamed(whole, content) if content.get("stream") else None
        return replace(reply, content=whole, streamed=streamed, fault=fault)


def create_app(delay_seconds: float = 0.0) -> Simulator:
    """A simulator whose model calls take `delay_seconds`, and no longer than Python needs if that is 0."""
    return Simulator(delay_seconds)


def origins(address: str) -> dict[str, str]:
    """KEYFARE_PROVIDER_ORIGINS for a simulator at `address` ("http://127.0.0.1:9001"), by provider."""
    return {slug: f"{address}{path}" for slug, path in BASE_PATHS.items()}


def _route(path: str, query: bytes) -> tuple[Wire, Answering, dict[str, Any]] | None:
    """Who answers a model call at this path and how, and what Google's say there that others say in the body."""
    if wire := CHATS.get(path):
        return wire, wire.chat, {}
    if wire := EMBEDDINGS.get(path):
        return wire, wire.embed, {}
    if wire := COUNTS.get(path):
        return wire, wire.count, {}
    start = next((start for start in GEMINI_MODELS if path.startswith(start)), None)
    if start is None:
        return None
    gemini = GEMINI_MODELS[start]
    model, _, method = path.removeprefix(start).rpartition(":")
    match method:
        case "generateContent":
            return gemini, gemini.chat, {"model": model, "stream": False}
        case "streamGenerateContent":
            alt = parse_qs(query.decode()).get("alt", [""])[0]
            return gemini, gemini.chat, {"model": model, "stream": True, "alt": alt}
        case "countTokens":
            return gemini, gemini.count, {"model": model, "stream": False}
        case "embedContent" | "batchEmbedContents":
            return gemini, gemini.embed, {"model": model, "stream": False}
    return None


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


async def _send(receive: Receive, send: Send, wire: Wire, reply: Reply) -> None:
    """A server closes the connection where an answer does not hold what its length says."""
    content = encode(reply.content)
    if reply.fault is Fault.SLOW:
        await sleep(5 * PAUSE_SECONDS)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (wire.request_id_header.encode(), next_id("req_").encode()),
        *((name.encode(), value.encode()) for name, value in reply.headers.items()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.fault in (Fault.CUT, Fault.STALL):
        await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
        if reply.fault is Fault.STALL:
            await _gone(receive)
    else:
        await send({"type": "http.response.body", "body": content})


async def _stream(receive: Receive, send: Send, wire: Wire, streamed: Streamed, fault: Fault | None) -> None:
    """Each event as a chunk of its own. A server closes the connection where the answer does not end."""
    headers = [
        (b"content-type", streamed.content_type.encode()),
        (wire.request_id_header.encode(), next_id("req_").encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for raw in streamed.with_fault(fault):
        if fault is Fault.SLOW:
            await sleep(PAUSE_SECONDS)
        await send({"type": "http.response.body", "body": raw, "more_body": True})
    if fault is Fault.STALL:
        await _gone(receive)
    elif fault is not Fault.CUT:
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
