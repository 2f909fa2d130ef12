from __future__ import annotations

import pytest

from providers.catalog import PROVIDERS
from usage.names import provider_name, provider_slug


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_every_provider_is_called_as_in_the_catalog(provider):
    assert provider_name(provider.slug) == provider.name


def test_a_provider_that_left_the_catalog_keeps_its_slug():
    assert provider_name("home-made") == "home-made"


@pytest.mark.parametrize(
    ("typed", "slug"),
    [
        ("OpenRouter", "openrouter"),
        (" openai-compatible SERVER ", "openai_compatible"),
        ("ollama", "ollama"),
        ("home-made", "home-made"),
        ("", ""),
    ],
)
def test_a_name_leads_to_its_slug(typed, slug):
    assert provider_slug(typed) == slug
