"""The simulator over real sockets, through the same egress and adapters as the providers themselves."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from providers.adapters.base import (
    ChatRequest,
    ChatResult,
    ErrorKind,
    HttpAnswer,
    HttpCall,
    Message,
    ProviderError,
)
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS, effective_base_url, origin_of
from providers.egress.addresses import ANYWHERE
from providers.egress.client import send
from providers.egress.connections import open_client
from providers.egress.short_calls import send_now
from simulator.listings import MODELS
from tests.builders import PREFIXES

MODEL = {
    "openrouter": "openai/gpt-4.1-mini",
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "ollama": "qwen3:8b",
    "openai_compatible": "Qwen/Qwen3-32B",
    "anthropic_compatible": "zai-org/GLM-4.6",
    "gemini_compatible": "gemma-3-27b-it",
}
KEYED = [slug for slug, provider in PROVIDERS.items() if not provider.has_no_key]
KINDS = {
    "simulated-invalid": ErrorKind.INVALID,
    "simulated-no-credit": ErrorKind.NO_CREDIT,
    "simulated-rate-limited": ErrorKind.RATE_LIMITED,
    "simulated-limited": ErrorKind.LIMITED,
    "simulated-overloaded": ErrorKind.OVERLOADED,
    "something-else": ErrorKind.INVALID,
}
PROMPT = (
    '<requirements>[{"id": 1, "requirement": "Python"}, {"id": 2, "requirement": "COBOL"}]</requirements>\n'
    "<profile>\nJane Doe\nWrote services in Python.\n</profile>"
)

pytestmark = pytest.mark.usefixtures("simulated_providers")


def key(slug: str, contains: str = "simulated-valid") -> Secret:
    return Secret(f"{PREFIXES.get(slug, '')}{contains}-0123456789")


def exchange(slug: str, call: HttpCall, contains: str = "simulated-valid") -> HttpAnswer:
    headers = PROVIDERS[slug].adapter.credential_headers(key(slug, contains))
    return send_now(call, credential_headers=headers, timeout_seconds=10, reach=ANYWHERE)


def chat(slug: str, prompt: str = PROMPT, contains: str = "simulated-valid", **request: Any) -> ChatResult:
    adapter = PROVIDERS[slug].adapter
    asked = ChatRequest(request.pop("model", MODEL[slug]), "Answer.", (Message("user", prompt),), **request)
    return adapter.parse_chat(exchange(slug, adapter.chat_call(effective_base_url(slug), asked), contains))


@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_valid_key_validates_and_lists_models_it_can_call(slug):
    adapter, base_url = PROVIDERS[slug].adapter, effective_base_url(slug)

    limits = adapter.parse_validation(exchange(slug, adapter.validation_call(base_url)))
    listed = adapter.parse_models(exchange(slug, adapter.models_call(base_url)))

    assert ("limit_remaining_nanousd" in limits) == (slug == "openrouter")
    assert MODEL[slug] in {model.id for model in listed}
    assert set(MODELS[slug]) <= {model.id for model in listed} <= {*MODELS[slug], "openrouter/auto"}
    assert chat(slug, model=listed[-1].id).report.served_model == listed[-1].id
    if slug not in ("openai", "ollama"):  # which tell no sizes
        assert all(model.context_tokens for model in listed)
    if slug == "openrouter":
        prices = {model.id: (model.input_nanousd_per_mtok, model.output_nanousd_per_mtok) for model in listed}
        assert prices["openai/gpt-4.1-mini"] == (400_000_000, 1_600_000_000)
        assert prices["openrouter/auto"] == (None, None)


@pytest.mark.parametrize("slug", KEYED)
def test_a_drained_account_lists_models_and_is_refused_every_call(slug):
    adapter, base_url = PROVIDERS[slug].adapter, effective_base_url(slug)

    listed = adapter.parse_models(exchange(slug, adapter.models_call(base_url), "simulated-drained"))
    with pytest.raises(ProviderError) as refused:
        chat(slug, contains="simulated-drained")

    assert MODEL[slug] in {model.id for model in listed}
    assert refused.value.kind == ErrorKind.NO_CREDIT


@pytest.mark.parametrize("slug", KEYED)
@pytest.mark.parametrize("contains", KINDS)
def test_what_a_key_contains_decides_what_it_is_good_for(slug, contains):
    adapter, base_url = PROVIDERS[slug].adapter, effective_base_url(slug)

    with pytest.raises(ProviderError) as validating:
        adapter.parse_validation(exchange(slug, adapter.validation_call(base_url), contains))
    with pytest.raises(ProviderError) as listing:
        adapter.parse_models(exchange(slug, adapter.models_call(base_url), contains))
    with pytest.raises(ProviderError) as chatting:
        chat(slug, contains=contains)

    for error in (validating.value, listing.value, chatting.value):
        assert error.kind is KINDS[contains]
        assert contains not in str(error)
    assert (chatting.value.retry_after_seconds == 20) == (contains == "simulated-rate-limited")


@pytest.mark.parametrize("slug", KEYED)
def test_a_call_without_a_key_is_refused(slug):
    adapter = PROVIDERS[slug].adapter
    answer = send_now(
        adapter.validation_call(effective_base_url(slug)), credential_headers={}, timeout_seconds=10, reach=ANYWHERE
    )

    with pytest.raises(ProviderError) as refused:
        adapter.parse_validation(answer)

    assert refused.value.kind in (ErrorKind.INVALID, ErrorKind.LIMITED)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_answer_holds_verdicts_and_counts_four_characters_a_token(slug):
    result = chat(slug)

    assert json.loads(result.text) == {
        "verdicts": [
            {
                "id": 1,
                "verdict": "met",
                "quote": "Wrote services in Python.",
                "reason": "The profile shows all of it.",
            },
            {"id": 2, "verdict": "not_met", "quote": "", "reason": "The profile shows nothing of it."},
        ]
    }
    assert result.report.usage is not None
    assert result.report.usage.output == -(-len(result.text) // 4)
    assert result.report.usage.uncached_input == result.report.usage.input_total
    assert len(PROMPT) // 4 <= result.report.usage.input_total <= len(PROMPT) // 4 + 20
    assert result.report.finish_reason in ("stop", "end_turn", "STOP")
    assert result.report.request_id
    assert chat(slug).report.usage == result.report.usage


def test_openrouter_reports_the_cost_by_its_listed_prices():
    result = chat("openrouter")

    assert result.report.usage is not None
    assert result.report.cost_nanousd == result.report.usage.input_total * 400 + result.report.usage.output * 1600


@pytest.mark.parametrize("slug", [slug for slug in PROVIDERS if slug != "openrouter"])
def test_the_others_report_no_cost(slug):
    assert chat(slug).report.cost_nanousd is None


@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_unknown_model_is_not_found(slug):
    with pytest.raises(ProviderError) as refused:
        chat(slug, model="no-such/model")

    assert refused.value.kind is ErrorKind.MODEL_NOT_FOUND


@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_marked_profile_is_answered_without_json_each_time(slug):
    for _ in range(2):
        text = chat(slug, PROMPT.replace("Jane Doe", "Jane Doe [[simulate-unparsable]]")).text
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(text)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_second_question_about_the_same_profile_is_answered_again(slug):
    adapter = PROVIDERS[slug].adapter
    again = ChatRequest(
        MODEL[slug],
        "Answer in JSON.",
        (Message("user", PROMPT), Message("assistant", "{"), Message("user", "That was no JSON.")),
    )

    result = adapter.parse_chat(exchange(slug, adapter.chat_call(effective_base_url(slug), again)))

    assert len(json.loads(result.text)["verdicts"]) == 2


@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_answer_beyond_the_limit_is_cut(slug):
    result = chat(slug, max_output_tokens=5)

    assert len(result.text) == 20
    assert result.report.usage is not None
    assert result.report.usage.output == 5
    assert result.report.finish_reason in ("length", "max_tokens", "MAX_TOKENS")


@pytest.mark.parametrize(
    ("slug", "path", "content"),
    [
        ("openai", "/chat/completions", b"{"),
        ("openai", "/chat/completions", b"[]"),
        ("openai", "/chat/completions", b'{"messages": [{"role": "user", "content": "x"}]}'),
        ("openai", "/chat/completions", b'{"model": "gpt-4o", "messages": []}'),
        ("openai", "/chat/completions", b'{"model": "gpt-4o", "messages": ["x"]}'),
        ("openai", "/responses", b'{"model": "gpt-4o"}'),
        ("openai", "/responses", b'{"input": "x"}'),
        ("openai", "/responses", b'{"model": "gpt-4o", "input": "x", "max_output_tokens": -1}'),
        (
            "openai",
            "/chat/completions",
            b'{"model": "gpt-5", "messages": [{"role": "user"}], "max_tokens": 5}',
        ),
        (
            "openai",
            "/chat/completions",
            b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}],'
            b' "response_format": {"type": "json_object"}}',
        ),
        (
            "openai",
            "/chat/completions",
            b'{"model": "gpt-4o", "messages": [{}], "max_completion_tokens": -1}',
        ),
        ("anthropic", "/messages", b'{"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{}]}'),
        ("google", "/models/gemini-2.5-flash:generateContent", b'{"contents": []}'),
        ("google", "/models/gemini-2.5-flash:generateContent", b"{"),
    ],
)
def test_a_request_that_the_provider_would_refuse_is_refused(slug, path, content):
    call = HttpCall("POST", effective_base_url(slug) + path, {"content-type": "application/json"}, content)

    with pytest.raises(ProviderError) as refused:
        PROVIDERS[slug].adapter.parse_chat(exchange(slug, call))

    assert refused.value.kind is ErrorKind.BAD_REQUEST
    assert refused.value.http_status == 400


@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_unknown_address_is_answered_in_the_providers_form(slug):
    answer = exchange(slug, HttpCall("GET", f"{effective_base_url(slug)}/nothing", {}, None))

    assert answer.status in (400, 404)
    assert b'"error"' in answer.body


def test_model_calls_take_as_long_as_was_set_and_at_the_same_time(simulated_providers):
    simulated_providers.app.delay_seconds = 0.3
    adapter = PROVIDERS["openai"].adapter
    asked = ChatRequest(MODEL["openai"], "Answer.", (Message("user", PROMPT),))
    call = adapter.chat_call(effective_base_url("openai"), asked)
    headers = adapter.credential_headers(key("openai"))

    async def run() -> float:
        async with open_client() as client:
            started = time.monotonic()
            calls = (
                send(client, call, credential_headers=headers, timeout_seconds=10, reach=ANYWHERE) for _ in range(64)
            )
            await asyncio.gather(*calls)
            return time.monotonic() - started

    counted = simulated_providers.app.model_calls
    assert 0.3 <= asyncio.run(run()) < 3
    assert simulated_providers.app.model_calls == counted + 64


def test_the_delay_of_one_test_does_not_reach_the_next(simulated_providers):
    assert simulated_providers.app.delay_seconds < 0.3


def test_the_setting_sends_every_provider_to_the_simulator(simulated_providers):
    assert {origin_of(slug) for slug in PROVIDERS} == {simulated_providers.address}
