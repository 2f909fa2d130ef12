"""What holds for the streams of every dialect, whatever comes and however it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.embeddings import OPENAI_EMBEDDINGS
from providers.adapters.dialects.events import MOST_EVENT_BYTES
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.responses import OPENAI_RESPONSES
from tests.providers.dialects.feeding import compact, cut, feed, followed, one_by_one, seen, sse
from tests.providers.dialects.recordings import BODIES, COUNTED, ELEMENTS, chunk, response
from usage.tokens import TokenUsage

each = pytest.mark.parametrize("dialect", list(BODIES), ids=lambda dialect: type(dialect).__name__)


@each
def test_every_way_to_write_the_same_events_is_read_the_same(dialect):
    body = BODIES[dialect]
    meant = seen(followed(dialect, body))

    for same in (
        body.replace(b"\n", b"\r\n"),
        body.replace(b"\n", b"\r"),
        body.replace(b"\n\n", b"\n\r\n"),
        body.replace(b"data: ", b"data:"),
        b"\xef\xbb\xbf" + body,
        b": a comment\n\n\n" + body.replace(b"\n\n", b"\n\n: a comment\n\n"),
        body.replace(b"\n\n", b"\nid: 1\nretry: 100\n\n"),
        body.replace(b"data: {", b"data: {\ndata: "),
        body.removesuffix(b"\n\n"),
        body + b"data: \n\n",
    ):
        for pieces in ([same], one_by_one(same), cut(same, range(0, len(same), 3))):
            stream = dialect.stream()
            assert feed(stream, pieces) == same
            assert seen(stream) == meant, same


@each
def test_events_are_handed_on_as_soon_as_they_have_ended(dialect):
    stream, waiting = dialect.stream(), b""

    for byte in one_by_one(BODIES[dialect]):
        waiting += byte
        handed_on = b"".join(stream.feed(byte))
        assert handed_on == (waiting if waiting.endswith(b"\n\n") else b"")
        waiting = b"" if handed_on else waiting


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        (OPENAI_CHAT, chunk(choices=[{"message": {"content": "Hello"}, "finish_reason": "stop"}], usage=COUNTED)),
        (OPENAI_RESPONSES, response()),
        (ANTHROPIC_MESSAGES, {"stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 5}}),
        (GEMINI, ELEMENTS[-1]),
    ],
    ids=["chat", "responses", "messages", "gemini"],
)
def test_a_server_that_does_not_stream_is_read_all_the_same(dialect, answer):
    body = json.dumps(answer, indent=1).encode()

    for pieces in ([body], one_by_one(body)):
        stream = dialect.stream()
        assert feed(stream, pieces) == body
        assert stream.report == dialect.answer(body).report
        assert stream.usage is not None
        assert (stream.usage.total, stream.is_complete, stream.error) == (15, True, None)


@each
def test_a_whole_error_in_the_place_of_a_stream_is_one(dialect):
    stream = followed(dialect, b'{"error": {"message": "Overloaded", "code": "busy", "type": "error"}}')

    assert stream.error is not None
    assert stream.error.code == "busy"


def with_much(dialect: Dialect, much: object) -> dict[str, Any]:
    """An event that ends an answer of 15 tokens, with `much` before what it says of itself."""
    if dialect is OPENAI_RESPONSES:
        tools = [{"name": "report", "parameters": {"properties": {"usage": {"type": "string"}}}}]
        answer = {"id": "resp_1", "output": much, "tools": tools, "usage": response()["usage"]}
        return {"type": "response.completed", "response": answer}
    return {"much": much, **(ELEMENTS[-1] if dialect is GEMINI else chunk("", "stop", usage=COUNTED))}


with_long_ends = pytest.mark.parametrize(
    "dialect", [OPENAI_CHAT, OPENAI_RESPONSES, GEMINI], ids=["chat", "responses", "gemini"]
)


@with_long_ends
def test_an_event_with_a_picture_in_it_is_passed_on_in_parts_and_its_tokens_are_counted(dialect):
    body = BODIES[dialect][:80] + b"\n\n" + sse(with_much(dialect, "x" * 2 * MOST_EVENT_BYTES))
    stream = dialect.stream()
    handed_on = [stream.feed(piece) for piece in cut(body, range(0, len(body), 65_536))]

    assert b"".join(chunk for chunks in handed_on for chunk in chunks) == body
    assert max(len(chunk) for chunks in handed_on for chunk in chunks) <= MOST_EVENT_BYTES + 65_536
    assert stream.usage is not None
    assert stream.usage.total == 15
    assert stream.is_complete == (dialect is not OPENAI_CHAT), "[DONE] is still to come"
    assert feed(stream, [b"data: [DONE]\n\n"]) == b"data: [DONE]\n\n"
    assert stream.is_complete


@with_long_ends
def test_an_event_of_too_many_values_is_still_counted(dialect):
    body = BODIES[dialect][:80] + b"\n\n" + sse(with_much(dialect, [0] * 200_001))

    stream = followed(dialect, body)

    assert stream.usage is not None
    assert stream.usage.total == 15


@each
def test_a_long_event_that_was_cut_off_is_handed_on_and_read_as_far_as_it_came(dialect):
    body = BODIES[dialect] + b"data: " + b"x" * 2 * MOST_EVENT_BYTES
    stream = dialect.stream()

    assert feed(stream, cut(body, range(0, len(body), 65_536))) == body
    assert seen(stream) == seen(followed(dialect, BODIES[dialect]))
    assert not stream.is_between_events


def test_a_whole_answer_of_any_size_is_counted():
    numbers = [{"object": "embedding", "embedding": [0.25] * 1_000, "index": index} for index in range(300)]
    body = compact({"data": numbers, "model": "text-embedding-3", "usage": {"prompt_tokens": 7, "total_tokens": 7}})

    report = OPENAI_EMBEDDINGS.answer(body.encode()).report

    assert (report.usage, report.doubt) == (TokenUsage(uncached_input=7), None)


def test_embeddings_write_nothing_whether_or_not_they_say_so():
    answer = {"data": [], "model": "text-embedding-3", "usage": {"prompt_tokens": 7}}

    report = OPENAI_EMBEDDINGS.answer(compact(answer).encode()).report

    assert (report.usage, report.doubt, report.served_model) == (TokenUsage(uncached_input=7), None, "text-embedding-3")
    assert GEMINI.answer(b'{"embedding": {"values": [1]}}').report.usage is None


MEMBERS = st.sampled_from(
    [
        *("id", "model", "choices", "usage", "error", "type", "message", "delta", "response", "status", "output"),
        *("candidates", "usageMetadata", "finishReason", "promptFeedback", "blockReason", "stop_reason", "index"),
        *("finish_reason", "x_groq", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"),
        *("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "cache_creation", "incomplete_details"),
    ]
)
WORDS = st.sampled_from(
    ["message_start", "message_delta", "message_stop", "error", "response.completed", "response.failed", "failed", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**30) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=5),
    max_leaves=12,
)
EVENTS = st.builds(
    lambda name, text, end: (f"event: {name}{end}" if name else "") + f"data: {text}{end}{end}",
    WORDS,
    st.dictionaries(MEMBERS, VALUES, max_size=6).map(json.dumps) | st.sampled_from(["[DONE]", "", "{", "[1]", '"x"']),
    st.sampled_from(["\n", "\r\n", "\r"]),
).map(str.encode)
ANYTHING = st.lists(
    EVENTS | st.binary(max_size=20) | st.sampled_from([b"[", b"]", b",", b"\n", b"\r"]), max_size=6
).map(b"".join)


@each
@unhurried(deadline=None, max_examples=150)
@example(body=b"data: {\x00}\n\ndata: \xff\n\n", places=set())
@example(body=b"[" * 5_000 + b"]" * 5_000, places={100})
@example(body=b"data: " + b"[" * 5_000 + b"\n\n", places=set())
@example(body=b'data: {"error": null, "type": []}\n\n', places=set())
@given(body=ANYTHING, places=st.sets(st.integers(0, 400), max_size=20))
def test_nothing_that_comes_raises_or_is_lost_and_cuts_change_nothing(dialect, body, places):
    stream, other = dialect.stream(), dialect.stream()

    assert feed(stream, [body]) == body
    assert feed(other, cut(body, places)) == body
    assert seen(stream) == seen(other)
    dialect.answer(body)
