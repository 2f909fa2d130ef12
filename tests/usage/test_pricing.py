from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from usage.models import UsageEvent
from usage.price_list import CATALOG_VERSION
from usage.pricing import MOST_NANOUSD, Price, price, unpriced
from usage.tokens import Doubt, Report, TokenUsage

CASSETTES = Path(settings.BASE_DIR).parent / "shared" / "data" / "cassettes" / "expected.json"
AUGUST = datetime(2026, 8, 1, 12, tzinfo=UTC)
SOME = TokenUsage(uncached_input=1000, output=100)
MILLION = TokenUsage(uncached_input=10**6, output=10**6)
Source = UsageEvent.PriceSource
NoPrice = UsageEvent.NoPrice


def cost_of(provider, model, usage=SOME, *, served="", at=AUGUST, reported=None, tier="", doubt=None):
    report = Report(usage=usage, cost_nanousd=reported, served_model=served, service_tier=tier, doubt=doubt)
    return price(provider=provider, model=model, report=report, at=at)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "expected"),
    [
        # gpt-4o, USD per million: 2.50 in, 1.25 from cache, 10 out
        ("openai", "gpt-4o", TokenUsage(uncached_input=600, cache_read=400, output=100), 3_000_000),
        ("openai", "gpt-4o", TokenUsage(uncached_input=600, output=100, reasoning=90), 2_500_000),
        # claude-sonnet-4-5: 3 in, 0.30 from cache, 3.75 into it, 6 for an hour, 15 out
        (
            "anthropic",
            "claude-sonnet-4-5",
            TokenUsage(uncached_input=300, cache_read=500, cache_write=100, cache_write_1h=100, output=10),
            2_175_000,
        ),
        # gemini-2.5-flash: 0.30 in, 2.50 out
        ("google", "gemini-2.5-flash", SOME, 550_000),
        # over 200k tokens the whole request at the higher rate: 6 in, 22.50 out
        ("anthropic", "claude-sonnet-4-5", TokenUsage(uncached_input=250_000, output=100), 1_502_250_000),
    ],
)
def test_list_price_of_each_class_of_tokens(provider, model, usage, expected):
    found = cost_of(provider, model, usage)

    assert (found.cost_nanousd, found.source, found.version) == (expected, Source.CATALOG, CATALOG_VERSION)


def test_what_no_call_can_cost_is_no_price_but_tokens_that_cannot_be():
    most = TokenUsage(output=MOST_NANOUSD // 10_000)  # gpt-4o: 10 USD for a million of them

    assert cost_of("openai", "gpt-4o", most).cost_nanousd == MOST_NANOUSD
    assert cost_of("openai", "gpt-4o", TokenUsage(output=most.output + 1)) == unpriced(NoPrice.UNCLEAR_TOKENS)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2025, 5, 15, tzinfo=UTC), 50 * 10**9),
        (datetime(2025, 7, 15, tzinfo=UTC), 10 * 10**9),
    ],
)
def test_the_price_is_that_of_the_calls_own_time(at, expected):
    assert cost_of("openai", "o3", MILLION, at=at).cost_nanousd == expected


def test_what_the_provider_reports_wins():
    unheard_of = price(provider="unheard of", model="", report=Report(cost_nanousd=1234), at=AUGUST)

    assert unheard_of == Price(1234, Source.PROVIDER)
    assert cost_of("openrouter", "openai/gpt-4o", reported=1234) == replace(unheard_of, input_nanousd=881)
    assert cost_of("openrouter", "openai/gpt-4o", reported=0).cost_nanousd == 0
    assert cost_of("openrouter", "openai/gpt-4o", reported=1234).source == Source.PROVIDER


@pytest.mark.parametrize("nonsense", [-1, MOST_NANOUSD + 1])
def test_an_impossible_report_is_not_believed(nonsense):
    assert cost_of("openrouter", "openai/gpt-4o", reported=nonsense).source == Source.CATALOG


