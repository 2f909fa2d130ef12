"""Streams of OpenAI's Responses."""

from __future__ import annotations

import pytest

from providers.adapters.dialects.responses import OPENAI_RESPONSES
from providers.adapters.exchange import Finish
from tests.providers.dialects.feeding import compact, followed, one_by_one, sse
from tests.providers.dialects.recordings import response, responses
from usage.tokens import Doubt, TokenUsage


def test_a_response_is_followed_to_its_end():
    stream = followed(OPENAI_RESPONSES, *one_by_one(responses("completed", service_tier="flex")))

    assert stream.usage == TokenUsage(uncached_input=6, cache_read=4, output=5, reasoning=3)
    assert (stream.finish_reason, stream.finish, stream.is_complete) == ("completed", Finish.STOP, True)
    report = stream.report
    assert (report.served_model, report.service_tier, report.request_id) == ("gpt-6", "flex", "resp_1")
    assert (report.doubt, stream.error) == (None, None)


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", Finish.LENGTH), ("content_filter", Finish.REFUSED)]
)
def test_a_response_that_is_incomplete_says_why(reason, finish):
    stream = followed(OPENAI_RESPONSES, responses("incomplete", incomplete_details={"reason": reason}))

    assert (stream.finish_reason, stream.finish, stream.is_complete) == (reason, finish, True)
    assert stream.usage is not None


def test_a_response_that_failed_holds_the_error():
    error = {"code": "server_error", "message": "The model failed."}
    stream = followed(OPENAI_RESPONSES, responses("failed", error=error, usage=None))

    assert stream.error is not None
    assert (stream.error.code, stream.is_complete, stream.usage) == ("server_error", True, None)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down", "param": None, "sequence_number": 2},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slow down"}},
    ],
)
def test_an_error_among_the_events_of_a_response_is_read(event):
    stream = followed(OPENAI_RESPONSES, sse(event))

    assert stream.error is not None
    assert (stream.error.code, stream.is_complete) == ("rate_limit_exceeded", False)


def test_a_response_that_was_cut_off_reports_nothing():
    stream = followed(OPENAI_RESPONSES, responses("completed").partition(b"event: response.completed")[0])

    assert (stream.usage, stream.is_complete, stream.report.served_model) == (None, False, "gpt-6")


def test_a_response_that_is_told_twice_counts_once():
    assert followed(OPENAI_RESPONSES, responses("completed"), responses("completed")).usage == TokenUsage(
        6, 4, 0, 0, 5, 3
    )


def test_a_response_in_which_a_charged_tool_ran_costs_more_than_its_tokens():
    stream = followed(OPENAI_RESPONSES, responses("completed", output=[{"type": "web_search_call"}]))

    assert stream.report.doubt is Doubt.EXTRAS
    assert OPENAI_RESPONSES.answer(compact(response(output=[{"type": "message"}])).encode()).report.doubt is None
