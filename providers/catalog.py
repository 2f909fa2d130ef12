"""The providers whose keys can be connected. Addresses, key formats and pages as of 2026-11-21."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from providers.adapters.anthropic import AnthropicAdapter
from providers.adapters.base import Adapter
from providers.adapters.google import GoogleAdapter
from providers.adapters.openai import OpenAIAdapter, OpenRouterAdapter


@dataclass(frozen=True, slots=True)
class Provider:
    """
    A provider as the settings page shows it and as calls reach it.

    `key_hint` and `key_prefixes` help people to see that they pasted the right thing; they never decide
    whether a key is accepted (providers change their formats).
    """

    slug: str
    name: str
    adapter: Adapter
    base_url: str
    key_page_url: str
    key_hint: str
    key_prefixes: tuple[str, ...]
    recommended: bool = False


PROVIDERS: dict[str, Provider] = {
    provider.slug: provider
    for provider in (
        Provider(
            slug="openrouter",
            name="OpenRouter",
            adapter=OpenRouterAdapter(),
            base_url="https://openrouter.ai/api/v1",
            key_page_url=OpenRouterAdapter.key_page,
            key_hint="sk-or-v1-…",
            key_prefixes=("sk-or-",),
            recommended=True,
        ),
        Provider(
            slug="openai",
            name="OpenAI",
            adapter=OpenAIAdapter(),
            base_url="https://api.openai.com/v1",
            key_page_url=OpenAIAdapter.key_page,
            key_hint="sk-proj-…",
            key_prefixes=("sk-proj-", "sk-svcacct-", "sk-"),
        ),
        Provider(
            slug="anthropic",
            name="Anthropic",
            adapter=AnthropicAdapter(),
            base_url="https://api.anthropic.com/v1",
            key_page_url=AnthropicAdapter.key_page,
            key_hint="sk-ant-api03-…",
            key_prefixes=("sk-ant-",),
        ),
        Provider(
            slug="google",
            name="Google",
            adapter=GoogleAdapter(),
            base_url="https://generativelanguage.googleapis.com/v1beta",
            key_page_url=GoogleAdapter.key_page,
            key_hint="AQ.… or AIza…",
            key_prefixes=("AQ.", "AIza"),
        ),
    )
}


def effective_base_url(slug: str) -> str:
    """Where calls to a provider go: its own address, unless KEYFARE_PROVIDER_ORIGINS names another."""
    override: str | None = settings.KEYFARE_PROVIDER_ORIGINS.get(slug)
    return (override or PROVIDERS[slug].base_url).rstrip("/")


def origin_of(slug: str) -> str:
    """The origin a provider's key may travel to: scheme, host and port where it is not the usual one."""
    address = urlsplit(effective_base_url(slug))
    return f"{address.scheme}://{address.netloc}".lower()
