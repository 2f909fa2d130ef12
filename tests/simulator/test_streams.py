"""Streams of the simulator over real sockets, through the egress and the dialects that serve the providers' own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers.adapters.base import ChatRequest, ErrorKind, HttpCall, Message, ProviderError
from providers.adapters.dialects.base import Answer, Dialect, Stream
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.request import Request
from providers.adapters.dialects.responses import OPENAI_RESPONSES
from providers.adapters.exchange import Finish
from providers.catalog import PROVIDERS, effective_base_url
from providers.egress.addresses import ANYWHERE
from providers.egress.client import Limits, open_call
from providers.egress.connections import open_client
from providers.egress.short_calls import send_now
from simulator.app import create_app
from simulator.faults import Fault
from tests.simulator.test_app import MODEL, PROMPT, key

pytestmark = pytest.mark.usefixtures("simulated_providers")

# Every wire that streams; Gemini's in both its forms.
GEMINI_WIRES = ("google", "gemini_compatible")
WIRES = [
    *(slug for slug in PROVIDERS if slug not in GEMINI_WIRES),
    *("openai responses", "openai_compatible responses"),
    *("google events", "google array", "gemini_compatible events", "gemini_compatible array"),
]
every_wire = pytest.mark.parametrize("wire", WIRES)
REFUSE_TO_BE_ASKED = ("mistral",)


def call(wire: str, prompt: str = PROMPT, *, streams: bool = True) -> tuple[Dialect, HttpCall, dict[str, str]]:
    """The call that a client's own becomes on its way through, and the headers that carry its key."""
    slug, _, form = wire.partition(" ")
    adapter, base_url, model = PROVIDERS[slug].adapter, effective_base_url(slug), MODEL[slug]
    credential_headers = adapter.credential_headers(key(slug))
    ours = adapter.chat_call(base_url, ChatRequest(model, "Answer.", (Message("user", prompt),)))
    assert ours.body
    dialect = OPENAI_RESPONSES if form == "responses" else adapter.dialect
    if slug in GEMINI_WIRES:
        method = (
            f"streamGenerateContent{'?alt=sse&key=ours' if form == 'events' else ''}" if streams else "generateContent"
        )
        asked: Request = GEMINI.request(ours.body, f"/v1/models/{model}:{method}")
        url, body = f"{adapter.root(base_url)}/{asked.path(model=model)}", asked.rewritten(model=model)
    else:
        content = json.loads(ours.body)
        if form == "responses":
            content = {"model": model, "input": [{"role": "user", "content": prompt}]}
        asked = dialect.request(json.dumps({**content, "stream": streams}).encode())
        url = f"{base_url}/responses" if form == "responses" else ours.url
        body = asked.rewritten(model=model, asks_for_usage=slug not in REFUSE_TO_BE_ASKED)
    return dialect, HttpCall("POST", url, ours.headers, body), credential_headers


def follow(wire: str, prompt: str = PROMPT) -> tuple[Stream, bytes, ProviderError | None]:
    """The stream as far as it came, all its bytes, and how it broke off."""
    dialect, asked, credential_headers = call(wire, prompt)
    stream, received = dialect.stream(), bytearray()

    async def read() -> ProviderError | None:
        async with open_client() as egress:
            answer = await open_call(
                egress, asked, credential_headers=credential_headers, limits=Limits(10), reach=ANYWHERE
            )
            async with answer:
                assert answer.status == 200
                try:
                    async for data in answer.chunks():
                        received.extend(b"".join(stream.feed(data)))
                except ProviderError as error:
                    return error
        return None

    broke = asyncio.run(read())
    return stream, bytes(received) + b"".join(stream.close()), broke


def whole(wire: str, prompt: str = PROMPT) -> Answer:
    dialect, asked, headers = call(wire, prompt, streams=False)
    answer = send_now(asked, credential_headers=headers, timeout_seconds=10, reach=ANYWHERE)
    assert answer.status == 200
    return dialect.answer(answer.body)


