"""How a successful answer of each shape is read, and one that is not what it should be."""

from __future__ import annotations

import json
import time
from datetime import date
from decimal import Decimal

import pytest

from providers.adapters.base import ChatRequest, ErrorKind, HttpAnswer, Message, ProviderError
from providers.adapters.reading import count_of, nanousd_of
from providers.catalog import PROVIDERS
from usage.tokens import TokenUsage

OPENAI = PROVIDERS["openai"].adapter
OPENROUTER = PROVIDERS["openrouter"].adapter
ANTHROPIC = PROVIDERS["anthropic"].adapter
GOOGLE = PROVIDERS["google"].adapter


def answer(content: object, status: int = 200, **headers: str) -> HttpAnswer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_an_openrouter_key_is_proved_by_its_own_facts_not_by_the_public_list():
    call = OPENROUTER.validation_call("https://openrouter.ai/api/v1")
    facts = {
        "label": "sk-or-v1-abc...123",
        "limit": 20,
        "limit_remaining": 12.345678901,
        "limit_reset": "monthly",
        "usage_daily": 0.5,
        "is_free_tier": False,
        "expires_at": None,
    }

    limits = OPENROUTER.parse_validation(answer({"data": facts}))

    assert call.url == "https://openrouter.ai/api/v1/key"
    assert limits == {
        "limit_nanousd": 20_000_000_000,
        "limit_remaining_nanousd": 12_345_678_901,
        "usage_daily_nanousd": 500_000_000,
        "limit_reset": "monthly",
        "is_free_tier": False,
    }
    json.dumps(limits)


def test_an_openrouter_key_without_a_limit_is_connected():
    assert OPENROUTER.parse_validation(answer({"data": {"limit": None, "limit_remaining": None}})) == {}


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"limit": 5, "limit_remaining": 0}, ErrorKind.NO_CREDIT),
        ({"limit": 5, "limit_remaining": -0.2}, ErrorKind.NO_CREDIT),
        ({"is_management_key": True}, ErrorKind.INVALID),
    ],
)
def test_an_openrouter_key_that_cannot_call_models_is_not_connected(facts, kind):
    with pytest.raises(ProviderError) as refused:
        OPENROUTER.parse_validation(answer({"data": facts}))

    assert refused.value.kind is kind


@pytest.mark.parametrize("slug", PROVIDERS)
@pytest.mark.parametrize("content", [b"", b"<html>Hello</html>", [], "text", {"data": 1}, {}, b'{"data":', b"\xff"])
def test_a_success_in_an_unknown_form_is_unexpected(slug, content):
    adapter = PROVIDERS[slug].adapter
    strange = answer(content)

    # A bare list of models is known of some servers.
    parsers = (adapter.parse_chat, adapter.parse_models, adapter.parse_validation)
    for parse in parsers[:1] if PROVIDERS[slug].may_be_own_server and content == [] else parsers:
        with pytest.raises(ProviderError) as refused:
            parse(strange)
        assert refused.value.kind is ErrorKind.UNEXPECTED


