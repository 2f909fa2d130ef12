"""The providers whose keys can be connected. Addresses, key formats and pages as of 2026-11-21."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from django.conf import settings

from providers.adapters.anthropic import AnthropicAdapter
from providers.adapters.base import Adapter
from providers.adapters.compatible import (
    AnthropicCompatibleAdapter,
    CompatibleAdapter,
    GeminiCompatibleAdapter,
    OllamaAdapter,
)
from providers.adapters.google import GoogleAdapter
from providers.adapters.mistral import MistralAdapter
from providers.adapters.openai import OpenAIAdapter
from providers.adapters.openrouter import OpenRouterAdapter


class KeyNeed(StrEnum):
    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Pages:
    """
    Where a provider shows what concerns its customers: addresses that its own documentation, clients or answers name,
    checked 2026-11-28; "" where none was found there.
    """

    usage: str = ""
    invoices: str = ""
    spend_limits: str = ""
    data_terms: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """
    A provider as the settings page shows it and as calls reach it.

    `key_hint` and `key_prefixes` help people to see that they pasted the right thing; they never decide
    whether a key is accepted (providers change their formats). `base_url` is "" where every organization names a
    server of its own; `path_to_leave_out` is what people copy along with its base URL. `usual_models` are quick and
    cheap ones, proposed where it does not sell the managed default's (routing/counterparts.py).
    """

    slug: str
    name: str
    adapter: Adapter
    base_url: str
    key_page_url: str
    key_hint: str
    key_prefixes: tuple[str, ...]
    recommended: bool = False
    key_need: KeyNeed = KeyNeed.REQUIRED
    base_url_hint: str = ""
    path_to_leave_out: str = ""
    usual_models: tuple[str, ...] = ()
    why_recommended: str = ""
    pages: Pages = Pages()

    @property
    def takes_base_url(self) -> bool:
        return not self.base_url

    @property
    def may_be_own_server(self) -> bool:
        """Whether its owner has to say if its tokens are charged for: Ollama's never are, a provider's always."""
        return self.takes_base_url and not self.has_no_key

    @property
    def has_no_key(self) -> bool:
        return self.key_need is KeyNeed.NONE


KEY_OF_A_SERVER = "whatever the server expects; leave it empty if it expects none"
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
            usual_models=("openai/gpt-4.1-mini", "google/gemini-2.5-flash", "anthropic/claude-haiku-4.5"),
            why_recommended="One key for the models of all makers, a free choice per action, and another host serves "
            "the same model when one is slow or down.",
            pages=Pages(
                usage="https://openrouter.ai/activity",
                invoices="https://openrouter.ai/settings/credits",
                spend_limits="https://openrouter.ai/settings/keys",
                data_terms="https://openrouter.ai/docs/guides/privacy/data-collection",
            ),
        ),
        Provider(
            slug="openai",
            name="OpenAI",
            adapter=OpenAIAdapter(),
            base_url="https://api.openai.com/v1",
            key_page_url=OpenAIAdapter.key_page,
            key_hint="sk-proj-…",
            key_prefixes=("sk-proj-", "sk-svcacct-", "sk-"),
            usual_models=("gpt-4.1-mini", "gpt-5-mini", "gpt-4o-mini"),
            pages=Pages(
                usage="https://platform.openai.com/usage",
                spend_limits="https://developers.openai.com/api/docs/guides/spend-limits",
                data_terms="https://developers.openai.com/api/docs/guides/your-data",
            ),
        ),
        Provider(
            slug="anthropic",
            name="Anthropic",
            adapter=AnthropicAdapter(),
            base_url="https://api.anthropic.com/v1",
            key_page_url=AnthropicAdapter.key_page,
            key_hint="sk-ant-api03-…",
            key_prefixes=("sk-ant-",),
            usual_models=("claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-4-5"),
            pages=Pages(
                usage="https://platform.claude.com/usage",
                invoices="https://platform.claude.com/settings/billing",
                spend_limits="https://platform.claude.com/settings/billing",
                data_terms="https://platform.claude.com/docs/en/build-with-claude/api-and-data-retention",
            ),
        ),
        Provider(
            slug="google",
            name="Google",
            adapter=GoogleAdapter(),
            base_url="https://generativelanguage.googleapis.com/v1beta",
            key_page_url=GoogleAdapter.key_page,
            key_hint="AQ.… or AIza…",
            key_prefixes=("AQ.", "AIza"),
            usual_models=("gemini-2.5-flash", "gemini-3.6-flash", "gemini-2.5-pro"),
            pages=Pages(
                usage="https://aistudio.google.com/usage",
                invoices="https://ai.google.dev/gemini-api/docs/billing",
                spend_limits="https://ai.google.dev/gemini-api/docs/billing",
                data_terms="https://ai.google.dev/gemini-api/terms",
            ),
        ),
        Provider(
            slug="mistral",
            name="Mistral",
            adapter=MistralAdapter(),
            base_url="https://api.mistral.ai/v1",
            key_page_url=MistralAdapter.key_page,
            key_hint="32 letters and digits",
            key_prefixes=(),
            usual_models=("mistral-small-latest", "mistral-medium-latest", "mistral-large-latest"),
            pages=Pages(
                usage="https://docs.mistral.ai/admin/billing-usage/usage-limits",
                spend_limits="https://docs.mistral.ai/admin/billing-usage/usage-limits",
            ),
        ),
        Provider(
            slug="ollama",
            name="Ollama",
            adapter=OllamaAdapter(),
            base_url="",
            key_page_url="",
            key_hint="",
            key_prefixes=(),
            key_need=KeyNeed.NONE,
            base_url_hint="https://ollama.example.com",
            path_to_leave_out="/v1",
        ),
        Provider(
            slug="openai_compatible",
            name="OpenAI-compatible server",
            adapter=CompatibleAdapter(),
            base_url="",
            key_page_url="",
            key_hint=KEY_OF_A_SERVER,
            key_prefixes=(),
            key_need=KeyNeed.OPTIONAL,
            base_url_hint="https://llm.example.com/v1",
        ),
        Provider(
            slug="anthropic_compatible",
            name="Anthropic-compatible server",
            adapter=AnthropicCompatibleAdapter(),
            base_url="",
            key_page_url="",
            key_hint=KEY_OF_A_SERVER,
            key_prefixes=(),
            key_need=KeyNeed.OPTIONAL,
            base_url_hint="https://llm.example.com/anthropic",
            path_to_leave_out="/v1",
        ),
        Provider(
            slug="gemini_compatible",
            name="Gemini-compatible server",
            adapter=GeminiCompatibleAdapter(),
            base_url="",
            key_page_url="",
            key_hint=KEY_OF_A_SERVER,
            key_prefixes=(),
            key_need=KeyNeed.OPTIONAL,
            base_url_hint="https://llm.example.com/gemini",
            path_to_leave_out="/v1beta",
        ),
    )
}


def effective_base_url(slug: str) -> str:
    """
    Where calls to a provider go: its own address, unless KEYFARE_PROVIDER_ORIGINS names another.

    "" for a provider whose servers organizations name themselves.
    """
    override: str | None = settings.KEYFARE_PROVIDER_ORIGINS.get(slug)
    return (override or PROVIDERS[slug].base_url).rstrip("/")


def origin_of(slug: str, base_url: str = "") -> str:
    """
    The origin a provider's key may travel to: scheme, host and port where it is not the usual one.

    `base_url` is the key's own, "" for the provider's. "" where that is no address at all: no key travels there.
    """
    try:
        address = urlsplit(base_url or effective_base_url(slug))
    except ValueError:
        return ""
    return f"{address.scheme}://{address.netloc}".lower()
