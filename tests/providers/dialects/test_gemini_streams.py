"""Streams of Gemini, as events and as one array."""

from __future__ import annotations

import pytest

from providers.adapters.base import HttpAnswer, ProviderError
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.exchange import Finish
from providers.catalog import PROVIDERS
from tests.providers.dialects.feeding import cut, feed, followed, one_by_one, sse
from tests.providers.dialects.recordings import ELEMENTS, TOKENS, array, element
from usage.tokens import Doubt, TokenUsage

BROKEN = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "body",
    [sse(*ELEMENTS, end="\r\n"), array(*ELEMENTS), b"\xef\xbb\xbf" + array(*ELEMENTS), b" \n" + sse(*ELEMENTS)],
    ids=["events", "array", "marked", "spaced"],
)
@pytest.mark.parametrize("pieces", [lambda body: [body], one_by_one, lambda body: cut(body, range(0, len(body), 5))])
def test_the_last_count_is_the_whole_in_events_and_in_an_array(body, pieces):
    stream = GEMINI.stream()

    assert feed(stream, pieces(body)) == body
    assert stream.usage == TOKENS
    assert (stream.finish_reason, stream.finish, stream.is_complete) == ("STOP", Finish.STOP, True)
    report = stream.report
    assert (report.served_model, report.request_id, report.doubt) == ("gemini-4", "r1", None)


def test_elements_of_an_array_are_handed_on_as_soon_as_they_have_ended():
    stream, waiting = GEMINI.stream(), b""

    for byte in one_by_one(array(*ELEMENTS)):
        waiting += byte
        handed_on = b"".join(stream.feed(byte))
        assert handed_on in (b"", waiting)
        waiting = b"" if handed_on else waiting
        assert not waiting.strip().endswith(b"\n}")


def test_an_event_without_counts_takes_none_back():
    last = element("", 0, "STOP", usageMetadata=None)

    assert followed(GEMINI, sse(*ELEMENTS[:2], element("", 5), last)).usage == TOKENS


@pytest.mark.parametrize("body", [sse(*ELEMENTS[:2]), array(*ELEMENTS[:2], end="")])
def test_an_answer_that_was_cut_off_is_not_complete(body):
    stream = followed(GEMINI, body)

    assert stream.usage == TokenUsage(uncached_input=10, output=3)
    assert (stream.report.doubt, stream.is_complete) == (Doubt.UNCLEAR_TOKENS, False)


def test_the_end_of_an_array_is_an_end():
    assert followed(GEMINI, array(*ELEMENTS[:2])).is_complete


def test_a_prompt_that_is_blocked_ends_the_answer():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 10}}
    stream = followed(GEMINI, sse(blocked))

    assert (stream.finish_reason, stream.finish, stream.is_complete) == ("SAFETY", Finish.REFUSED, True)
    assert stream.usage == TokenUsage(uncached_input=10)


@pytest.mark.parametrize("form", [sse, array])
def test_an_error_is_read_wherever_it_comes(form):
    for body in (form(BROKEN), form(ELEMENTS[0], BROKEN)):
        stream = followed(GEMINI, body)
        assert stream.error is not None
        assert (stream.error.code, stream.error.status) == ("503", "UNAVAILABLE")


def test_a_search_costs_more_than_its_tokens():
    searched = element("", 5, "STOP")
    searched["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["who"]}

    assert followed(GEMINI, sse(searched, element("", 5, "STOP"))).report.doubt is Doubt.EXTRAS


def test_an_array_that_is_read_whole_is_put_together_and_not_taken_for_its_first_element():
    answer = GEMINI.answer(array(*ELEMENTS))
    result = PROVIDERS["google"].adapter.parse_chat(HttpAnswer(200, {}, array(*ELEMENTS)))

    assert (answer.report.usage, answer.finish, answer.error) == (TOKENS, Finish.STOP, None)
    assert (result.text, result.finish, result.report) == ('Hello, ]}" \\world', Finish.STOP, answer.report)


def test_an_array_that_broke_off_is_an_error():
    with pytest.raises(ProviderError) as broken:
        PROVIDERS["google"].adapter.parse_chat(HttpAnswer(200, {}, array(*ELEMENTS[:2], BROKEN)))

    assert broken.value.kind == "overloaded"
    assert broken.value.report.usage == TokenUsage(uncached_input=10, output=3)
