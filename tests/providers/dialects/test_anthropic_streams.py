"""Streams of Anthropic's Messages: what is counted at the start, at the end, and again."""

from __future__ import annotations

import pytest

from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.exchange import Finish
from tests.providers.dialects.feeding import followed, named, one_by_one
from tests.providers.dialects.recordings import STARTED, TOKENS, messages
from usage.tokens import Doubt, TokenUsage


def test_a_message_counts_its_input_at_the_start_and_its_output_at_the_end():
    delta = {"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 3}}

    stream = followed(ANTHROPIC_MESSAGES, *one_by_one(messages(STARTED, delta)))

    assert stream.usage == TokenUsage(10, 7, 10, 20, 5, 3)
    assert (stream.finish_reason, stream.finish, stream.is_complete) == ("end_turn", Finish.STOP, True)
    report = stream.report
    assert (report.served_model, report.service_tier, report.request_id) == ("claude-5", "priority", "msg_1")
    assert (report.doubt, stream.error) == (None, None)


@pytest.mark.parametrize(
    "deltas",
    [
        [{**STARTED, "output_tokens": 5}],  # all of it again
        [{"output_tokens": 3}, {"output_tokens": 5}],  # counting on
        [{"output_tokens": 5}, {"output_tokens": 5}],  # twice the same
        [{"output_tokens": 5, "input_tokens": None}, None],
        # Of proxies that know no better.
        [{"output_tokens": 5, "input_tokens": 0, "cache_read_input_tokens": 0}],
        [{"output_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}}],
    ],
)
def test_what_a_message_counts_again_is_not_added(deltas):
    assert followed(ANTHROPIC_MESSAGES, messages(STARTED, *deltas)).usage == TokenUsage(10, 7, 10, 20, 5)


def test_input_that_is_only_counted_at_the_end_replaces_what_the_start_said():
    start = {"input_tokens": 0, "output_tokens": 0}

    assert followed(ANTHROPIC_MESSAGES, messages(start, {"input_tokens": 10, "output_tokens": 5})).usage == TOKENS


def test_a_message_that_was_cut_off_is_counted_as_far_as_it_is_known():
    stream = followed(ANTHROPIC_MESSAGES, messages({"input_tokens": 10, "output_tokens": 1}, stops=False))

    assert stream.usage == TokenUsage(uncached_input=10, output=1)
    assert (stream.report.doubt, stream.is_complete) == (Doubt.UNCLEAR_TOKENS, False)


def test_an_error_ends_a_message():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    stream = followed(ANTHROPIC_MESSAGES, messages(STARTED, stops=False) + named(error))

    assert stream.error is not None
    assert (stream.error.type, stream.error.request_id, stream.is_complete) == ("overloaded_error", "req_1", False)
