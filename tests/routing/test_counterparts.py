"""Which model is filled in where a key is chosen: one rule, for every provider of the catalog."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from config.onboarding import ensure_platform
from providers.catalog import PROVIDERS
from providers.models import ProviderKey
from routing.counterparts import counterpart, price_text
from routing.models import ManagedDefault
from routing.resolve import resolve_all
from tests.builders import SERVERS, connect_key
from tests.routing.conftest import MODEL
from tests.simulator_fixtures import simulated_providers, simulator

__all__ = ["simulated_providers", "simulator"]


def proposed(key: ProviderKey, listed: list[str] | None = None, *, default: tuple[str, str] | None = None) -> str:
    ensure_platform()
    if default:
        ManagedDefault.objects.update(provider=default[0], model=default[1])
    return counterpart(row=resolve_all(organization=key.organization)[0], key=key, listed=listed)


def key_of(provider: str, **fields: Any) -> ProviderKey:
    return ProviderKey(provider=provider, **fields)


EXPECTED = {
    "openrouter": "openai/gpt-4.1-mini",
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "ollama": "qwen3:8b",
    "openai_compatible": "openai/gpt-oss-120b",
    "anthropic_compatible": "zai-org/GLM-4.6",
    "gemini_compatible": "gemma-3-27b-it",
}


def test_every_provider_is_tried_here():
    assert EXPECTED.keys() == PROVIDERS.keys()


@pytest.mark.parametrize("provider", [each for each in EXPECTED if not PROVIDERS[each].takes_base_url])
def test_the_counterpart_among_what_a_provider_lists(acme, simulated_providers, provider):
    key = connect_key(acme, provider)

    assert proposed(key) == EXPECTED[provider]
    assert key.available_models.filter(model=EXPECTED[provider]).exists()


@pytest.mark.parametrize("provider", SERVERS)
def test_on_a_server_of_ones_own_it_is_the_first_one_listed(acme, provider):
    key = key_of(provider, organization=acme, base_url="https://llm.example.com")

    assert proposed(key, ["zephyr", "a-model"]) == "zephyr"


@pytest.mark.parametrize("provider", SERVERS)
def test_a_server_that_lists_none_is_proposed_the_model_it_was_proved_with(acme, provider):
    assert proposed(key_of(provider, organization=acme, proof_model="house-1"), []) == "house-1"


@pytest.mark.parametrize(
    ("default", "provider", "listed", "model"),
    [
        (("openrouter", "anthropic/claude-haiku-4.5"), "anthropic", ["claude-opus-5", "claude-haiku-4-5-20251001"], 1),
        (("openrouter", "google/gemini-2.5-pro"), "google", ["gemini-2.5-flash", "gemini-2.5-pro"], 1),
        (
            ("openrouter", "mistralai/mistral-large-2512"),
            "mistral",
            ["mistral-small-latest", "mistral-large-latest"],
            1,
        ),
        (("anthropic", "claude-haiku-4-5"), "openrouter", ["openai/gpt-4.1-mini", "anthropic/claude-haiku-4.5"], 1),
        (("openai", "gpt-4.1-mini"), "openrouter", ["x-ai/gpt-4.1-mini", "openai/gpt-4.1-mini"], 1),
        (("openai", "gpt-4.1-mini"), "openai", ["gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"], 1),
        (("google", "gemini-2.5-flash"), "openai", ["gpt-5", "gpt-5-mini"], 1),
        (("openrouter", "openai/gpt-4.1-mini"), "openai_compatible", ["llama", "gpt-4.1-mini"], 1),
        (("openrouter", "x-ai/grok-4.7"), "openai", ["text-embedding-3", "gpt-4o-mini-2024-07-18"], 1),
        (("openrouter", "openai/gpt-4.1-mini"), "mistral", ["house-model"], 0),
    ],
)
def test_the_same_model_of_the_same_maker_goes_before_the_usual_ones(acme, default, provider, listed, model):
    assert proposed(key_of(provider, organization=acme), listed, default=default) == listed[model]


@pytest.mark.parametrize(
    ("provider", "name"), [("openai", "gpt-4.1-mini"), ("anthropic", "claude-haiku-4-5"), ("openrouter", MODEL)]
)
def test_a_provider_that_lists_nothing_is_asked_for_the_model_by_its_name(acme, provider, name):
    assert proposed(key_of(provider, organization=acme), []) == name


def test_the_price_beside_it_is_the_providers_own_else_that_of_the_list(acme, simulated_providers):
    now = timezone.now()

    assert price_text(connect_key(acme), MODEL, at=now) == "$0.40 in, $1.60 out per million tokens"
    assert price_text(connect_key(acme, "openai"), "gpt-4.1-mini", at=now) == "$0.40 in, $1.60 out per million tokens"
    assert price_text(connect_key(acme, "mistral"), "house-model", at=now) == "price not known"
    assert price_text(key_of("ollama", organization=acme), "qwen3:8b", at=now) == "no token charges"
    assert price_text(key_of("openai_compatible", is_own_server=True), "x", at=now) == "no token charges"