def test_prices_in_a_list_are_per_million_tokens_and_variable_ones_unknown():
    listed = OPENROUTER.parse_models(
        answer(
            {
                "data": [
                    {
                        "id": "a/b",
                        "name": "A: B",
                        "context_length": 131072,
                        "pricing": {"prompt": "0.00000015", "completion": "0.0000006"},
                    },
                    {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
                    {"id": "c/d", "pricing": {"prompt": "NaN", "completion": None}, "context_length": "many"},
                    {"name": "no id"},
                    "no object",
                ]
            }
        )
    )

    assert [(model.id, model.input_nanousd_per_mtok, model.output_nanousd_per_mtok) for model in listed] == [
        ("a/b", 150_000_000, 600_000_000),
        ("openrouter/auto", None, None),
        ("c/d", None, None),
    ]
    assert [(model.name, model.context_tokens) for model in listed] == [
        ("A: B", 131072),
        ("openrouter/auto", None),
        ("c/d", None),
    ]


def test_anthropic_models_come_with_their_context():
    row = {"type": "model", "id": "claude-x", "display_name": "Claude X", "max_input_tokens": 200_000}
    (model,) = ANTHROPIC.parse_models(answer({"data": [row], "has_more": False}))

    assert (model.id, model.name, model.context_tokens) == ("claude-x", "Claude X", 200_000)


@pytest.mark.parametrize(
    ("told", "day"),
    [
        ("2027-03-31T00:00:00Z", date(2027, 3, 31)),
        ("2027-03-31", date(2027, 3, 31)),
        (None, None),
        ("soon", None),
        (7, None),
    ],
)
def test_models_come_with_the_day_on_which_they_end(told, day):
    of_anthropic = {"type": "model", "id": "claude-x", "retires_at": told}
    of_openai = {"object": "model", "id": "gpt-x", "shutdown_date": told}

    listed = [
        *ANTHROPIC.parse_models(answer({"data": [of_anthropic], "has_more": False})),
        *PROVIDERS["openai"].adapter.parse_models(answer({"data": [of_openai]})),
    ]

    assert [model.ends_on for model in listed] == [day, day]


def test_google_lists_only_models_that_can_chat_without_their_prefix():
    listed = GOOGLE.parse_models(
        answer(
            {
                "models": [
                    {
                        "name": "models/gemini-x",
                        "displayName": "Gemini X",
                        "inputTokenLimit": 1_048_576,
                        "supportedGenerationMethods": ["generateContent"],
                    },
                    {"name": "models/embedding-x", "supportedGenerationMethods": ["embedContent"]},
                    {"name": "models/untold"},
                ]
            }
        )
    )

    assert [(model.id, model.name, model.context_tokens) for model in listed] == [
        ("gemini-x", "Gemini X", 1_048_576),
        ("untold", "untold", None),
    ]


def test_thoughts_of_google_are_output_but_not_text():
    result = GOOGLE.parse_chat(
        answer(
            {
                "candidates": [
                    {
                        "content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "{}"}]},
                        "finishReason": "STOP",
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "toolUsePromptTokenCount": 5,
                    "cachedContentTokenCount": 4,
                    "candidatesTokenCount": 2,
                    "thoughtsTokenCount": 7,
                },
                "modelVersion": "gemini-x-001",
                "responseId": "abc",
            }
        )
    )

    assert result.text == "{}"
    assert result.report.usage == TokenUsage(uncached_input=11, cache_read=4, output=9, reasoning=7)
    assert (result.report.served_model, result.report.finish_reason, result.report.request_id) == (
        "gemini-x-001",
        "STOP",
        "abc",
    )


def test_a_prompt_that_google_blocks_fails_with_its_tokens():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 12}}

    with pytest.raises(ProviderError) as refused:
        GOOGLE.parse_chat(answer(blocked))

    assert refused.value.kind is ErrorKind.BAD_REQUEST
    assert refused.value.report.usage == TokenUsage(uncached_input=12)


def test_anthropic_cache_writes_are_split_by_how_long_they_last():
    result = ANTHROPIC.parse_chat(
        answer(
            {
                "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "{}"}],
                "model": "claude-x",
                "stop_reason": "end_turn",
                "usage": {
                    "input_tokens": 5,
                    "cache_read_input_tokens": 100,
                    "cache_creation_input_tokens": 30,
                    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                    "output_tokens": 8,
                    "output_tokens_details": {"thinking_tokens": 6},
                },
            },
            request_id="req_1",
        )
    )

    assert result.text == "{}"
    assert result.report.usage == TokenUsage(
        uncached_input=5, cache_read=100, cache_write=10, cache_write_1h=20, output=8, reasoning=6
    )
    assert result.report.request_id == "req_1"


OPENROUTER_ANSWER = {
    "id": "gen-1",
    "model": "a/b",
    "choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}],
}


@pytest.mark.parametrize(
    ("usage", "nanousd"),
    [
        ({"cost": 0.00031413}, 314_130),
        ({"cost": 0}, 0),
        ({"cost": 0.00000000049}, 0),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 21_000_000),
        ({"cost": 0.001, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.02}}, 1_000_000),
        ({"cost": -1}, None),
        ({"cost": None}, None),
        ({}, None),
    ],
)
def test_openrouter_cost_is_exact_and_adds_what_a_deposited_key_paid(usage, nanousd):
    result = OPENROUTER.parse_chat(answer({**OPENROUTER_ANSWER, "usage": {"prompt_tokens": 1, **usage}}))

    assert result.report.cost_nanousd == nanousd


