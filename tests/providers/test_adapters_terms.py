"""What an answer says of its price beside the tokens: tier, speed, region, tools, and the cost itself."""

from __future__ import annotations

import pytest

from tests.providers.reports import price_of, report_of
from usage.models import UsageEvent

Source = UsageEvent.PriceSource


# More than text --------------------------------------------------------------------------------------------------

TEXT = {"prompt_tokens": 100, "completion_tokens": 50}
MESSAGE = {"input_tokens": 100, "output_tokens": 50}
GEMINI = {"promptTokenCount": 100, "candidatesTokenCount": 50}


@pytest.mark.parametrize(
    ("slug", "usage", "more"),
    [
        ("openai", {**TEXT, "prompt_tokens_details": {"audio_tokens": 3}}, {}),
        ("openai", {**TEXT, "completion_tokens_details": {"audio_tokens": 3}}, {}),
        ("openai", {**TEXT, "completion_tokens_details": {"image_tokens": 3}}, {}),
        ("mistral", {**TEXT, "prompt_audio_seconds": 12}, {}),
        ("openrouter", {**TEXT, "server_tool_use": {"web_search_requests": 2}}, {}),
        ("anthropic", {**MESSAGE, "server_tool_use": {"web_search_requests": 2}}, {}),
        ("anthropic", {**MESSAGE, "server_tool_use": {"something_new": 1}}, {}),
        ("google", {**GEMINI, "candidatesTokensDetails": [{"modality": "VIDEO", "tokenCount": 9}]}, {}),
        ("google", {**GEMINI, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}]}, {}),
        (
            "google",
            GEMINI,
            {
                "candidates": [
                    {"content": {"parts": [{"text": "{}"}]}, "groundingMetadata": {"webSearchQueries": ["who"]}}
                ]
            },
        ),
    ],
)
def test_what_is_billed_beside_text_is_not_priced_as_text(slug, usage, more):
    assert price_of(slug, usage, **more).no_price == UsageEvent.NoPrice.EXTRAS


@pytest.mark.parametrize(
    ("slug", "usage"),
    [
        ("openai", {**TEXT, "prompt_tokens_details": {"audio_tokens": 0}, "completion_tokens_details": None}),
        ("anthropic", {**MESSAGE, "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 3}}),
        ("anthropic", {**MESSAGE, "server_tool_use": None}),
        ("google", {**GEMINI, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 90}]}),
        ("google", {**GEMINI, "promptTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 90}]}),
    ],
)
def test_what_costs_nothing_more_leaves_the_list_price(slug, usage):
    assert price_of(slug, usage).source == Source.CATALOG


# Tier, speed, region ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "usage", "headers", "more", "expected"),
    [
        ("openai", TEXT, {}, {"service_tier": "priority"}, "priority"),
        ("openai", TEXT, {}, {"service_tier": None}, ""),
        ("mistral", {**TEXT, "service_tier": "priority"}, {}, {}, "priority"),
        ("anthropic", {**MESSAGE, "service_tier": "standard", "inference_geo": "global"}, {}, {}, "standard"),
        ("anthropic", {**MESSAGE, "service_tier": "priority", "inference_geo": "not_available"}, {}, {}, "priority"),
        ("anthropic", {**MESSAGE, "service_tier": "standard", "speed": "fast"}, {}, {}, "fast"),
        ("anthropic", {**MESSAGE, "service_tier": "standard", "speed": "standard"}, {}, {}, "standard"),
        ("anthropic", {**MESSAGE, "service_tier": "batch", "inference_geo": "us"}, {}, {}, "batch us"),
        ("google", {**GEMINI, "serviceTier": "flex"}, {}, {}, "flex"),
        ("google", GEMINI, {"x-gemini-service-tier": "priority"}, {}, "priority"),
        ("google", {**GEMINI, "trafficType": "PROVISIONED_THROUGHPUT"}, {}, {}, "PROVISIONED_THROUGHPUT"),
    ],
)
def test_the_tier_that_served_is_read_wherever_it_is_told(slug, usage, headers, more, expected):
    assert report_of(slug, usage, headers, **more).service_tier == expected


@pytest.mark.parametrize(
    ("slug", "usage", "more"),
    [
        ("openai", TEXT, {"service_tier": "scale"}),
        ("mistral", {**TEXT, "service_tier": "priority"}, {}),
        ("anthropic", {**MESSAGE, "service_tier": "priority"}, {}),
        ("anthropic", {**MESSAGE, "inference_geo": "us"}, {}),
        ("google", {**GEMINI, "serviceTier": "SERVICE_TIER_PRIORITY"}, {}),
        ("openrouter", TEXT, {"service_tier": "flex"}),
    ],
)
def test_an_answer_of_a_tier_without_a_price_is_unpriced(slug, usage, more):
    assert price_of(slug, usage, **more).no_price == UsageEvent.NoPrice.TIER


def test_a_reported_cost_is_the_cost_in_whatever_tier():
    assert price_of("openrouter", {**TEXT, "cost": 0.5}, service_tier="flex").cost_nanousd == 500_000_000


# OpenRouter's cost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cost",
    [
        {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}},
        {"cost": 0.001, "is_byok": True, "cost_details": None},
        {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": -1}},
        {"cost": None, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
        {"is_byok": True},
        {"cost": 0, "is_byok": "true"},
    ],
)
def test_a_fee_without_what_the_provider_behind_it_charged_is_a_part_of_a_cost(cost):
    found = price_of("openrouter", {**TEXT, **cost})

    assert (found.cost_nanousd, found.no_price) == (None, UsageEvent.NoPrice.PART_OF_COST)
