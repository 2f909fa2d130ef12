"""A rate is the price list's own price, for every model of it, and bounds what a call can cost."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import genai_prices
import pytest
from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from usage.models import UsageEvent
from usage.price_list import CATALOG_PROVIDERS, LISTED_AS, list_price, rates_of
from usage.rates import CLASSES, EXTRAS, INPUT, PER_NANOUSD, SCALE, Rate, Step, rounded
from usage.tokens import TokenUsage

NoPrice = UsageEvent.NoPrice
TODAY = date(2026, 11, 20)
MODELS = [
    (slug, model)
    for slug, catalog in CATALOG_PROVIDERS.items()
    for provider in providers
    if provider.id == catalog
    for model in provider.models
]
EVERYTHING = TokenUsage(
    uncached_input=50_001,
    cache_read=7_003,
    cache_write=307,
    cache_write_1h=101,
    output=9_001,
    reasoning=1_009,
    audio_input=211,
    image_input=17,
    audio_cache_read=13,
    audio_output=29,
    image_output=31,
)
ONES = [
    TokenUsage(uncached_input=1_000_003),
    TokenUsage(uncached_input=3, cache_read=1_000_003),
    TokenUsage(cache_write=70_001),
    TokenUsage(cache_write_1h=70_001),
    TokenUsage(output=70_001),
    TokenUsage(output=70_001, reasoning=70_001),
    TokenUsage(uncached_input=70_001, audio_input=70_001),
    TokenUsage(cache_read=70_001, audio_cache_read=70_001),
    TokenUsage(uncached_input=70_001, image_input=70_001),
    TokenUsage(output=70_001, audio_output=70_001),
    TokenUsage(output=70_001, image_output=70_001),
]


def by_the_list(slug: str, model: str, usage: TokenUsage, day: date) -> int:
    found = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_total,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write + usage.cache_write_1h,
            cache_write_1h_tokens=usage.cache_write_1h,
            output_tokens=usage.output,
            output_reasoning_tokens=usage.reasoning,
            input_audio_tokens=usage.audio_input + usage.audio_cache_read,
            cache_audio_read_tokens=usage.audio_cache_read,
            input_image_tokens=usage.image_input,
            output_audio_tokens=usage.audio_output,
            output_image_tokens=usage.image_output,
        ),
        model,
        provider_id=CATALOG_PROVIDERS[slug],
        genai_request_timestamp=datetime.combine(day, time(13), UTC),
    )
    return int((found.total_price * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def borders(model: ModelInfo) -> set[int]:
    prices = [each.prices for each in model.prices] if isinstance(model.prices, list) else [model.prices]
    return {
        tier.start
        for price in prices
        for value in vars(price).values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }


def days(model: ModelInfo) -> set[date]:
    if isinstance(model.prices, ModelPrice):
        return {TODAY}
    starts = {each.constraint.start_date for each in model.prices if each.constraint}  # type: ignore[union-attr]
    return {TODAY, *starts, *(start - timedelta(days=1) for start in starts)}


def test_every_model_of_the_list_costs_what_the_list_says():
    priced = 0
    with localcontext(Context(prec=60)):
        for slug, model in MODELS:
            lengths = {1, *(start + more for start in borders(model) for more in (0, 1))}
            usages = [EVERYTHING, *ONES, *(TokenUsage(uncached_input=sent, output=7) for sent in lengths)]
            for day in days(model):
                for usage in usages:
                    found = list_price(
                        provider=slug,
                        model=model.id,
                        served_model="",
                        usage=usage,
                        tier="",
                        at=datetime.combine(day, time(13), UTC),
                    )
                    if isinstance(found, int):
                        priced += 1
                        assert found == by_the_list(slug, model.id, usage, day), (slug, model.id, usage, day)
    assert priced > 4 * len(MODELS)


def test_every_class_of_tokens_is_priced_for_some_model():
    priced = set()
    for slug, model in MODELS:
        for rate in rates_of(slug, model.id, "", "", TODAY):
            if isinstance(rate, Rate):
                priced |= {name for name, price in zip(CLASSES, rate.steps[0].prices, strict=True) if price}

    assert priced == set(CLASSES)


def test_the_list_has_no_price_that_only_an_hour_or_the_number_of_calls_decides():
    """Else a rate could not hold for a day, or the price of a call not follow from its tokens."""
    for _, model in MODELS:
        several = model.prices if isinstance(model.prices, list) else []
        conditions = [each for each in (*several, *(model.price_variants or ())) if each.constraint]
        assert all(isinstance(each.constraint, StartDateConstraint) for each in conditions), model.id
        prices = [model.prices] if isinstance(model.prices, ModelPrice) else [each.prices for each in several]
        assert not any(vars(price).get("requests_kcount") for price in prices), model.id
        assert isinstance(model.prices, ModelPrice) or all(isinstance(each, ConditionalPrice) for each in several)


def test_tokens_that_are_no_text_have_no_price_where_the_list_has_none():
    spoken, at = TokenUsage(uncached_input=10, audio_input=10), datetime(2026, 11, 20, tzinfo=UTC)

    def cost(provider: str, model: str) -> int | NoPrice:
        return list_price(provider=provider, model=model, served_model="", usage=spoken, tier="", at=at)

    assert cost("openai", "gpt-4o") is NoPrice.EXTRAS
    assert cost("google", "gemini-2.5-flash") == 10_000  # 1 USD per million


# The rate itself ------------------------------------------------------------------------------------------------


def rate(*steps: tuple[int, dict[str, int]]) -> Rate:
    """Prices in whole nano-USD a token."""
    return Rate(
        tuple(
            Step(
                above,
                tuple(PER_NANOUSD * prices[name] if name in prices else None for name in CLASSES),
                tuple(None if name in prices else NoPrice.NOT_LISTED for name in CLASSES),
            )
            for above, prices in steps
        )
    )


ALL = {name: at for at, name in enumerate(CLASSES, start=1)}
COUNTS = st.integers(0, 10**9)
USAGES = st.builds(
    lambda a, b, c, d, e, f, g, h, i, j, k: TokenUsage(
        uncached_input=a + b + c,
        audio_input=b,
        image_input=c,
        cache_read=d + e,
        audio_cache_read=e,
        cache_write=f,
        cache_write_1h=g,
        output=h + i + j + k,
        reasoning=i,
        audio_output=j,
        image_output=k,
    ),
    *[COUNTS] * 11,
)


@given(USAGES)
def test_each_class_has_its_own_price_and_none_counts_twice(usage):
    counts = {
        "input": usage.uncached_input - usage.audio_input - usage.image_input,
        "cache_read": usage.cache_read - usage.audio_cache_read,
        "cache_write": usage.cache_write,
        "cache_write_1h": usage.cache_write_1h,
        "input_audio": usage.audio_input,
        "cache_read_audio": usage.audio_cache_read,
        "input_image": usage.image_input,
        "output": usage.output - usage.reasoning - usage.audio_output - usage.image_output,
        "reasoning": usage.reasoning,
        "output_audio": usage.audio_output,
        "output_image": usage.image_output,
    }

    assert sum(counts.values()) == usage.total
    assert rate((0, ALL)).cost(usage) == sum(ALL[name] * count for name, count in counts.items())


def test_a_long_request_costs_more_for_all_of_its_tokens():
    stepped = rate((0, {**ALL, "input": 1}), (200, {**ALL, "input": 2}), (1000, {**ALL, "input": 3}))

    assert [stepped.cost(TokenUsage(uncached_input=sent)) for sent in (200, 201, 1000, 1001)] == [200, 402, 2000, 3003]
    assert stepped.cost(TokenUsage(uncached_input=150, cache_write=51)) == 150 * 2 + 51 * ALL["cache_write"]


@pytest.mark.parametrize(("halves", "expected"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_half_a_nano_usd_is_rounded_to_the_even_one(halves, expected):
    assert rounded(halves * PER_NANOUSD // 2) == expected
    assert rounded(halves * PER_NANOUSD // 2 + 1) == halves // 2 + 1


@unhurried(deadline=None)
@given(st.sampled_from(MODELS), USAGES, st.sampled_from(["", "priority", "batch", "fast"]))
def test_no_call_costs_more_than_its_bound(model, usage, tier):
    slug, entry = model
    for found in rates_of(slug, entry.id, "", tier, TODAY):
        if isinstance(found, Rate):
            cost = found.cost(usage)
            most = found.most(input_tokens=usage.input_total, output_tokens=usage.output)
            assert most is None or isinstance(cost, NoPrice) or cost <= most


def test_a_bound_counts_with_the_dearest_class_and_the_dearest_step():
    stepped = rate((0, {"input": 9, "output": 1}), (100, {"input": 2, "cache_write": 5, "output": 4, "reasoning": 7}))

    assert stepped.most(input_tokens=100, output_tokens=10) == 910
    assert stepped.most(input_tokens=101, output_tokens=10) == max(101 * 5 + 70, 101 * 9 + 10)
    assert Rate((Step(0, (1,) * len(CLASSES), (None,) * len(CLASSES)),)).most(input_tokens=1, output_tokens=0) == 1


def test_what_has_no_price_for_its_text_has_no_bound():
    assert rate((0, {"input": 9})).most(input_tokens=1, output_tokens=1) is None
    assert rate((0, {"input": 9})).most(input_tokens=1, output_tokens=0) == 9  # embeddings have no output to be priced
    assert rate((0, {"input": 9, "output": 1}), (10, {"input": 9})).most(input_tokens=10, output_tokens=1) == 91
    assert rate((0, {"input": 9, "output": 1}), (10, {"input": 9})).most(input_tokens=11, output_tokens=1) is None


def test_classes_are_named_once():
    assert set(LISTED_AS) == set(CLASSES) > EXTRAS
    assert len(CLASSES) == len(set(CLASSES))
    assert set(INPUT) < set(CLASSES)
    assert SCALE // PER_NANOUSD == 1000  # a nano-USD a token is 1,000 times a USD a million tokens
