"""What a call costs that failed, or that went to a server of one's own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from gateway.sweeping import sweep_lost_calls
from tests.usage.conftest import NOON, TODAY, event, record_call
from usage.cost_panel import cost_summary
from usage.models import UsageEvent
from usage.tokens import Doubt, Report, TokenUsage

pytestmark = pytest.mark.django_db

Status = UsageEvent.Status
Source = UsageEvent.PriceSource
NoPrice = UsageEvent.NoPrice
USAGE = TokenUsage(uncached_input=1000, output=100)
LATER = NOON + timedelta(seconds=2)


def failed(call, **how):
    return record_call(call=call, status=Status.FAILED, now=LATER, **how)


@pytest.mark.parametrize("cost", [0, 1_000_000])
@pytest.mark.parametrize("http_status", [200, 402, 502, None])
def test_a_failed_call_costs_what_the_provider_says_it_cost_and_zero_is_a_cost(admit, cost, http_status):
    recorded = failed(
        admit(provider="openrouter", model="openai/gpt-4o"),
        report=Report(usage=USAGE, cost_nanousd=cost),
        http_status=http_status,
    )

    assert (recorded.cost_nanousd, recorded.price_source, recorded.no_price) == (cost, Source.PROVIDER, "")


def test_an_answer_that_broke_off_is_billed_by_its_tokens(admit):
    recorded = failed(admit(), report=Report(usage=USAGE), http_status=200)

    # gpt-4o: 2.50 USD per million in, 10 out
    assert (recorded.cost_nanousd, recorded.price_source) == (3_500_000, Source.CATALOG)


@pytest.mark.parametrize("http_status", [400, 429, 500, 503])
def test_an_error_status_is_not_billed_by_the_list_whatever_tokens_it_names(admit, http_status):
    recorded = failed(admit(), report=Report(usage=USAGE), http_status=http_status)

    assert (recorded.cost_nanousd, recorded.no_price) == (None, NoPrice.NOT_BILLED)
    assert recorded.total_tokens == 1100


@pytest.mark.parametrize("report", [Report(), Report(usage=USAGE), Report(usage=USAGE, doubt=Doubt.UNCLEAR_TOKENS)])
def test_what_gave_up_waiting_may_have_been_billed(admit, report):
    recorded = failed(admit(), report=report, http_status=504, may_have_run=True)

    assert (recorded.cost_nanousd, recorded.no_price) == (None, NoPrice.NO_ANSWER)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"http_status": 200, "may_have_run": True}, NoPrice.NO_ANSWER),
        ({"http_status": 200, "report": Report(usage=TokenUsage())}, NoPrice.NOTHING_USED),
        ({"http_status": 200, "report": Report(usage=USAGE, doubt=Doubt.EXTRAS)}, NoPrice.EXTRAS),
        ({"http_status": 200, "report": Report(usage=USAGE, service_tier="scale")}, NoPrice.TIER),
        ({"http_status": 502, "report": Report(doubt=Doubt.PART_OF_COST)}, NoPrice.PART_OF_COST),
        ({"http_status": 401}, NoPrice.NOT_BILLED),
        ({}, NoPrice.NOT_BILLED),
    ],
)
def test_a_failed_call_without_a_cost_says_why(admit, how, reason):
    recorded = failed(admit(), **how)

    assert (recorded.cost_nanousd, recorded.no_price) == (None, reason)


def test_tokens_that_are_known_in_part_are_not_shown_as_reported(admit):
    doubtful = Report(usage=USAGE, doubt=Doubt.UNCLEAR_TOKENS)

    recorded = record_call(call=admit(), status=Status.ANSWERED, now=LATER, report=doubtful)

    assert (recorded.total_tokens, recorded.usage_reported, recorded.no_price) == (
        1100,
        False,
        NoPrice.UNCLEAR_TOKENS,
    )


# Servers of one's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (Status.ANSWERED, {"report": Report(usage=USAGE)}),
        (Status.ANSWERED, {"report": Report()}),
        (Status.ANSWERED, {"report": Report(usage=USAGE, doubt=Doubt.UNCLEAR_TOKENS)}),
        (Status.ANSWERED, {"report": Report(usage=USAGE, cost_nanousd=5, doubt=Doubt.PART_OF_COST)}),
        (Status.ANSWERED, {"report": Report(usage=USAGE, service_tier="scale")}),
        (Status.FAILED, {"http_status": 500}),
        (Status.FAILED, {"may_have_run": True}),
        (Status.FAILED, {"http_status": 504, "may_have_run": True, "report": Report(usage=USAGE)}),
    ],
)
@pytest.mark.parametrize(("provider", "model"), [("ollama", "llama3"), ("openai_compatible", "gpt-4o")])
def test_a_call_to_a_server_of_ones_own_costs_nothing_by_the_token_whatever_becomes_of_it(
    admit, acme, provider, model, status, how
):
    call = admit(provider=provider, model=model, no_token_charges=True)

    recorded = record_call(call=call, status=status, now=LATER, **how)

    assert (recorded.cost_nanousd, recorded.price_source, recorded.no_price) == (0, Source.OWN_SERVER, "")
    assert recorded.has_no_token_charges
    assert recorded.get_price_source_display() == "No token charges"
    assert cost_summary(organization=acme, today=TODAY, show_managed_usd=False).week.unpriced_calls == 0


def test_a_lost_call_to_a_server_of_ones_own_costs_nothing_either(admit):
    admit(provider="ollama", no_token_charges=True, deadline_at=NOON)

    sweep_lost_calls(now=LATER)

    lost = UsageEvent.objects.get()
    assert (lost.status, lost.cost_nanousd, lost.price_source) == (Status.LOST, 0, Source.OWN_SERVER)


def test_the_same_server_without_its_owners_word_is_unpriced(admit):
    recorded = record_call(
        call=admit(provider="openai_compatible"), status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE)
    )

    assert (recorded.cost_nanousd, recorded.no_price) == (None, NoPrice.NOT_LISTED)
    assert not recorded.has_no_token_charges


@pytest.mark.parametrize("cost", [1, None])
def test_the_database_refuses_a_cost_on_a_server_of_ones_own(acme, cost):
    with pytest.raises(IntegrityError), transaction.atomic():
        event(acme, cost_nanousd=cost, price_source=Source.OWN_SERVER)
