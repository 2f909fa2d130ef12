"""The receipt of a call says all that the books know of it, and nothing that they do not."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from organizations.models import Membership
from tests.plans import analyze, index_conditions
from tests.usage.conftest import KEY, NOON, event, lost_or_failed, record_call, unsaved_event
from usage.metering import record_calls
from usage.models import InFlightCall, Mode, UsageEvent
from usage.price_list import CATALOG_VERSION
from usage.pricing import price
from usage.receipt_reading import read_receipt
from usage.receipts import IN_FLIGHT, KeyNow, Known, Receipt
from usage.tokens import Report, TokenUsage

pytestmark = pytest.mark.django_db
Status, Source, NoPrice = UsageEvent.Status, UsageEvent.PriceSource, UsageEvent.NoPrice
USED = TokenUsage(uncached_input=1200, cache_read=300, output=45)
OF_USED = {"uncached_input_tokens": 1200, "cache_read_tokens": 300, "output_tokens": 45}


class Directory:
    def key(self, key_id: uuid.UUID, at: datetime) -> KeyNow:
        return KeyNow("1234") if key_id == KEY else KeyNow(is_there=False)

    def action(self, slug: str) -> str:
        return slug.title()

    def error(self, kind: str, provider: str) -> str:
        return f"{provider} said {kind}."

    def is_own_model(self, run_id: uuid.UUID) -> bool:
        return False


def receipt(organization, call_id) -> Receipt:
    found = read_receipt(organization=organization, call_id=call_id, directory=Directory())
    assert found is not None
    return found


def listed(usage: TokenUsage = USED) -> int:
    cost = price(provider="openai", model="gpt-4o", report=Report(usage), at=NOON).cost_nanousd
    assert cost is not None
    return cost


def test_a_call_says_by_which_prices_its_tokens_came_to_its_cost(acme):
    call = event(acme, **OF_USED, cost_nanousd=listed(), price_version=CATALOG_VERSION, latency_ms=900)

    found = receipt(acme, call.call_id)

    (attempt,) = found.attempts
    by_class = {each.name: (each.tokens, each.usd_per_million) for each in attempt.tokens}
    assert by_class["input"] == (1200, Decimal("2.5"))
    assert by_class["cache_read"] == (300, Decimal("1.25"))
    assert by_class["output"] == (45, Decimal(10))
    assert sum(each.usd or 0 for each in attempt.tokens) * 10**9 == found.cost_nanousd == listed()
    assert (attempt.tokens_known, attempt.end_ms, found.is_incomplete) == (Known.REPORTED, 900, False)
    assert found.key is not None
    assert (found.key.label, found.key.now.last4) == ("Default", "1234")


def test_prices_that_do_not_come_to_the_cost_are_not_said(acme):
    """The list has changed since, or sound and pictures were among the tokens."""
    call = event(acme, **OF_USED, cost_nanousd=listed() + 1, price_version="genai-prices 0.0.1")

    (attempt,) = receipt(acme, call.call_id).attempts

    assert not attempt.has_unit_prices
    assert attempt.cost is not None
    assert attempt.cost.version == "genai-prices 0.0.1"


def test_what_the_provider_reported_as_a_whole_has_no_unit_prices(acme):
    call = event(acme, **OF_USED, cost_nanousd=listed(), price_source=Source.PROVIDER)

    found = receipt(acme, call.call_id)

    assert found.is_reported
    assert not found.attempts[0].has_unit_prices


def test_every_attempt_leads_to_the_same_receipt(acme):
    first = lost_or_failed(acme, Status.FAILED, error_kind="rate_limited", http_status=429)
    second = event(
        acme,
        **OF_USED,
        run_id=first.run_id,
        attempt=2,
        attempt_of=first.call_id,
        occurred_at=first.occurred_at + timedelta(seconds=1),
        cost_nanousd=listed(),
    )
    event(acme, run_id=first.run_id)  # another call of the run

    found = receipt(acme, first.call_id)

    assert found == receipt(acme, second.call_id)
    assert [attempt.status for attempt in found.attempts] == [Status.FAILED, Status.ANSWERED]
    assert found.attempts[0].reason == "openai said rate_limited."
    assert (found.call_id, found.cost_nanousd, found.is_incomplete) == (first.call_id, listed(), False)


def test_a_correction_adds_to_the_cost(acme):
    call = event(acme, **OF_USED, cost_nanousd=listed())
    event(
        acme,
        call_id=call.call_id,
        status=Status.CORRECTED,
        revision=1,
        cost_nanousd=-1000,
        price_source=Source.PROVIDER,
        usage_reported=True,
        counts_run=False,
        counts_priced_run=False,
    )

    found = receipt(acme, call.call_id)

    assert len(found.attempts) == 1
    assert [correction.nanousd for correction in found.corrections] == [-1000]
    assert found.cost_nanousd == listed() - 1000


def test_a_call_in_flight_is_said_to_be(acme, admit):
    call = admit()

    found = receipt(acme, call.id)

    assert found.is_in_flight
    assert (found.last.status, found.cost_nanousd, found.last.tokens) == (IN_FLIGHT, None, ())


def test_an_attempt_in_flight_stands_behind_those_that_ended(acme, admit):
    first = lost_or_failed(acme, Status.FAILED, error_kind="overloaded")
    second = admit(run_id=first.run_id)
    InFlightCall.objects.filter(pk=second.id).update(attempt=2, attempt_of=first.call_id)

    for call_id in (first.call_id, second.id):
        assert [attempt.status for attempt in receipt(acme, call_id).attempts] == [Status.FAILED, IN_FLIGHT]


def test_a_call_that_ended_after_it_was_counted_as_lost_shows_both(acme, admit):
    call = admit()
    record_call(call=call, status=Status.LOST, now=NOON)
    record_call(call=call, status=Status.ANSWERED, now=NOON, report=Report(USED))

    found = receipt(acme, call.id)

    assert [attempt.status for attempt in found.attempts] == [Status.LOST, Status.ANSWERED]
    assert found.is_incomplete  # the lost one may have been billed as well
    assert found.attempts[0].end_ms is None


@pytest.mark.parametrize(
    ("fields", "known", "tokens"),
    [
        ({"cost_nanousd": None, "no_price": NoPrice.NOT_REPORTED}, Known.NOT_REPORTED, None),
        ({"cost_nanousd": None, "no_price": NoPrice.NO_ANSWER, "status": Status.LOST}, Known.NOT_KNOWN, None),
        ({"cost_nanousd": None, "no_price": NoPrice.NOT_BILLED, "status": Status.FAILED}, Known.NONE, 0),
        ({"output_tokens": 7, "status": Status.CUT_OFF, "are_tokens_estimated": True}, Known.ESTIMATED, 7),
        (
            {"output_tokens": 7, "cost_nanousd": None, "no_price": NoPrice.UNCLEAR_TOKENS, "usage_reported": False},
            Known.PART,
            7,
        ),
    ],
)
def test_what_is_not_known_is_not_said(acme, fields, known, tokens):
    call = event(acme, **fields)

    found = receipt(acme, call.call_id)

    assert (found.last.tokens_known, found.last.total_tokens) == (known, tokens)
    assert found.is_incomplete is (known in (Known.NOT_REPORTED, Known.NOT_KNOWN, Known.PART))


def test_who_asked_is_named_while_they_are_there(acme, bob):
    call = event(acme, token_id=987_654, member_id=bob.pk, labels={"team": "red"}, rule_version=3)

    found = receipt(acme, call.call_id)
    assert (found.token, found.rule_version, found.labels) == (None, 3, {"team": "red"})
    assert found.by_token
    assert found.member is not None
    assert found.member.email == bob.email

    Membership.objects.filter(user=bob).delete()
    assert receipt(acme, call.call_id).member is None


def test_managed_usd_are_the_operators_in_every_part(acme, settings):
    settings.KEYFARE_SHOW_MANAGED_USD = False
    call = event(acme, **OF_USED, mode=Mode.MANAGED, cost_nanousd=listed(), price_version=CATALOG_VERSION)

    found = receipt(acme, call.call_id)
    assert found.key is None
    assert (found.cost_nanousd, found.last.cost, found.last.has_unit_prices) == (None, None, False)
    assert found.last.total_tokens == 1545

    settings.KEYFARE_SHOW_MANAGED_USD = True
    assert receipt(acme, call.call_id).cost_nanousd == listed()


def test_calls_of_others_and_of_nobody_have_no_receipt(acme, globex):
    theirs = event(globex)

    for call_id in (theirs.call_id, uuid.uuid4()):
        assert read_receipt(organization=acme, call_id=call_id, directory=Directory()) is None


def test_recorded_twice_is_one_attempt(acme, admit):
    call = admit()
    record_call(call=call, status=Status.ANSWERED, now=NOON, report=Report(USED))
    record_calls([])

    assert len(receipt(acme, call.id).attempts) == 1


def test_further_attempts_are_found_by_an_index(acme, globex):
    UsageEvent.objects.bulk_create(
        unsaved_event(
            (acme, globex)[number % 2],
            occurred_at=NOON - timedelta(minutes=number),
            attempt_of=uuid.uuid4() if number % 50 == 0 else None,
        )
        for number in range(3000)
    )
    analyze("usage_usageevent")
    call = event(acme)

    with CaptureQueriesContext(connection) as queries:
        receipt(acme, call.call_id)

    (further,) = [
        query["sql"] for query in queries if '"attempt_of" = ' in query["sql"] and "usageevent" in query["sql"]
    ]
    conditions = index_conditions(further)
    sign = "(attempt_of = " if connection.vendor == "postgresql" else "attempt_of=?"
    assert any("usage_event_by_first_attempt" in each and sign in each for each in conditions), conditions
    for query in queries:
        if '"usage_usageevent"' in query["sql"]:
            assert any(
                name in each
                for each in index_conditions(query["sql"])
                for name in ("one_event_a_revision", "usage_event_by_first_attempt", "sqlite_autoindex")
            ), query["sql"]


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (Status.FAILED, "unexpected", "openai said unexpected."),
        (Status.CANCELLED, "unexpected", "Whoever asked hung up before the answer had ended."),
        (Status.CUT_OFF, "unexpected", "The answer ended before it was whole."),
        (Status.CUT_OFF, "unreachable", "The answer ended before it was whole. openai said unreachable."),
        (Status.BROKE, "overloaded", "The answer ended with an error of the provider. openai said overloaded."),
        (Status.ANSWERED, "", ""),
    ],
)
def test_why_a_call_did_not_end_well(acme, status, kind, said):
    call = event(acme, status=status, error_kind=kind, output_tokens=1)

    assert receipt(acme, call.call_id).last.reason == said
