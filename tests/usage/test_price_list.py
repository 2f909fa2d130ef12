"""The price list is held to what it really knows: this model, this tier, all of these tokens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from django.conf import settings
from genai_prices.data import providers
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from usage.models import UsageEvent
from usage.price_list import CATALOG_PROVIDERS, VERSION, _known_names, list_price
from usage.tokens import TokenUsage

PRICES = Path(settings.BASE_DIR).parent / "shared" / "data" / "prices"
NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOME = TokenUsage(uncached_input=1000, output=100)
NoPrice = UsageEvent.NoPrice
LISTS = {provider.id: provider for provider in providers if provider.id in CATALOG_PROVIDERS.values()}


def cost_of(provider, model, usage=SOME, *, served="", tier="", at=NOVEMBER):
    return list_price(provider=provider, model=model, served_model=served, usage=usage, tier=tier, at=at)


# Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "requested", "served"),
    [
        ("openai", "gpt-5", "gpt-5-mega-2027-10-06"),
        ("openai", "gpt-5", "gpt-5-mega"),
        ("openai", "gpt-5", "gpt-5.9"),
        ("openai", "gpt-5", "gpt-5-29"),
        ("openai", "gpt-4o-mini", "gpt-4o-mini-2099-01-01-turbo"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-fast"),
        ("google", "gemini-2.5-flash", "gemini-2.5-flash-ultra-001"),
        ("google", "gemini-2.5-flash", "gemini-2.5-flash-001-ultra"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o-mega"),
        ("mistral", "mistral-large-latest", "mistral-large-2809"),
        ("mistral", "mistral-medium-latest", "mistral-medium-2809"),
    ],
)
def test_a_served_model_that_the_list_does_not_know_never_has_the_price_of_its_cousin(provider, requested, served):
    assert isinstance(cost_of(provider, requested), int)
    assert cost_of(provider, requested, served=served) is NoPrice.NOT_LISTED
    assert cost_of(provider, served) is NoPrice.NOT_LISTED


@pytest.mark.parametrize(
    ("provider", "model", "served"),
    [
        ("openai", "gpt-4o-search-preview", ""),
        ("openai", "gpt-4o-mini-search-preview-2025-03-11", ""),
        ("openai", "gpt-5", "gpt-5-search-api"),
        ("openai", "o3-deep-research", "o3-deep-research-2025-06-26"),
        ("openrouter", "openai/gpt-4o-search-preview", ""),
        ("openrouter", "perplexity/sonar-pro-search", ""),
    ],
)
def test_a_model_that_searches_with_every_call_has_no_price_by_its_tokens_alone(provider, model, served):
    assert cost_of(provider, model, served=served) is NoPrice.EXTRAS


def test_a_maker_of_models_may_be_called_research():
    assert isinstance(cost_of("openrouter", "nousresearch/hermes-4-70b"), int)


def test_a_served_cousin_that_the_list_knows_has_its_own_price():
    pro = cost_of("openai", "gpt-5-pro")

    assert cost_of("openai", "gpt-5", served="gpt-5-pro-2025-10-06") == pro > cost_of("openai", "gpt-5")


@pytest.mark.parametrize(
    ("provider", "model", "served"),
    [
        ("openai", "gpt-5", "gpt-5-2099-08-07"),
        ("openai", "gpt-5", "gpt-5-20990807"),
        ("openai", "gpt-4", "gpt-4-1231"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20990929"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5@20990929"),
        ("google", "gemini-2.5-flash", "gemini-2.5-flash-002"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash-09-2099"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o-2099-01-01"),
    ],
)
def test_a_date_or_a_revision_names_the_same_model(provider, model, served):
    assert cost_of(provider, model, served=served) == cost_of(provider, model)
    assert isinstance(cost_of(provider, model), int)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc123"),
        ("openai", "GPT-4o"),
        ("anthropic", "claude-sonnet-4-20250514"),
        ("anthropic", "claude-3-5-haiku-latest"),
        ("anthropic", "claude-haiku-4-5-20251001"),
        ("google", "gemini-2.0-flash-001"),
        ("google", "gemini-2.5-flash-lite-preview-09-2025"),
        ("mistral", "magistral-small-2509"),
        ("mistral", "mistral-large-latest"),
    ],
)
def test_dated_names_and_aliases_of_the_list_are_priced(provider, name):
    assert isinstance(cost_of(provider, name), int)


def test_a_fine_tuned_model_of_an_unknown_model_is_not_listed():
    assert cost_of("openai", "ft:gpt-4o-2024-mega:acme::abc") is NoPrice.NOT_LISTED


@pytest.mark.parametrize("suffix", ["-mega", "-mini-x", "-8b", "-cyber-x", "x", "-1x", ".9"])
def test_nothing_that_only_begins_like_a_listed_name_has_its_price(suffix):
    """Over every name in the real list: what it would take in by its beginning is refused."""
    for slug, catalog in CATALOG_PROVIDERS.items():
        models = LISTS[catalog].models
        known = {name.lower() for model in models for name in (model.id, *_known_names(model.match))}
        for name in known - {""}:
            if name + suffix not in known and not name.startswith("ft:"):
                assert cost_of(slug, name + suffix) is NoPrice.NOT_LISTED, name + suffix


def names_of_models():
    """The chat models that three public lists of 2025 and 2026 name, by our providers."""
    names: dict[str, set[str]] = {slug: set() for slug in CATALOG_PROVIDERS}
    theirs = {"gemini": "google"}
    listed = json.loads((PRICES / "litellm_1.109.1_model_prices.json").read_text())
    for name, row in listed.items():
        slug = theirs.get(row.get("litellm_provider"), row.get("litellm_provider"))
        if slug in names and row.get("mode") in ("chat", "responses"):
            names[slug].add(name.removeprefix(f"{row['litellm_provider']}/"))
    for row in json.loads((PRICES / "ruby_llm_models.json").read_text()):
        slug = theirs.get(row["provider"], row["provider"])
        if slug in names:
            names[slug].add(row["id"])
    return names


@pytest.mark.skipif(not PRICES.is_dir(), reason="needs the lists of prices in ../shared/data/prices")
def test_no_pair_of_real_models_lends_one_the_price_of_the_other():
    pairs = 0
    for slug, names in names_of_models().items():
        alone = {name: cost_of(slug, name) for name in names}
        assert sum(isinstance(cost, int) for cost in alone.values()) >= 15, slug
        for requested, served in permutations(sorted(names), 2):
            if not served.startswith(requested) or ":" in served:
                continue
            pairs += 1
            found = cost_of(slug, requested, served=served)
            if VERSION.fullmatch(served.removeprefix(requested)) and not isinstance(alone[served], int):
                assert found in (alone[requested], NoPrice.NOT_LISTED), (requested, served)
            else:
                assert found == alone[served], (requested, served)
    assert pairs > 100


def test_a_free_variant_is_free_also_where_the_answer_names_the_model_without_it():
    assert cost_of("openrouter", "deepseek/deepseek-r1:free", served="deepseek/deepseek-r1") == 0
    assert cost_of("openrouter", "openai/gpt-4o:mega", served="openai/gpt-4o") is NoPrice.NOT_LISTED


def test_a_router_has_no_price_of_its_own_on_either_side():
    assert cost_of("openrouter", "openai/gpt-4o", served="openrouter/auto") is NoPrice.NOT_LISTED


# Tiers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["", "default", "standard", "STANDARD", "on_demand", "ON_DEMAND"])
@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-5"), ("anthropic", "claude-opus-4-8"), ("google", "gemini-2.5-flash")]
)
def test_the_usual_tier_has_the_standard_price(provider, model, tier):
    assert cost_of(provider, model, tier=tier) == cost_of(provider, model)


def test_a_tier_that_the_list_prices_has_its_price():
    million = TokenUsage(uncached_input=10**6, output=10**6)

    # USD per million in and out: 2 and 8; priority 3.50 and 14; batch 1 and 4
    assert cost_of("openai", "gpt-4.1", million) == 10 * 10**9
    assert cost_of("openai", "gpt-4.1", million, tier="priority") == 17_500_000_000
    assert cost_of("openai", "gpt-4.1", million, tier="batch") == 5 * 10**9
    assert cost_of("openai", "gpt-5", million, tier="flex") == cost_of("openai", "gpt-5", million) // 2
    # 5 and 25, doubled
    assert cost_of("anthropic", "claude-opus-4-8", million, tier="fast") == 60 * 10**9


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("openai", "gpt-5", "scale"),
        ("openai", "gpt-5", "auto"),  # says what was asked for, not what was done
        ("openai", "gpt-5", "something new"),
        ("openai", "gpt-4-turbo", "priority"),
        ("anthropic", "claude-opus-4-8", "priority"),
        ("anthropic", "claude-opus-4-8", "us"),
        ("anthropic", "claude-opus-4-8", "fast us"),
        ("anthropic", "claude-sonnet-4-5", "fast"),
        ("google", "gemini-2.5-flash", "PRIORITY"),
        ("google", "gemini-2.5-flash", "PROVISIONED_THROUGHPUT"),
        ("mistral", "mistral-large-latest", "priority"),
        ("openrouter", "openai/gpt-4o", "flex"),
    ],
)
def test_a_tier_that_the_list_does_not_price_is_never_the_standard_price(provider, model, tier):
    assert isinstance(cost_of(provider, model), int)
    assert cost_of(provider, model, tier=tier) is NoPrice.TIER


def test_a_tier_has_no_price_for_calls_of_before_it_had_one():
    before = datetime(2026, 10, 1, tzinfo=UTC)

    assert cost_of("openai", "gpt-4.1", tier="priority", at=before) is NoPrice.TIER


def test_a_tier_that_is_priced_in_part_has_no_price_for_the_rest():
    cached = TokenUsage(uncached_input=10, cache_read=1000, output=10)

    assert isinstance(cost_of("openai", "gpt-4.1", cached), int)
    assert cost_of("openai", "gpt-4.1", cached, tier="batch") is NoPrice.TIER


def test_a_tier_with_one_price_has_none_for_requests_so_long_that_they_cost_more():
    short, long = (TokenUsage(uncached_input=sent, output=10) for sent in (272_000, 272_001))

    assert isinstance(cost_of("openai", "gpt-5.4", long), int)
    assert isinstance(cost_of("openai", "gpt-5.4", short, tier="priority"), int)
    assert cost_of("openai", "gpt-5.4", long, tier="priority") is NoPrice.TIER


def test_tokens_of_a_class_that_has_no_price_are_not_listed():
    cached = TokenUsage(uncached_input=10, cache_read=1000, output=10)
    written = TokenUsage(uncached_input=10, cache_write=1000, output=10)

    assert isinstance(cost_of("openai", "gpt-4-turbo"), int)
    assert cost_of("openai", "gpt-4-turbo", cached) is NoPrice.NOT_LISTED
    assert isinstance(cost_of("anthropic", "claude-2"), int)
    assert cost_of("anthropic", "claude-2", written) is NoPrice.NOT_LISTED


MODELS = st.sampled_from(
    [(slug, model.id) for slug, catalog in CATALOG_PROVIDERS.items() for model in LISTS[catalog].models[:60]]
)
COUNTS = st.integers(0, 10**12)
USAGES = st.builds(
    lambda sent, read, write, hour, output, reasoning: TokenUsage(
        sent, read, write, hour, output + reasoning, reasoning
    ),
    *[COUNTS] * 6,
)
TIERS = st.sampled_from(["", "default", "priority", "flex", "batch", "fast", "scale"]) | st.text(max_size=10)
TIMES = st.integers(0, 1700).map(lambda days: datetime(2023, 1, 1, 5, tzinfo=UTC) + timedelta(days=days))


@unhurried(deadline=None)
@given(MODELS, USAGES, TIERS, TIMES)
def test_whatever_is_asked_the_list_gives_a_whole_price_or_a_reason(model, usage, tier, at):
    found = cost_of(model[0], model[1], usage, tier=tier, at=at)

    assert isinstance(found, NoPrice) or found >= 0


@unhurried(deadline=None)
@given(MODELS, USAGES, TIERS)
def test_more_tokens_never_cost_less(model, usage, tier):
    more = TokenUsage(
        usage.uncached_input + 1, usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.output + 1
    )
    found, dearer = (cost_of(model[0], model[1], tokens, tier=tier) for tokens in (usage, more))

    if isinstance(found, int) and isinstance(dearer, int):
        assert dearer >= found
