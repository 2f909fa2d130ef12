from __future__ import annotations

import pytest

from providers.catalog import PROVIDERS, effective_base_url, origin_of


def test_openrouter_is_recommended_and_comes_first():
    assert list(PROVIDERS) == [
        "openrouter",
        "openai",
        "anthropic",
        "google",
        "mistral",
        "ollama",
        "openai_compatible",
        "anthropic_compatible",
        "gemini_compatible",
    ]
    assert [slug for slug, provider in PROVIDERS.items() if provider.recommended] == ["openrouter"]


def test_calls_go_to_the_provider_itself_by_default():
    assert {slug: effective_base_url(slug) for slug in PROVIDERS} == {
        "openrouter": "https://openrouter.ai/api/v1",
        "openai": "https://api.openai.com/v1",
        "anthropic": "https://api.anthropic.com/v1",
        "google": "https://generativelanguage.googleapis.com/v1beta",
        "mistral": "https://api.mistral.ai/v1",
        "ollama": "",
        "openai_compatible": "",
        "anthropic_compatible": "",
        "gemini_compatible": "",
    }


def test_a_setting_sends_one_provider_elsewhere(settings):
    settings.KEYFARE_PROVIDER_ORIGINS = {"openai": "http://127.0.0.1:9001/openai/v1/"}

    assert effective_base_url("openai") == "http://127.0.0.1:9001/openai/v1"
    assert origin_of("openai") == "http://127.0.0.1:9001"
    assert origin_of("anthropic") == "https://api.anthropic.com"


@pytest.mark.parametrize("slug", [slug for slug, provider in PROVIDERS.items() if not provider.takes_base_url])
def test_every_provider_links_to_the_page_where_its_key_is_made(slug):
    provider = PROVIDERS[slug]

    assert provider.key_page_url.startswith("https://")
    assert provider.name == provider.adapter.provider_name
    assert provider.key_hint.startswith(tuple(prefix[:3] for prefix in provider.key_prefixes) or "32")