def test_an_answer_without_usage_has_none_rather_than_zero():
    assert OPENROUTER.parse_chat(answer(OPENROUTER_ANSWER)).report.usage is None
    assert OPENROUTER.parse_chat(answer({**OPENROUTER_ANSWER, "usage": {}})).report.usage is None


def test_numbers_that_cannot_be_are_not_believed():
    broken = {
        "prompt_tokens": 10,
        "completion_tokens": 10**30,
        "prompt_tokens_details": {"cached_tokens": 25},
        "completion_tokens_details": {"reasoning_tokens": -3},
    }

    usage = OPENROUTER.parse_chat(answer({**OPENROUTER_ANSWER, "usage": broken})).report.usage

    assert usage == TokenUsage(cache_read=10, output=10**12)


def test_text_that_no_database_takes_is_mended():
    content = b'{"choices":[{"message":{"content":"a\\u0000b\\ud800c"},"finish_reason":"stop"}]}'

    assert OPENAI.parse_chat(answer(content)).text == "ab\ufffdc"


def test_content_in_parts_is_joined_and_missing_content_is_empty():
    def text(content: object) -> str:
        return OPENAI.parse_chat(answer({"choices": [{"message": {"content": content}}]})).text

    assert text([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]) == "ab"
    assert text(None) == ""


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": [{"type": "text", "text": "draft"}]},
        {"type": "reasoning", "text": "draft"},
        {"type": "reasoning_text", "text": "draft"},
        {"type": "thought", "text": "draft"},
        {"type": "text", "text": "draft", "thought": True},
        {"type": "redacted_thinking", "text": "draft"},
    ],
)
def test_thinking_among_the_parts_of_a_content_is_no_text(part):
    content = [part, {"type": "text", "text": "fi"}, {"type": "output_text", "text": "nal"}]
    called = PROVIDERS["openai_compatible"].adapter.parse_chat(answer({"choices": [{"message": {"content": content}}]}))

    assert called.text == "final"


@pytest.mark.parametrize("slug", PROVIDERS)
@pytest.mark.parametrize(
    "said",
    [
        "max_tokens " + "1" * 60_000,
        "max_tokens 1 > " + "9" * 5_000 + " - 3",
        "maximum context length is " + "9" * 5_000 + ", 5 in the messages; max_tokens",
        "token count " * 5_000,
    ],
)
def test_no_error_takes_long_to_read_or_fails(slug, said):
    adapter = PROVIDERS[slug].adapter
    refused = answer({"error": {"message": said}}, 400)
    question = ChatRequest(model="m", system="", messages=(Message("user", "?"),), max_output_tokens=16_384)
    started = time.process_time()

    with pytest.raises(ProviderError):
        adapter.parse_chat(refused)
    adapter.refused_option(refused, question, ())

    assert time.process_time() - started < 3


def test_the_request_id_comes_from_the_header_and_only_if_it_looks_like_one():
    body = {"id": "chatcmpl-1", "choices": [{"message": {"content": ""}}]}

    assert OPENAI.parse_chat(answer(body, x_request_id="req_9")).report.request_id == "req_9"
    assert OPENAI.parse_chat(answer(body)).report.request_id == "chatcmpl-1"
    assert OPENAI.parse_chat(answer(body | {"id": "two words"})).report.request_id == ""
    assert OPENAI.parse_chat(answer(body | {"id": 7})).report.request_id == ""


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (5, 5),
        (Decimal("5.0"), 5),
        (-1, 0),
        (True, 0),
        ("5", 0),
        (None, 0),
        ([], 0),
        (Decimal("1e99999"), 10**12),
    ],
)
def test_token_counts_are_whole_and_sane(value, count):
    assert count_of(value) == count


@pytest.mark.parametrize(
    ("value", "nanousd"),
    [
        (1, 10**9),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("Infinity", None),
        ("1e400", None),
        (Decimal("1e999999"), None),
        ("abc", None),
        (False, None),
        ({}, None),
    ],
)
def test_amounts_are_rounded_half_to_even_and_sane(value, nanousd):
    assert nanousd_of(value) == nanousd
