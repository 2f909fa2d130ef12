"""The models that the simulated providers list: real names, with sizes and prices as of 2026-11-21."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """Prices are USD per million tokens; only OpenRouter tells them."""

    id: str
    name: str
    context_tokens: int
    input_price: Decimal
    output_price: Decimal
    retires_at: str = ""


# Announced to end, so that this can be seen told.
RETIRED = {"claude-sonnet-4-5": "2027-03-31T00:00:00Z"}


def _listing(*models: tuple[str, str, int, str, str]) -> dict[str, SimulatedModel]:
    return {
        model_id: SimulatedModel(
            model_id, name, context, Decimal(input_price), Decimal(output_price), RETIRED.get(model_id, "")
        )
        for model_id, name, context, input_price, output_price in models
    }


# Models that make vectors; their lists leave them out, as they cannot chat.
EMBEDDING_MODELS: dict[str, tuple[str, ...]] = {
    "openai": ("text-embedding-3-small", "text-embedding-3-large"),
    "google": ("gemini-embedding-001",),
    "openrouter": ("openai/text-embedding-3-small",),
    "mistral": ("mistral-embed",),
    "ollama": ("nomic-embed-text",),
    "openai_compatible": ("BAAI/bge-m3",),
    "gemini_compatible": ("gemini-embedding-001",),
}
MODELS: dict[str, dict[str, SimulatedModel]] = {
    "openai": _listing(
        ("gpt-4o", "GPT-4o", 128_000, "2.5", "10"),
        ("gpt-4o-mini", "GPT-4o mini", 128_000, "0.15", "0.6"),
        ("gpt-4.1", "GPT-4.1", 1_047_576, "2", "8"),
        ("gpt-4.1-mini", "GPT-4.1 mini", 1_047_576, "0.4", "1.6"),
        ("gpt-4.1-nano", "GPT-4.1 nano", 1_047_576, "0.1", "0.4"),
        ("gpt-5", "GPT-5", 400_000, "1.25", "10"),
        ("gpt-5-mini", "GPT-5 mini", 400_000, "0.25", "2"),
        ("gpt-5-nano", "GPT-5 nano", 400_000, "0.05", "0.4"),
        ("gpt-5.4", "GPT-5.4", 1_050_000, "2.5", "15"),
        ("gpt-5.4-mini", "GPT-5.4 mini", 400_000, "0.75", "4.5"),
        ("gpt-5.5", "GPT-5.5", 1_050_000, "5", "30"),
        ("gpt-6-luna", "GPT-6 Luna", 1_050_000, "0.1", "0.5"),
        ("gpt-6.1-terra", "GPT-6.1 Terra", 1_050_000, "1", "5"),
        ("gpt-6.1-sol", "GPT-6.1 Sol", 1_050_000, "2", "10"),
    ),
    "anthropic": _listing(
        ("claude-haiku-4-5", "Claude Haiku 4.5", 200_000, "1", "5"),
        ("claude-haiku-5-5", "Claude Haiku 5.5", 1_000_000, "0.1", "0.5"),
        ("claude-sonnet-4-5", "Claude Sonnet 4.5", 200_000, "3", "15"),
        ("claude-sonnet-5", "Claude Sonnet 5", 1_000_000, "2", "10"),
        ("claude-sonnet-5-5", "Claude Sonnet 5.5", 1_000_000, "2", "10"),
        ("claude-opus-5", "Claude Opus 5", 1_000_000, "5", "25"),
        ("claude-opus-5-5", "Claude Opus 5.5", 1_000_000, "4", "20"),
    ),
    "google": _listing(
        ("gemini-2.5-pro", "Gemini 2.5 Pro", 1_048_576, "1.25", "10"),
        ("gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576, "0.3", "2.5"),
        ("gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite", 1_048_576, "0.1", "0.4"),
        ("gemini-3.1-flash-lite", "Gemini 3.1 Flash-Lite", 1_048_576, "0.25", "1.5"),
        ("gemini-3.6-flash", "Gemini 3.6 Flash", 1_048_576, "0.75", "3.75"),
        ("gemini-3.8-flash", "Gemini 3.8 Flash", 1_048_576, "0.75", "3.75"),
        ("gemini-4-argon", "Gemini 4 Argon", 1_048_576, "2", "10"),
    ),
    "openrouter": _listing(
        ("openai/gpt-4.1-mini", "OpenAI: GPT-4.1 Mini", 1_047_576, "0.4", "1.6"),
        ("openai/gpt-4o-mini", "OpenAI: GPT-4o-mini", 128_000, "0.15", "0.6"),
        ("openai/gpt-5", "OpenAI: GPT-5", 400_000, "1.25", "10"),
        ("openai/gpt-5-mini", "OpenAI: GPT-5 Mini", 400_000, "0.25", "2"),
        ("openai/gpt-6-luna", "OpenAI: GPT-6 Luna", 1_050_000, "0.1", "0.5"),
        ("openai/gpt-6.1-sol", "OpenAI: GPT-6.1 Sol", 1_050_000, "2", "10"),
        ("openai/gpt-oss-120b", "OpenAI: gpt-oss-120b", 131_072, "0.1", "0.5"),
        ("anthropic/claude-haiku-4.5", "Anthropic: Claude Haiku 4.5", 200_000, "1", "5"),
        ("anthropic/claude-haiku-5.5", "Anthropic: Claude Haiku 5.5", 1_000_000, "0.1", "0.5"),
        ("anthropic/claude-sonnet-4.5", "Anthropic: Claude Sonnet 4.5", 1_000_000, "3", "15"),
        ("anthropic/claude-sonnet-5.5", "Anthropic: Claude Sonnet 5.5", 1_000_000, "2", "10"),
        ("anthropic/claude-opus-5.5", "Anthropic: Claude Opus 5.5", 1_000_000, "4", "20"),
        ("google/gemini-2.5-flash", "Google: Gemini 2.5 Flash", 1_048_576, "0.3", "2.5"),
        ("google/gemini-2.5-flash-lite", "Google: Gemini 2.5 Flash Lite", 1_048_576, "0.1", "0.4"),
        ("google/gemini-2.5-pro", "Google: Gemini 2.5 Pro", 1_048_576, "1.25", "10"),
        ("google/gemini-3.8-flash", "Google: Gemini 3.8 Flash", 1_048_576, "0.75", "3.75"),
        ("deepseek/deepseek-chat-v3.1", "DeepSeek: DeepSeek V3.1", 163_840, "0.27", "1"),
        ("meta-llama/llama-3.3-70b-instruct", "Meta: Llama 3.3 70B Instruct", 131_072, "0.59", "0.79"),
        ("mistralai/mistral-large-2512", "Mistral: Mistral Large 3 2512", 262_144, "0.5", "1.5"),
        ("x-ai/grok-4.7", "xAI: Grok 4.7", 500_000, "2", "6"),
    ),
    "mistral": _listing(
        ("mistral-large-latest", "Mistral Large", 262_144, "2", "6"),
        ("mistral-medium-latest", "Mistral Medium", 131_072, "1.5", "7.5"),
        ("mistral-small-latest", "Mistral Small", 131_072, "0.1", "0.3"),
        ("ministral-8b-latest", "Ministral 8B", 131_072, "0.1", "0.1"),
    ),
    "ollama": _listing(
        ("qwen3:8b", "qwen3:8b", 40_960, "0", "0"),
        ("gpt-oss:20b", "gpt-oss:20b", 131_072, "0", "0"),
        ("llama3.2:3b", "llama3.2:3b", 131_072, "0", "0"),
    ),
    "openai_compatible": _listing(
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", 131_072, "0", "0"),
        ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B", 40_960, "0", "0"),
    ),
    "anthropic_compatible": _listing(
        ("zai-org/GLM-4.6", "zai-org/GLM-4.6", 202_752, "0", "0"),
        ("Qwen/Qwen3-Coder-30B", "Qwen/Qwen3-Coder-30B", 262_144, "0", "0"),
    ),
    "gemini_compatible": _listing(
        ("gemma-3-27b-it", "Gemma 3 27B", 131_072, "0", "0"),
        ("gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576, "0", "0"),
    ),
}