@pytest.mark.parametrize(
    ("provider", "model", "bare"),
    [
        ("openai", "openai/gpt-4o", "gpt-4o"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("anthropic", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
    ],
)
def test_a_prefix_names_the_same_model(provider, model, bare):
    assert cost_of(provider, model) == cost_of(provider, bare)
    assert cost_of(provider, model).cost_nanousd


def test_openrouter_ids_are_its_own():
    assert cost_of("openrouter", "anthropic/claude-sonnet-4.5").cost_nanousd == 4_500_000


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("openai", "claude-sonnet-4-5"),
        ("ollama", "llama3.3"),
        ("no-such-provider", "gpt-4o"),
        ("openrouter", "openrouter/auto"),
        ("openrouter", "openai/gpt-4o:online"),
        ("openrouter", "openai/gpt-4o:nitro"),
        ("openai", "whisper-1"),  # on the list without token prices
        ("openai", ""),
    ],
)
def test_what_has_no_known_price_is_unpriced_and_not_zero(provider, model):
    assert cost_of(provider, model) == unpriced(NoPrice.NOT_LISTED) == Price(None, Source.NONE, "", NoPrice.NOT_LISTED)


@pytest.mark.parametrize(("usage", "reason"), [(None, NoPrice.NOT_REPORTED), (TokenUsage(), NoPrice.NOTHING_USED)])
def test_no_reported_tokens_have_no_price(usage, reason):
    assert cost_of("openai", "gpt-4o", usage) == unpriced(reason)


@pytest.mark.parametrize("doubt", Doubt)
@pytest.mark.parametrize("provider", ["openai", "openrouter", "anthropic"])
def test_what_an_answer_leaves_open_is_unpriced_with_that_as_the_reason(provider, doubt):
    assert cost_of(provider, "gpt-4o", doubt=doubt) == unpriced(NoPrice(doubt))


def test_a_cost_that_the_provider_reports_whole_stands_whatever_the_tokens_leave_open():
    assert cost_of("openrouter", "a/b", reported=7, doubt=Doubt.UNCLEAR_TOKENS) == Price(7, Source.PROVIDER)
    assert cost_of("openrouter", "a/b", None, reported=7, doubt=Doubt.EXTRAS) == Price(7, Source.PROVIDER)
    assert cost_of("openrouter", "a/b", reported=7, doubt=Doubt.PART_OF_COST) == unpriced(NoPrice.PART_OF_COST)


def test_every_reason_is_a_sentence_that_people_can_read():
    assert {str(doubt) for doubt in Doubt} <= set(NoPrice.values)
    for reason in NoPrice:
        assert reason.label[0].isupper()
        assert len(reason.label.split()) >= 5


def test_a_free_variant_costs_nothing():
    assert cost_of("openrouter", "deepseek/deepseek-r1:free").cost_nanousd == 0


def test_the_served_model_decides_and_a_snapshot_too_new_has_the_price_of_what_was_asked():
    mini = cost_of("openai", "gpt-4o-mini")

    assert cost_of("openai", "gpt-4o", served="gpt-4o-mini-2024-07-18") == mini
    assert cost_of("openai", "gpt-4o-mini", served="gpt-4o-mini-2099-01-01") == mini
    assert cost_of("openai", "gpt-4o", served="something-else") == unpriced(NoPrice.NOT_LISTED)


@pytest.mark.skipif(not CASSETTES.exists(), reason="needs the recorded answers in ../shared/data/cassettes")
def test_every_recorded_answer_has_a_price_or_none_and_never_less_than_zero():
    answers = [answer for answers in json.loads(CASSETTES.read_text()).values() for answer in answers]
    costs = []
    for answer in answers:
        if reported := answer["usage"]:
            usage = TokenUsage.from_inclusive(
                reported.get("input") or 0,
                reported.get("cached_input") or 0,
                reported.get("cache_write") or 0,
                reported.get("output") or 0,
                reported.get("reasoning") or 0,
            )
            model = answer["request_model"] or answer["model"] or ""
            costs.append(cost_of(answer["provider"], model, usage, served=answer["model"] or "").cost_nanousd)

    known = [cost for cost in costs if cost is not None]
    assert all(cost >= 0 for cost in known)
    assert len(known) >= len(costs) / 3
