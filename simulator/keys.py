"""A key of each provider that the simulator accepts, in the provider's own shape; for the demo's cards and tests."""

from __future__ import annotations

from typing import Final

KEYS_TO_TRY: Final = {
    "openrouter": "sk-or-v1-simulated-valid-try-me-1",
    "openai": "sk-proj-simulated-valid-try-me-2",
    "anthropic": "sk-ant-api03-simulated-valid-try-me-3",
    "google": "AQ.simulated-valid-try-me-4",
    "mistral": "simulated-valid-try-me-mistral-5",
    "openai_compatible": "simulated-valid-try-me-6",
    "anthropic_compatible": "simulated-valid-try-me-7",
    "gemini_compatible": "simulated-valid-try-me-8",
}
