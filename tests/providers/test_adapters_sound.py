"""Sound and pictures, which are counted among the tokens and may have prices of their own."""

from __future__ import annotations

import pytest

from tests.providers.reports import price_of, report_of
from usage.models import UsageEvent
from usage.tokens import Doubt, TokenUsage


@pytest.mark.parametrize(
    ("slug", "usage", "expected"),
    [
        (
            "openai",
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"audio_tokens": 30, "image_tokens": 20, "cached_tokens": 0},
                "completion_tokens_details": {"audio_tokens": 25, "image_tokens": 5, "reasoning_tokens": 10},
            },
            TokenUsage(100, output=50, reasoning=10, audio_input=30, image_input=20, audio_output=25, image_output=5),
        ),
        (
            "openai",
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {
                    "audio_tokens": 30,
                    "cached_tokens": 40,
                    "cached_tokens_details": {"audio_tokens": 20, "text_tokens": 20},
                },
            },
            TokenUsage(60, cache_read=40, output=50, audio_input=10, audio_cache_read=20),
        ),
        (
            "google",
            {
                "promptTokenCount": 100,
                "candidatesTokenCount": 50,
                "thoughtsTokenCount": 10,
                "cachedContentTokenCount": 40,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 50},
                    {"modality": "AUDIO", "tokenCount": 30},
                    {"modality": "IMAGE", "tokenCount": 20},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}, {"modality": "TEXT", "tokenCount": 20}],
                "candidatesTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 25},
                    {"modality": "IMAGE", "tokenCount": 5},
                    {"modality": "TEXT", "tokenCount": 20},
                ],
            },
            TokenUsage(
                60, cache_read=40, output=60, reasoning=10, audio_input=10, audio_cache_read=20, audio_output=25,
                image_output=5,
            ),
        ),
    ],
)  # fmt: skip
def test_sound_and_pictures_are_classes_of_their_own(slug, usage, expected):
    report = report_of(slug, usage)

    assert (report.usage, report.doubt) == (expected, None)


@pytest.mark.parametrize(
    ("slug", "usage", "doubt"),
    [
        # Nobody tells how much of the sound came from the cache.
        (
            "openai",
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "prompt_tokens_details": {"audio_tokens": 30, "cached_tokens": 40},
            },
            Doubt.EXTRAS,
        ),
        (
            "google",
            {
                "promptTokenCount": 100,
                "candidatesTokenCount": 5,
                "cachedContentTokenCount": 40,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
            },
            Doubt.EXTRAS,
        ),
        # More sound than there is of anything.
        (
            "openai",
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"audio_tokens": 6}},
            Doubt.UNCLEAR_TOKENS,
        ),
        (
            "google",
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 5,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
            },
            Doubt.UNCLEAR_TOKENS,
        ),
    ],
)
def test_sound_that_cannot_be_told_apart_is_in_doubt(slug, usage, doubt):
    assert report_of(slug, usage).doubt is doubt


def test_sound_costs_what_the_list_asks_for_it():
    heard = {"promptTokenCount": 100, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}]}

    # Gemini 2.5 Flash takes 0.30 USD a million tokens of text, 1.00 of sound.
    assert price_of("google", {"promptTokenCount": 100}).cost_nanousd == 30_000
    assert price_of("google", heard).cost_nanousd == 100_000
    assert price_of("openai", {"prompt_tokens": 100, "completion_tokens": 5, "audio_prompt_tokens": 9}).no_price == (
        UsageEvent.NoPrice.EXTRAS
    ), "GPT-5 has no price for sound"
