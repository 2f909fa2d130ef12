"""Streams of the simulator over real sockets, read by the dialects that read the providers'."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from providers.adapters.base import ChatRequest, Message
from providers.adapters.dialects.base import Dialect, Stream
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.request import Request
from providers.adapters.dialects.responses import OPENAI_RESPONSES
from providers.adapters.exchange import Finish
from providers.catalog import PROVIDERS, effective_base_url
from simulator.app import create_app
from simulator.streams import Fault
from tests.simulator.test_app import MODEL, PROMPT, key

pytestmark = pytest.mark.usefixtures("simulated_providers")

# Every wire that streams; Gemini's in both its forms.
WIRES = [*(slug for slug in PROVIDERS if slug != "google"), "openai responses", "google events", "google array"]
every_wire = pytest.mark.parametrize("wire", WIRES)
REFUSE_TO_BE_ASKED = ("mistral",)


def call(wire: str, prompt: str = PROMPT, *, streams: bool = True) -> tuple[Dialect, httpx.Request]:
    """The request that a client's own becomes on its way through."""
    slug, _, form = wire.partition(" ")
    adapter, base_url = PROVIDERS[slug].adapter, effective_base_url(slug)
    headers = adapter.credential_headers(key(slug))
    if form == "responses":
        content: dict[str, Any] = {"model": MODEL[slug], "input": [{"role": "user", "content": prompt}]}
        body = json.dumps({**content, "stream": streams}).encode()
        rewritten = OPENAI_RESPONSES.request(body).rewritten(model=MODEL[slug])
        return OPENAI_RESPONSES, httpx.Request("POST", f"{base_url}/responses", headers=headers, content=rewritten)
    whole = adapter.chat_call(base_url, ChatRequest(MODEL[slug], "Answer.", (Message("user", prompt),)))
    assert whole.body
    if slug == "google":
        query = "?alt=sse&key=ours" if form == "events" else ""
        method = "streamGenerateContent" if streams else "generateContent"
        asked_of_us: Request = GEMINI.request(whole.body, f"/v1/models/{MODEL[slug]}:{method}{query}")
        url, body = f"{base_url}/{asked_of_us.path(model=MODEL[slug])}", asked_of_us.rewritten(model=MODEL[slug])
    else:
        content = json.loads(whole.body)
        asked_of_us = adapter.dialect.request(json.dumps({**content, "stream": streams}).encode())
        url = whole.url
        body = asked_of_us.rewritten(model=MODEL[slug], asks_for_usage=slug not in REFUSE_TO_BE_ASKED)
    return adapter.dialect, httpx.Request("POST", url, headers={**headers, **whole.headers}, content=body)


def follow(wire: str, prompt: str = PROMPT) -> tuple[Stream, bytes, Exception | None]:
    """The stream as far as it came, all its bytes, and how it broke off."""
    dialect, request = call(wire, prompt)
    stream, body, broke = dialect.stream(), b"", None
    with httpx.Client(timeout=10, trust_env=False) as client:
        answer = client.send(request, stream=True)
        assert answer.status_code == 200, answer.read()
        try:
            for data in answer.iter_raw():
                body += b"".join(stream.feed(data))
        except httpx.TransportError as error:
            broke = error
        finally:
            answer.close()
    return stream, body + b"".join(stream.close()), broke


def whole(wire: str, prompt: str = PROMPT) -> Any:
    dialect, request = call(wire, prompt, streams=False)
    with httpx.Client(timeout=10, trust_env=False) as client:
        answer = client.send(request)
    assert answer.status_code == 200
    return dialect.answer(answer.content)


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

    assert isinstance(broke, httpx.RemoteProtocolError)
    assert body
    assert not stream.is_complete
    assert stream.error is None
    assert stream.usage is None or stream.report.doubt


@every_wire
def test_a_stream_that_stalls_waits_until_the_caller_goes(wire):
    """Without sockets, as there is no other way to see that nothing more will come."""
    dialect, request = call(wire, f"{PROMPT} {Fault.STALL}")
    stream, sent, gone = dialect.stream(), [], asyncio.Event()
    bodies = [{"type": "http.request", "body": request.content}]

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def stall() -> None:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        url = httpx.URL(request.url)
        scope = {"type": "http", "method": "POST", "path": url.path, "query_string": url.query, "headers": headers}
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
    _, request = call("openai")
    asked = json.loads(request.content)
    del asked["stream_options"]
    headers = {"authorization": request.headers["authorization"]}
    answer = httpx.post(request.url, headers=headers, json=asked, trust_env=False)

    stream = OPENAI_CHAT.stream()
    stream.feed(answer.content)

    assert (stream.is_complete, stream.usage) == (True, None)
    assert answer.headers["content-type"] == "text/event-stream"
