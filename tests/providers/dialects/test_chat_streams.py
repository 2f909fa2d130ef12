"""Streams of OpenAI's chat completions, with every oddity that servers were seen with."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.exchange import Finish
from tests.providers.dialects.feeding import compact, cut, feed, followed, one_by_one, sse
from tests.providers.dialects.recordings import CHAT, COUNTED, TOKENS, USAGE_CHUNK, chunk
from usage.tokens import Doubt


def test_a_chat_is_followed_to_its_end():
    stream = followed(OPENAI_CHAT, sse(*CHAT))

    assert stream.usage == TOKENS
    assert (stream.finish_reason, stream.finish) == ("stop", Finish.STOP)
    assert (stream.report.served_model, stream.report.request_id) == ("gpt-6", "chatcmpl-1")
    assert stream.report.doubt is None
    assert stream.is_complete
    assert stream.error is None


def test_the_usage_chunk_is_withheld_from_a_client_that_did_not_ask_for_it():
    body = sse(*CHAT)

    stream = OPENAI_CHAT.stream(withholds_usage=True)

    assert feed(stream, one_by_one(body)) == body.replace(sse(USAGE_CHUNK), b"")
    assert stream.usage == TOKENS
    assert stream.is_complete


@pytest.mark.parametrize(
    "seen_by_all",
    [
        chunk(choices=[], prompt_filter_results=[{}]),  # Azure's first
        chunk(choices=[], usage=None),
        chunk("lo", usage=COUNTED),  # Perplexity's, each
        chunk(choices=[{"index": 0, "delta": {}}], usage=COUNTED),  # LiteLLM's last
        chunk(choices=[], usage=COUNTED, error={"message": "broke off"}),
        "not JSON",
        "{",
    ],
)
def test_nothing_else_is_withheld(seen_by_all):
    body = sse(chunk("Hel"), seen_by_all, chunk("", "stop"))

    assert feed(OPENAI_CHAT.stream(withholds_usage=True), [body]) == body


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_withheld_leaves_no_line_end_behind(end):
    body = sse(*CHAT, end=end)
    kept = body.replace(sse(USAGE_CHUNK, end=end), b"")

    for pieces in ([body], one_by_one(body), *(cut(body, [place]) for place in range(1, len(body)))):
        assert feed(OPENAI_CHAT.stream(withholds_usage=True), pieces) == kept


def test_a_usage_chunk_without_an_end_is_withheld_all_the_same():
    body = sse(*CHAT[:3]) + sse(USAGE_CHUNK).rstrip()

    stream = OPENAI_CHAT.stream(withholds_usage=True)

    assert feed(stream, [body]) == sse(*CHAT[:3])
    assert stream.usage == TOKENS


@unhurried(deadline=None, max_examples=150)
@given(
    texts=st.lists(st.sampled_from([*CHAT, chunk(choices=[], usage=None), ": comment"]), max_size=8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    places=st.sets(st.integers(0, 2_000), max_size=20),
)
def test_exactly_the_usage_chunks_are_withheld(texts, end, places):
    body = sse(*texts, end=end)
    kept = sse(*(text for text in texts if text is not USAGE_CHUNK), end=end)

    assert feed(OPENAI_CHAT.stream(withholds_usage=True), cut(body, places)) == kept


def test_usage_that_is_reported_twice_counts_once():
    again = sse(*CHAT[:3], chunk("", usage=COUNTED), USAGE_CHUNK, USAGE_CHUNK, "[DONE]")

    assert followed(OPENAI_CHAT, again).usage == TOKENS


def test_usage_that_counts_on_with_each_chunk_is_its_last():
    counts = [{"prompt_tokens": 10, "completion_tokens": n, "total_tokens": 10 + n} for n in (1, 3, 5)]
    body = sse(*(chunk("a", usage=count) for count in counts[:2]), chunk("b", "stop", usage=counts[2]))

    stream = followed(OPENAI_CHAT, body)

    assert stream.usage == TOKENS
    assert stream.is_complete, "a server that never says [DONE]"


def test_a_usage_of_nothing_takes_nothing_back():
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

    assert followed(OPENAI_CHAT, sse(*CHAT[:4], chunk(choices=[], usage=nothing), "[DONE]")).usage == TOKENS


@pytest.mark.parametrize(
    "last",
    [
        chunk("", "stop", x_groq={"id": "req_1", "usage": COUNTED}),
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "usage": COUNTED}]),
        chunk("", "stop", usage=COUNTED),
    ],
)
def test_usage_is_found_wherever_a_server_keeps_it(last):
    stream = followed(OPENAI_CHAT, sse(chunk("Hello"), last, "[DONE]"))

    assert (stream.usage, stream.finish_reason) == (TOKENS, "stop")


def test_usage_whose_name_is_spelt_with_escapes_is_found():
    escaped = compact(USAGE_CHUNK).replace('"usage"', r'"us\u0061ge"')

    assert followed(OPENAI_CHAT, sse(*CHAT[:3], escaped, "[DONE]")).usage == TOKENS


def test_spaces_and_words_in_the_text_mislead_nobody():
    wordy = chunk('"usage": {"prompt_tokens": 9} "finish_reason": "length" [DONE] error')
    body = "".join(f"data: {json.dumps(content)}\n\n" for content in (wordy, *CHAT[1:4])).encode()

    stream = followed(OPENAI_CHAT, body)

    assert (stream.usage, stream.finish_reason, stream.error) == (TOKENS, "stop", None)


def test_a_stream_without_usage_says_so():
    stream = followed(OPENAI_CHAT, sse(chunk("Hello"), chunk("", "length"), "[DONE]"))

    assert (stream.usage, stream.finish, stream.is_complete) == (None, Finish.LENGTH, True)


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_a_chat_that_was_cut_off_is_not_complete(cut_after):
    stream = followed(OPENAI_CHAT, sse(*CHAT[:cut_after]))

    assert not stream.is_complete
    assert stream.usage is None


def test_tokens_of_an_answer_that_was_cut_off_are_not_the_whole():
    stream = followed(OPENAI_CHAT, sse(chunk("Hel", usage=COUNTED)))

    assert (stream.usage, stream.report.doubt, stream.is_complete) == (TOKENS, Doubt.UNCLEAR_TOKENS, False)


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (sse({"error": {"message": "Overloaded", "code": "server_error"}}), "server_error"),
        (b'event: error\ndata: {"message": "Tool failed", "code": "tool_use_failed"}\n\n', "tool_use_failed"),
        (sse(chunk("", "error", error={"code": 502, "message": "Provider disconnected"})), "502"),
        (sse(chunk(choices=[{"finish_reason": "error", "error": {"code": 502}}])), "502"),
        (sse(chunk("", "error")), "error"),
        (sse({"error": "broke off"}), ""),
        (sse(chunk("", x_groq={"id": "req_1", "error": "over capacity"})), ""),
    ],
)
def test_an_error_in_mid_stream_is_read_and_handed_on(broken, code):
    body = sse(chunk("Hel")) + broken

    stream = OPENAI_CHAT.stream(withholds_usage=True)

    assert feed(stream, [body]) == body
    assert stream.error is not None
    assert stream.error.code == code


def test_of_several_answers_the_first_says_why_it_ended():
    ends = [
        chunk(choices=[{"index": index, "delta": {}, "finish_reason": why}])
        for index, why in ((1, "length"), (0, "stop"), (2, "length"))
    ]

    assert followed(OPENAI_CHAT, sse(*ends, "[DONE]")).finish_reason == "stop"
