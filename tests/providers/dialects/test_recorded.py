"""The dialects against recordings of real traffic, where those lie beside the project: cut wherever a network may."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from providers.adapters.base import HttpAnswer
from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect, Stream
from providers.adapters.dialects.embeddings import OPENAI_EMBEDDINGS
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.responses import OPENAI_RESPONSES
from providers.catalog import PROVIDERS
from tests.providers.dialects.feeding import cut, feed, one_by_one, seen
from tests.providers.test_adapters_cassettes import CASSETTES, recorded
from usage.tokens import Doubt, TokenUsage

pytestmark = pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")

DIALECTS: dict[str, Dialect] = {
    "chat_completions": OPENAI_CHAT,
    "responses": OPENAI_RESPONSES,
    "messages": ANTHROPIC_MESSAGES,
    "generateContent": GEMINI,
    "streamGenerateContent": GEMINI,
    "embeddings": OPENAI_EMBEDDINGS,
    "embedContent": GEMINI,
}
SMALL = 2_500
SEARCHED = "anthropic__messages__stream__02.json"  # for which the provider charges apart
EVERY_LINE_END = re.compile(rb"\r|\n")


def recordings() -> Iterator[Any]:
    """Each recorded answer in a dialect of ours; Cohere's and Ollama's own are none."""
    if not CASSETTES.is_dir():
        return
    expected = json.loads((CASSETTES / "expected.json").read_text(), parse_float=Decimal)
    for name in sorted(expected):
        for entry in expected[name] if isinstance(expected[name], list) else ():
            if entry["endpoint"] in DIALECTS:
                yield pytest.param(name, entry, id=f"{name.removesuffix('.json')}-{entry['index']}")


ALL = list(recordings())
STREAMS = [row for row in ALL if row.values[1]["stream"]]
WHOLE = [row for row in ALL if not row.values[1]["stream"]]
of_streams = pytest.mark.parametrize(("name", "entry"), STREAMS)


def body_of(name: str, entry: dict[str, Any]) -> bytes:
    return recorded(name, entry["index"]).body


def stream_of(entry: dict[str, Any]) -> Stream:
    return DIALECTS[entry["endpoint"]].stream()


def assert_counted(usage: TokenUsage | None, entry: dict[str, Any]) -> None:
    meant = entry["usage"]
    if meant is None:
        assert usage is None
        return
    assert usage is not None
    assert (usage.input_total, usage.output) == (meant["input"], meant["output"])
    assert usage.cache_read == min(meant["cached_input"], meant["input"])
    assert usage.cache_write + usage.cache_write_1h == min(meant["cache_write"], meant["input"] - usage.cache_read)
    assert usage.reasoning == min(meant["reasoning"], meant["output"])


def test_there_are_streams_of_every_dialect_that_has_them():
    assert {row.values[1]["endpoint"] for row in STREAMS} == {
        "chat_completions",
        "responses",
        "messages",
        "streamGenerateContent",
    }
    assert len(STREAMS) >= 38
    assert len(WHOLE) >= 60


@of_streams
def test_the_tokens_of_a_stream_are_those_that_its_provider_meant(name, entry):
    body, stream = body_of(name, entry), stream_of(entry)

    assert feed(stream, [body]) == body
    assert_counted(stream.usage, entry)
    assert stream.report.served_model == entry["model"]
    assert stream.is_complete == (not entry.get("error"))
    assert bool(stream.finish_reason) == stream.is_complete
    assert stream.report.doubt == (Doubt.EXTRAS if name == SEARCHED else None)


@of_streams
def test_no_cut_in_two_changes_what_is_read(name, entry):
    body, stream = body_of(name, entry), stream_of(entry)
    feed(stream, [body])
    borders = {place + near for found in EVERY_LINE_END.finditer(body) for place in [found.start()] for near in (0, 1)}
    places = range(1, len(body)) if len(body) <= SMALL else sorted(borders)

    for place in places:
        other = stream_of(entry)
        assert feed(other, cut(body, [place])) == body
        assert seen(other) == seen(stream), place


@of_streams
def test_a_stream_that_comes_byte_by_byte_is_read_the_same(name, entry):
    body, stream, other = body_of(name, entry), stream_of(entry), stream_of(entry)
    feed(stream, [body])

    assert feed(other, one_by_one(body)) == body
    assert seen(other) == seen(stream)


@pytest.mark.skipif(not STREAMS, reason="needs the recordings in ../shared/data/cassettes")
@unhurried(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_cuts_at_all_change_what_is_read(data):
    name, entry = data.draw(st.sampled_from([row.values for row in STREAMS]), label="recording")
    body, stream, other = body_of(name, entry), stream_of(entry), stream_of(entry)
    feed(stream, [body])
    places = data.draw(st.sets(st.integers(1, len(body) - 1), max_size=40), label="places")

    assert feed(other, cut(body, places)) == body
    assert seen(other) == seen(stream)


@of_streams
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_change_nothing(name, entry, end):
    body, stream, other = body_of(name, entry), stream_of(entry), stream_of(entry)
    feed(stream, [body])
    same = body.replace(b"\r\n", b"\n").replace(b"\n", end)

    assert feed(other, cut(same, range(0, len(same), 7))) == same
    assert seen(other) == seen(stream)


@pytest.mark.parametrize(("name", "entry"), [row for row in STREAMS if row.values[1]["provider"] == "google"])
def test_a_stream_of_gemini_as_an_array_counts_the_same(name, entry):
    body, stream = body_of(name, entry), stream_of(entry)
    feed(stream, [body])
    elements = [event.removeprefix(b"data: ") for event in body.split(b"\r\n\r\n") if event]
    array = b"[" + b"\n,\r\n".join(elements) + b"\n]"

    for pieces in ([array], one_by_one(array), cut(array, range(0, len(array), 11))):
        other = stream_of(entry)
        assert feed(other, pieces) == array
        assert seen(other) == seen(stream)
    whole = GEMINI.answer(array)
    assert (whole.report, whole.error) == (stream.report, None)
    assert PROVIDERS["google"].adapter.parse_chat(HttpAnswer(200, {}, array)).report == stream.report


@pytest.mark.parametrize(("name", "entry"), WHOLE)
def test_whole_answers_count_the_same(name, entry):
    answer = DIALECTS[entry["endpoint"]].answer(body_of(name, entry))

    assert_counted(answer.report.usage, entry)
    assert (answer.error is not None) == bool(entry.get("error"))
    if not answer.error:
        assert answer.report.served_model == (entry["model"] or "")
        assert answer.report.finish_reason or "embed" in entry["endpoint"]


@pytest.mark.parametrize(("name", "entry"), [row for row in STREAMS if row.values[1]["provider"] in PROVIDERS])
def test_the_adapter_reads_a_stream_as_it_reads_a_whole_answer(name, entry):
    stream = stream_of(entry)
    feed(stream, [body_of(name, entry)])

    report = PROVIDERS[entry["provider"]].adapter.report_of_stream(HttpAnswer(200, {}, b""), stream)

    assert report.usage == stream.usage
    cost = entry.get("reported_cost_usd")
    assert report.cost_nanousd == (None if cost is None else round(Decimal(cost) * 10**9))


def test_an_error_in_mid_stream_is_read():
    name, entry = next(row.values for row in STREAMS if row.values[1].get("error"))
    stream = stream_of(entry)
    feed(stream, [body_of(name, entry)])

    assert stream.error is not None
    assert (stream.error.code, stream.error.type) == (entry["error"]["provider_code"], entry["error"]["provider_type"])
    assert not stream.is_complete
    assert stream.usage is None


def test_the_usage_chunk_of_openai_alone_is_withheld_from_a_client_that_did_not_ask():
    withheld = 0
    for name, entry in (row.values for row in STREAMS if row.values[1]["endpoint"] == "chat_completions"):
        body, stream = body_of(name, entry), OPENAI_CHAT.stream(withholds_usage=True)
        handed_on = feed(stream, cut(body, range(0, len(body), 5)))
        extra = [event for event in body.split(b"\n\n") if b'"choices":[],"usage":{' in event]
        assert handed_on == (body.replace(extra[0] + b"\n\n", b"") if extra else body)
        assert_counted(stream.usage, entry)
        withheld += len(extra)

    assert withheld >= 3
