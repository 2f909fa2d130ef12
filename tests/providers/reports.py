"""What the adapters make of an answer that reports this or that, and what it costs by that."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from providers.adapters.base import HttpAnswer
from providers.catalog import PROVIDERS
from usage.pricing import Price, price
from usage.tokens import Report

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODELS = {
    "openrouter": "openai/gpt-4o",
    "openai": "gpt-5",
    "anthropic": "claude-sonnet-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-medium-latest",
    "ollama": "llama3",
    "openai_compatible": "gpt-4o",
    "anthropic_compatible": "claude-sonnet-4-5",
    "gemini_compatible": "gemini-2.5-flash",
}


def content_of(slug: str, usage: object, **more: object) -> dict[str, object]:
    """A successful answer of the provider that reports `usage`."""
    match slug:
        case "anthropic" | "anthropic_compatible":
            return {"content": [{"type": "text", "text": "{}"}], "stop_reason": "end_turn", "usage": usage, **more}
        case "google" | "gemini_compatible":
            candidate = {"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}
            return {"candidates": [candidate], "usageMetadata": usage, **more}
    return {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}], "usage": usage, **more}


def report_of(slug: str, usage: object, headers: dict[str, str] | None = None, **more: object) -> Report:
    body = json.dumps(content_of(slug, usage, **more)).encode()
    return PROVIDERS[slug].adapter.parse_chat(HttpAnswer(200, headers or {}, body)).report


def price_of(slug: str, usage: object, headers: dict[str, str] | None = None, **more: object) -> Price:
    return price(provider=slug, model=MODELS[slug], report=report_of(slug, usage, headers, **more), at=AT)
