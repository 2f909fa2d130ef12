"""What a broken provider says reaches an official SDK as it would without us, or as an error of ours; and is booked."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from organizations.tenancy import EVERY, scope
from tests.gateway.callers import usable_key
from tests.gateway.door.conftest import MODELS, SECRETS, RunningDoor, make_agent, served_door, token_for
from tests.gateway.door.test_odd_answers import Server, server
from tests.gateway.door.upstream import chat_answer, chat_event
from tests.served import wait_until
from usage.models import InFlightCall

__all__ = ["server"]
ANSWER = chat_answer()
BOMB = gzip.compress(bytes(50_000_000))
EVENTS = b"text/event-stream"
OF_OURS = (openai.APIError, anthropic.APIError, errors.APIError)


def http(
    body: bytes,
    *headers: bytes,
    status: bytes = b"200 OK",
    kind: bytes = b"application/json",
    length: int | None = None,
) -> bytes:
    lines = [b"content-type: " + kind] * bool(kind) + list(headers)
    said = len(body) if length is None else length
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"content-length: %d" % said, b"", body])


WHOLE = {
    "of another shape": http(b'{"choices": 7, "content": 5, "candidates": "x", "output": {}, "usage": [1]}'),
    "no object": http(b"[null]"),
    "nothing": http(b""),
    "cut": http(ANSWER[:50], length=500),
    "half a letter": http(b'{"choices": [{"message": {"content": "\xe2\x82'),
    "half a pair": http(b'{"id": "\\ud800", "model": "\\ud800", "choices": []}'),
    "a page": http(b"<html>", kind=b"text/html"),
    "of no kind": http(ANSWER, kind=b""),
    "in UTF-16": http(ANSWER.decode().encode("utf-16"), kind=b"application/json; charset=utf-16"),
    "after many beginnings": b"HTTP/1.1 100 Continue\r\n\r\n" * 500 + http(ANSWER),
    "a bomb": http(BOMB, b"content-encoding: gzip"),
    "an error that is a bomb": http(BOMB, b"content-encoding: gzip", status=b"400 X"),
    "an endless page of an error": http(b"<html>" + b"a" * 200_000, status=b"400 X", kind=b"text/html"),
    "an error that is none": http(b"null", status=b"422 X"),
    "numbers beyond all": http(b'{"usage": {"prompt_tokens": NaN, "completion_tokens": 1e999}}'),
    "too deep": http(b'{"choices": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "headers without end": http(ANSWER, *(b"x-%d: %b" % (number, b"a" * 4000) for number in range(100))),
}
STREAMS = {
    "no JSON": http(b"data: {\n\ndata: [DONE]\n\n", kind=EVENTS),
    "no letters": http(b"data: \xff\xfe\n\n", kind=EVENTS),
    "half a letter": http(b'data: {"choices": [{"index": 0, "delta": {"content": "\xe2\x82', kind=EVENTS),
    "no objects": http(b"data: null\n\ndata: 5\n\ndata: []\n\n", kind=EVENTS),
    "nothing": http(b"", kind=EVENTS),
    "zeros": http(bytes(100), kind=EVENTS),
    "cut": http(chat_event("one"), kind=EVENTS, length=100_000),
    "an event without end": http(b"data: " + b"a" * 3_000_000, kind=EVENTS),
    "an error of another shape": http(b'event: error\ndata: {"error": {"message": 5, "type": []}}\n\n', kind=EVENTS),
    "a bomb": WHOLE["a bomb"],
    "an error that is a bomb": WHOLE["an error that is a bomb"],
    "a whole answer": http(ANSWER),
}


def chat(address: str, key: str, stream: bool) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client:
        asked = [{"role": "user", "content": "Who?"}]
        read(client.chat.completions.create(model="openai-agent", messages=asked, stream=stream), stream)


def response(address: str, key: str, stream: bool) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client:
        read(client.responses.create(model="openai-agent", input="Who?", stream=stream), stream)


def message(address: str, key: str, stream: bool) -> None:
    with anthropic.Anthropic(base_url=address, api_key=key, max_retries=0) as client:
        asked = [{"role": "user", "content": "Who?"}]
        read(
            client.messages.create(model="anthropic-agent", max_tokens=9, messages=asked, stream=stream),
            stream,
        )


def content(address: str, key: str, stream: bool) -> None:
    options = types.HttpOptions(base_url=address, retry_options=types.HttpRetryOptions(attempts=1))
    with genai.Client(api_key=key, http_options=options) as client:
        if stream:
            read(client.models.generate_content_stream(model="google-agent", contents="Who?"), stream)
        else:
            client.models.generate_content(model="google-agent", contents="Who?")


def read(answer: object, stream: bool) -> None:
    if stream:
        list(answer)  # type: ignore[call-overload]  # each SDK has a type of its own


@dataclass
class Hostile:
    server: Server
    door: RunningDoor


@pytest.fixture
def hostile(transactional_db, settings, acme, alice, server) -> Iterator[Hostile]:
    settings.KEYFARE_PROVIDER_ORIGINS = dict.fromkeys(SECRETS, server.address)
    with scope(EVERY, "a test"):
        for provider, secret in SECRETS.items():
            key = usable_key(acme, "Default", secret, provider=provider)
            make_agent(acme, f"{provider}-agent", key, MODELS[provider])
    running = RunningDoor(acme, alice, token_for(acme, alice))
    with served_door() as running.address:
        yield Hostile(server, running)


def outcome(ask: Callable[[str, str, bool], None], address: str, key: str, stream: bool) -> BaseException | None:
    try:
        ask(address, key, stream)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("ask", [chat, response, message, content])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_sdk_is_no_worse_off_than_without_us(hostile, caplog, ask, stream) -> None:
    door = hostile.door
    for number, (name, answer) in enumerate((STREAMS if stream else WHOLE).items(), 1):
        hostile.server.answer = answer

        direct = outcome(ask, hostile.server.address, "sk-direct", stream)
        ours = outcome(ask, door.address, door.token, stream)

        assert type(ours) is type(direct) or isinstance(ours, OF_OURS), (name, direct, ours)
        wait_until(lambda: door.events.count() >= number)  # noqa: B023  # which is called at once
        assert door.events.count() == number, name
    assert not InFlightCall.objects.for_organization(door.organization).exists()
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
