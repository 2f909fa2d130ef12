"""
The FOCUS file, held against the data model of focus-data-toolkit (FOCUS 1.4, Cost and Usage), and against the books:
every row is price times quantity to the last digit, and all rows come to what the events say.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext

import pytest
from django.db.models import Sum
from focus_data_toolkit.model import column_spec, dataset_columns, lint_focus_1_4_structure

from tests.usage.conftest import KEY, event
from tests.usage.exports.reading import read
from usage.exports import focus
from usage.exports.cells import BEGINS_A_FORMULA
from usage.exports.focus import COLUMNS
from usage.exports.periods import Days, Month
from usage.exports.prices import Prices
from usage.models import Mode, UsageEvent
from usage.price_list import list_price
from usage.tokens import TokenUsage

pytestmark = pytest.mark.django_db
DATASET = "Cost and Usage"
NOVEMBER = Month(date(2026, 11, 1))
EXACTLY = Context(prec=200)
COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
HALVES = ("openrouter", "cohere/command-r7b-12-2024")  # at 37.5 nano-dollars a token sent
PRICED = ("list price", "no token charges")


def priced_event(organization, *, tokens: TokenUsage, model="gpt-4o", provider="openai", **fields) -> UsageEvent:
    at = fields.setdefault("occurred_at", datetime(2026, 11, 21, 9, tzinfo=UTC))
    cost = list_price(provider=provider, model=model, served_model="", usage=tokens, tier="", at=at)
    assert isinstance(cost, int)
    return event(
        organization,
        model=model,
        provider=provider,
        cost_nanousd=cost,
        uncached_input_tokens=tokens.uncached_input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.output,
        reasoning_tokens=tokens.reasoning,
        price_version="genai-prices",
        **fields,
    )


def of_every_kind(organization) -> None:
    """Calls of all that a bill can hold."""
    tokens = TokenUsage(
        uncached_input=1203, cache_read=301, cache_write=77, cache_write_1h=9, output=517, reasoning=201
    )
    priced_event(organization, tokens=tokens, model="claude-sonnet-4-5", provider="anthropic")
    priced_event(organization, tokens=TokenUsage(uncached_input=7, output=1), labels={"team": "sales"})
    priced_event(
        organization, tokens=TokenUsage(uncached_input=250_001, output=3), model="gemini-2.5-pro", provider="google"
    )
    reported = {"provider": "openrouter", "model": "openai/gpt-4o", "price_source": "provider"}
    event(organization, cost_nanousd=1_234_567, uncached_input_tokens=900, output_tokens=44, **reported)
    event(organization, cost_nanousd=55, **reported)
    event(organization, cost_nanousd=None, uncached_input_tokens=33, output_tokens=2, model="unheard-of")
    event(organization, cost_nanousd=None)
    event(organization, cost_nanousd=None, status="lost", no_price="no_answer")
    event(organization, cost_nanousd=None, status="failed", no_price="not_billed", error_kind="rate_limited")
    event(organization, cost_nanousd=0, price_source="own_server", provider="ollama", model="llama", output_tokens=5)
    event(organization, cost_nanousd=0, price_source="own_server", provider="ollama", model="llama")
    event(organization, cost_nanousd=-7, revision=1, status="corrected", counts_run=False, counts_priced_run=False)
    event(organization, cost_nanousd=999_999_999_999, mode=Mode.MANAGED, uncached_input_tokens=10)
    # Of a price that no list has: the list has changed since, or sound was billed as well.
    event(organization, cost_nanousd=31_337, uncached_input_tokens=10, output_tokens=1)


def cost_of(rows) -> Decimal:
    with localcontext(EXACTLY):
        return sum((Decimal(row["BilledCost"]) for row in rows), Decimal(0))


def in_the_books(organization, **of) -> Decimal:
    events = UsageEvent.objects.filter(organization=organization, mode=Mode.BYOK, **of)
    return Decimal(events.aggregate(sum=Sum("cost_nanousd"))["sum"] or 0).scaleb(-9)


def test_the_file_is_well_formed_by_the_data_model(acme):
    of_every_kind(acme)

    rows = read("focus", acme, NOVEMBER)

    assert tuple(rows[0]) == COLUMNS
    mandatory = {
        name for name in dataset_columns(DATASET) if column_spec(DATASET, name)["feature_level"] == "Mandatory"
    }
    assert len(mandatory) == 21
    assert mandatory <= set(COLUMNS)
    report = lint_focus_1_4_structure(DATASET, rows)
    assert report.ok, report.messages()


def test_without_a_price_no_price_is_invented(acme):
    """Who prices by units has to name a price; where nobody knows one, that is all that is missing."""
    of_every_kind(acme)
    rows = read("focus", acme, NOVEMBER)

    report = lint_focus_1_4_structure(DATASET, rows, supported_conditions=["SupportsUnitPricing"])

    assert {(each.column, each.rule) for each in report.violations} == {
        ("SkuPriceId", "required_for_usage_or_purchase")
    }
    missing = {each.row_index for each in report.violations}
    assert missing == {
        at
        for at, row in enumerate(rows)
        if row["ChargeCategory"] == "Usage" and (row["x_CostBasis"] not in PRICED or not row["SkuMeter"])
    }
    for row in rows:
        if not row["SkuPriceId"]:
            empty = ("ListUnitPrice", "ContractedUnitPrice", "PricingQuantity", "PricingUnit", "ConsumedQuantity")
            assert [row[name] for name in empty] == [""] * 5


def test_every_price_times_its_quantity_is_its_cost_to_the_last_digit(acme):
    of_every_kind(acme)

    rows = [row for row in read("focus", acme, NOVEMBER) if row["ListUnitPrice"]]

    assert {row["SkuMeter"] for row in rows} == set(focus.METER_NAMES.values())
    for row in rows:
        with localcontext(EXACTLY):
            assert Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ListCost"])
        assert row["PricingQuantity"] == row["ConsumedQuantity"] == row["x_ConsumedTokens"]
        assert len({row[name] for name in COSTS}) == 1


def test_the_rows_come_to_the_books_to_the_nano_dollar(acme, globex):
    of_every_kind(acme)
    of_every_kind(globex)

    rows = read("focus", acme, NOVEMBER)

    assert cost_of(rows) == in_the_books(acme)
    by_model = defaultdict(list)
    for row in rows:
        by_model[row["x_Model"]].append(row)
    assert len(by_model) == 6
    for model, its_rows in by_model.items():
        assert cost_of(its_rows) == in_the_books(acme, model=model), model


def test_any_calls_come_to_the_books(acme):
    chance = random.Random(4)
    models = [
        HALVES,
        ("openai", "gpt-4o-mini"),
        ("openai", "o4-mini"),
        ("google", "gemini-2.5-flash"),
        ("openai", "gpt-4o"),
    ]
    for number in range(150):
        provider, model = chance.choice(models)
        output = chance.randrange(1, 5000)
        tokens = TokenUsage(
            uncached_input=chance.randrange(300_000),
            cache_read=chance.choice([0, chance.randrange(90_000)]) if provider != HALVES[0] else 0,
            output=output,
            reasoning=chance.choice([0, chance.randrange(output)]),
        )
        at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(720))
        priced_event(acme, tokens=tokens, model=model, provider=provider, occurred_at=at, iteration=number + 1)

    rows = read("focus", acme, NOVEMBER)

    assert cost_of(rows) == in_the_books(acme)
    assert {row["x_CostBasis"] for row in rows} == {"list price", "rounding of single calls"}
    for row in rows:
        if row["ListUnitPrice"]:
            with localcontext(EXACTLY):
                assert Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ListCost"])
    assert lint_focus_1_4_structure(DATASET, rows).ok


def test_the_rounding_of_single_calls_is_a_row_of_its_own(acme, monkeypatch):
    """Three calls of half a nano-dollar each, which the books round to nothing."""
    monkeypatch.setattr(Prices, "of", lambda self, call: (5 * 10**14, 0, 0, 0, 0, 0))
    for _ in range(3):
        event(acme, cost_nanousd=0, uncached_input_tokens=1)

    token, rounding = read("focus", acme, NOVEMBER)

    assert (token["ListUnitPrice"], token["PricingQuantity"], token["ListCost"]) == (
        "0.0000000005",
        "3",
        "0.0000000015",
    )
    assert (rounding["ChargeCategory"], rounding["ListCost"], rounding["x_CostBasis"]) == (
        "Adjustment",
        "-0.0000000015",
        "rounding of single calls",
    )
    assert rounding["x_Calls"] == "3"


def test_a_cost_that_the_provider_reported_is_not_split(acme):
    reported = {"provider": "openrouter", "model": "openai/gpt-4o", "price_source": "provider"}
    event(acme, cost_nanousd=1_234_567, uncached_input_tokens=900, output_tokens=44, **reported)

    rows = read("focus", acme, NOVEMBER)

    assert [
        (row["SkuMeter"], row["x_ConsumedTokens"], row["BilledCost"], row["ListUnitPrice"], row["x_CostBasis"])
        for row in rows
    ] == [
        ("Input tokens", "900", "0", "", "in the row of all tokens together"),
        ("Output tokens", "44", "0", "", "in the row of all tokens together"),
        ("", "", "0.001234567", "", "of all tokens together"),
    ]
    assert {row["x_PriceSource"] for row in rows} == {"provider"}


def test_unpriced_calls_have_tokens_and_no_price(acme):
    event(acme, cost_nanousd=None, uncached_input_tokens=33, model="unheard-of")
    event(acme, cost_nanousd=None, model="unheard-of", status="lost", no_price="no_answer")

    rows = read("focus", acme, NOVEMBER)

    assert [
        (row["SkuMeter"], row["x_ConsumedTokens"], row["x_Calls"], row["x_CostBasis"], row["x_WhyNoPrice"])
        for row in rows
    ] == [
        ("Input tokens", "33", "1", "unpriced", "not_listed"),
        ("", "", "1", "unpriced", "no_answer"),
        ("", "", "1", "unpriced", "not_listed"),
    ]


def test_a_line_is_a_day_of_a_model_with_a_key_for_an_action(acme):
    tokens = TokenUsage(uncached_input=10)
    for hour in (1, 23):
        priced_event(acme, tokens=tokens, occurred_at=datetime(2026, 11, 2, hour, tzinfo=UTC))
    priced_event(acme, tokens=tokens, occurred_at=datetime(2026, 11, 3, tzinfo=UTC))
    priced_event(acme, tokens=tokens, action="helper", labels={"team": "sales"})

    rows = read("focus", acme, NOVEMBER)

    assert [(row["ChargePeriodStart"], row["x_Action"], row["x_Calls"], row["PricingQuantity"]) for row in rows] == [
        ("2026-11-02T00:00:00Z", "candidate_check", "2", "20"),
        ("2026-11-03T00:00:00Z", "candidate_check", "1", "10"),
        ("2026-11-21T00:00:00Z", "helper", "1", "10"),
    ]
    assert [json.loads(row["Tags"]) for row in rows[1:]] == [
        {"keyfare/action": "candidate_check"},
        {"keyfare/action": "helper", "team": "sales"},
    ]
    assert {(row["SubAccountId"], row["SubAccountName"]) for row in rows} == {(str(KEY), "Default")}
    assert (rows[0]["BillingPeriodStart"], rows[0]["BillingPeriodEnd"]) == (
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    )


def test_days_of_two_months_have_two_billing_periods(acme):
    for day in (date(2026, 10, 31), date(2026, 11, 1)):
        event(acme, day=day, cost_nanousd=7, price_source="provider")

    rows = read("focus", acme, Days(date(2026, 10, 31), date(2026, 11, 1)))

    assert [row["BillingPeriodStart"] for row in rows] == ["2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"]
    assert {row["ChargeClass"] for row in rows} == {""}


def test_many_labels_take_no_more_memory_than_some(acme, monkeypatch):
    monkeypatch.setattr(focus, "MOST_LABELS_A_DAY", 2)
    for number in range(5):
        event(acme, cost_nanousd=10, price_source="provider", labels={"n": str(number)})

    rows = read("focus", acme, NOVEMBER)

    assert [json.loads(row["Tags"]).get("n") for row in rows] == [None, "0", "1"]
    assert [row["BilledCost"] for row in rows] == ["0.00000003", "0.00000001", "0.00000001"]


@pytest.mark.parametrize("shows", [False, True])
def test_managed_calls_stand_where_the_installation_shows_their_usd(acme, settings, shows):
    settings.KEYFARE_SHOW_MANAGED_USD = shows
    event(acme, mode=Mode.MANAGED, key_label="Operator's", cost_nanousd=987_654_321, price_source="provider")

    rows = read("focus", acme, NOVEMBER)

    assert [row["BilledCost"] for row in rows] == (["0.987654321"] if shows else [])
    assert [(row["SubAccountId"], row["SubAccountName"], row["SubAccountType"]) for row in rows] == [
        ("", "", "")
    ] * shows


def test_no_text_is_taken_for_a_formula(acme):
    event(acme, cost_nanousd=7, price_source="provider", key_label="=1+1", model="@x", action="-a", output_tokens=4)
    event(acme, cost_nanousd=-3, revision=1, status="corrected", counts_run=False, counts_priced_run=False)

    rows = read("focus", acme, NOVEMBER)

    assert rows[0]["SubAccountName"] == "'=1+1"
    for row in rows:
        assert not any(value.startswith(BEGINS_A_FORMULA) for name, value in row.items() if name not in COSTS)
    assert "-0.000000003" in {row["BilledCost"] for row in rows}