def texts_in(content: Any) -> Iterator[str]:
    """What a model wrote, wherever an event keeps it: under "content", "delta" or "text"."""
    if isinstance(content, list):
        for row in content:
            yield from texts_in(row)
    elif isinstance(content, dict):
        for name in ("choices", "candidates", "delta", "content", "parts", "text"):
            value = content.get(name)
            if isinstance(value, str):
                yield value
            else:
                yield from texts_in(value)


@every_wire
def test_a_stream_says_what_the_whole_answer_says(wire):
    stream, body, broke = follow(wire)

    answer = whole(wire)
    assert broke is None
    assert (stream.is_complete, stream.error, stream.report.doubt) == (True, None, None)
    assert stream.usage == answer.report.usage
    assert stream.usage is not None
    assert (stream.report.served_model, stream.finish) == (answer.report.served_model, Finish.STOP)
    assert stream.finish_reason == answer.report.finish_reason
    events = json.loads(body) if wire.endswith("array") else [
        json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")
    ]  # fmt: skip
    deltas = [event for event in events if event.get("type", "delta").endswith("delta")]
    assert json.loads("".join(texts_in(deltas)))["verdicts"][0]["quote"] == "Wrote services in Python."


@every_wire
def test_a_stream_that_is_cut_is_not_complete(wire):
    stream, body, broke = follow(wire, f"{PROMPT} {Fault.CUT}")

    assert broke is not None
    assert broke.kind is ErrorKind.UNREACHABLE
    assert body
    assert not stream.is_complete
    assert stream.error is None
    assert stream.usage is None or stream.report.doubt


@every_wire
def test_a_stream_that_stalls_waits_until_the_caller_goes(wire):
    """Without sockets, as there is no other way to see that nothing more will come."""
    dialect, asked, credential_headers = call(wire, f"{PROMPT} {Fault.STALL}")
    stream, sent, gone = dialect.stream(), [], asyncio.Event()
    bodies = [{"type": "http.request", "body": asked.body}]

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def stall() -> None:
        headers = [(name.encode(), value.encode()) for name, value in {**asked.headers, **credential_headers}.items()]
        url = urlsplit(asked.url)
        place = {"path": url.path, "query_string": url.query.encode()}
        scope = {"type": "http", "method": "POST", **place, "headers": headers}
        answering = asyncio.ensure_future(create_app()(scope, receive, send))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not answering.done()
        gone.set()
        await answering

    asyncio.run(stall())
    for message in sent[1:]:
        stream.feed(message["body"])

    assert len(sent) > 2
    assert all(message["more_body"] for message in sent[1:])
    assert not stream.is_complete


@every_wire
def test_an_error_in_mid_stream_is_one_in_the_words_of_the_wire(wire):
    stream, body, broke = follow(wire, f"{PROMPT} {Fault.BROKEN}")

    assert broke is None
    assert stream.error is not None
    assert stream.error.code or stream.error.type == "overloaded_error"
    if wire.endswith("array"):
        assert "error" in json.loads(body)[-1]


@every_wire
def test_a_stream_without_usage_is_complete_all_the_same(wire):
    stream, _, _ = follow(wire, f"{PROMPT} {Fault.NO_USAGE}")

    assert stream.usage is None
    assert stream.is_complete


@every_wire
def test_usage_that_comes_twice_counts_once(wire):
    stream, body, _ = follow(wire, f"{PROMPT} {Fault.USAGE_TWICE}")

    _, once, _ = follow(wire)
    assert len(body) > len(once)
    assert stream.usage == whole(wire, f"{PROMPT} {Fault.USAGE_TWICE}").report.usage


def test_a_client_of_openai_that_does_not_ask_gets_no_usage():
    _, asked, headers = call("openai")
    assert asked.body
    content = json.loads(asked.body)
    del content["stream_options"]
    unasked = replace(asked, body=json.dumps(content).encode())
    answer = send_now(unasked, credential_headers=headers, timeout_seconds=10, reach=ANYWHERE)

    stream = OPENAI_CHAT.stream()
    stream.feed(answer.body)

    assert (stream.is_complete, stream.usage) == (True, None)
    assert answer.headers["content-type"] == "text/event-stream"
