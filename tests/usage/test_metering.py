from __future__ import annotations

import json
import logging
import re
import uuid
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from gateway.sweeping import sweep_lost_calls
from tests.usage.conftest import NOON, TODAY, event, record_call, recorded
from usage.cost_panel import cost_summary
from usage.metering import MOST_TOKENS, Finished, record_calls
from usage.models import InFlightCall, UsageEvent
from usage.price_list import CATALOG_VERSION
from usage.rollups import roll_up
from usage.tokens import Report, TokenUsage

pytestmark = pytest.mark.django_db

Status = UsageEvent.Status
USAGE = TokenUsage(uncached_input=600, cache_read=300, cache_write=60, cache_write_1h=40, output=100, reasoning=30)
LATER = NOON + timedelta(milliseconds=1234)


def test_a_recorded_call_is_one_event_and_no_admission(admit):
    call = admit(run_id=(run_id := admit().run_id), iteration=2)

    recorded = record_call(
        call=call,
        status=Status.ANSWERED,
        now=LATER,
        report=Report(usage=USAGE, served_model="gpt-4o-2024-08-06", request_id="req-1"),
        http_status=200,
    )

    stored = UsageEvent.objects.get()
    assert stored == recorded
    assert not InFlightCall.objects.filter(pk=call.id).exists()
    assert (stored.call_id, stored.run_id, stored.iteration) == (call.id, run_id, 2)
    assert (stored.occurred_at, stored.latency_ms) == (NOON, 1234)
    assert (stored.provider, stored.model, stored.served_model) == ("openai", "gpt-4o", "gpt-4o-2024-08-06")
    assert (stored.uncached_input_tokens, stored.cache_read_tokens) == (600, 300)
    assert (stored.cache_write_tokens, stored.cache_write_1h_tokens) == (100, 40)
    assert (stored.output_tokens, stored.reasoning_tokens) == (100, 30)
    assert (stored.input_tokens, stored.total_tokens) == (1000, 1100)
    # 700 uncached or written at 2.50, 300 cached at 1.25, 100 out at 10 USD per million
    assert stored.cost_nanousd == 700 * 2500 + 300 * 1250 + 100 * 10000
    assert (stored.price_source, stored.price_version) == (UsageEvent.PriceSource.CATALOG, CATALOG_VERSION)


@pytest.mark.parametrize(("measured", "expected"), [(17, 17), (-3, 0)])
def test_an_event_keeps_how_long_its_call_took(admit, measured, expected):
    recorded = record_call(call=admit(), status=Status.ANSWERED, now=LATER, latency_ms=measured)

    assert recorded.latency_ms == expected


def test_recording_twice_gives_the_first_event(admit):
    call = admit()
    first = record_call(call=call, status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE))

    again = record_call(call=call, status=Status.FAILED, now=LATER, error_kind="unexpected")

    assert again == first
    assert again.status == Status.ANSWERED
    assert UsageEvent.objects.count() == 1


def test_an_outer_transaction_takes_event_and_admission_back_together(admit):
    call = admit()

    with transaction.atomic():
        record_call(call=call, status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE))
        transaction.set_rollback(True)

    assert not UsageEvent.objects.exists()
    assert InFlightCall.objects.get().admission == call


def test_a_failed_call_keeps_its_reason_and_is_priced_only_if_it_used_tokens(admit):
    refused = record_call(call=admit(), status=Status.FAILED, now=LATER, http_status=503, error_kind="overloaded")
    unreadable = record_call(call=admit(), status=Status.FAILED, now=LATER, report=Report(usage=USAGE))

    assert (refused.error_kind, refused.http_status, refused.cost_nanousd) == ("overloaded", 503, None)
    assert unreadable.cost_nanousd


def test_whatever_a_provider_sends_the_event_is_written(admit, caplog):
    with caplog.at_level(logging.ERROR, logger="usage.metering"):
        stored = record_call(
            call=admit(),
            status=Status.ANSWERED,
            now=NOON - timedelta(hours=1),
            report=Report(
                usage=TokenUsage(uncached_input=MOST_TOKENS + 1),
                cost_nanousd=-5,
                served_model="m\x00" * 300,
                request_id="r" * 1000,
            ),
            error_kind="\x00",
        )

    stored.refresh_from_db()
    assert (stored.total_tokens, stored.cost_nanousd, stored.latency_ms) == (0, None, 0)
    assert (stored.served_model, len(stored.request_id), stored.error_kind) == ("m" * 200, 200, "")
    assert "cannot be" in caplog.text


def test_a_call_past_its_deadline_is_lost_without_tokens_or_price(admit):
    overdue = admit(deadline_at=NOON)
    running = admit(deadline_at=NOON + timedelta(hours=1))

    assert sweep_lost_calls(now=NOON + timedelta(minutes=1)) == 1

    stored = UsageEvent.objects.get()
    assert (stored.call_id, stored.status) == (overdue.id, Status.LOST)
    assert (stored.total_tokens, stored.cost_nanousd) == (0, None)
    assert InFlightCall.objects.get().admission == running
    assert sweep_lost_calls(now=NOON + timedelta(minutes=1)) == 0


def test_a_call_that_ends_after_it_was_counted_as_lost_is_recorded_once_as_well(admit):
    call = admit(deadline_at=NOON)
    sweep_lost_calls(now=NOON + timedelta(minutes=1))

    first = record_call(call=call, status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE))
    again = record_call(call=call, status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE))

    assert first == again
    assert first.cost_nanousd
    assert sorted(UsageEvent.objects.values_list("status", flat=True)) == ["answered", "lost"]


def test_an_admission_that_its_event_outlived_is_no_lost_call(admit, acme):
    call = admit(deadline_at=NOON)
    event(acme, call_id=call.id, occurred_at=call.started_at)

    assert sweep_lost_calls(now=NOON + timedelta(minutes=1)) == 0
    assert not InFlightCall.objects.exists()


def test_unpriced_failed_and_lost_are_counted_apart(admit, acme):
    record_call(call=admit(model="no-such-model"), status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE))
    record_call(call=admit(), status=Status.FAILED, now=LATER)
    admit(deadline_at=NOON - timedelta(minutes=1))
    sweep_lost_calls(now=NOON)

    totals = cost_summary(organization=acme, today=TODAY, show_managed_usd=False).week

    assert (totals.calls, totals.unpriced_calls, totals.failed_calls, totals.lost_calls) == (3, 1, 1, 1)
    assert (totals.unknown_calls, totals.covered_calls) == (1, 1)
    assert totals.cost_nanousd is None


def test_the_sweep_is_a_command(admit):
    admit(deadline_at=NOON - timedelta(days=30))

    out = StringIO()
    call_command("sweep_lost_calls", "--json", stdout=out)

    assert json.loads(out.getvalue()) == {"lost": 1}


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows.update(model="another"), lambda rows: rows.delete()],
    ids=["update", "delete"],
)
def test_the_database_refuses_to_change_an_event(acme, change):
    event(acme)

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        change(UsageEvent.objects.all())


def test_the_database_refuses_a_cost_without_a_source(acme):
    with pytest.raises(IntegrityError), transaction.atomic():
        event(acme, cost_nanousd=5, price_source=UsageEvent.PriceSource.NONE)


def test_no_event_is_rolled_up_before_its_transaction_ends(admit, acme):
    record_call(call=admit(), status=Status.ANSWERED, now=LATER, report=Report(usage=USAGE))
    roll_up(now=LATER)  # inside the transaction of this test: PostgreSQL leaves it for later, SQLite counts it

    assert cost_summary(organization=acme, today=TODAY, show_managed_usd=False).week.calls == 1


# Many at once -----------------------------------------------------------------------------------------------------


def answered(call, **report):
    return Finished(call, Status.ANSWERED, latency_ms=5, report=Report(usage=USAGE, **report))


def test_many_calls_are_written_together_in_their_order(admit, acme, globex):
    calls = [admit(organization=whose) for whose in (globex, acme, globex, acme)]

    events = recorded([answered(call) for call in calls])

    assert [(event.organization_id, event.call_id) for event in events] == [
        (call.organization_id, call.id) for call in calls
    ]
    assert all(event.pk for event in events)
    assert UsageEvent.objects.count() == 4
    assert not InFlightCall.objects.exists()


def test_what_was_written_before_or_stands_twice_among_many_is_written_once(admit):
    before, twice, new = admit(), admit(), admit()
    first = record_call(call=before, status=Status.FAILED, now=LATER)

    events = recorded([answered(call) for call in (before, twice, new, twice)])

    assert UsageEvent.objects.count() == 3
    assert events[0] == first
    assert events[0].status == Status.FAILED
    assert events[1] == events[3]


def test_one_of_many_that_was_counted_as_lost_is_recorded_as_well(admit):
    lost, other = admit(deadline_at=NOON), admit()
    sweep_lost_calls(now=NOON + timedelta(minutes=1))

    events = recorded([answered(other), answered(lost)])

    assert [event.status for event in events] == [Status.ANSWERED] * 2
    assert events[1].call_id != lost.id
    assert sorted(UsageEvent.objects.values_list("status", flat=True)) == ["answered", "answered", "lost"]


def test_runs_are_locked_once_whatever_was_counted_as_lost(admit):
    """Else two who record many calls come to the same runs in opposite orders, and wait for one another."""
    lost, other = admit(deadline_at=NOON), admit()
    sweep_lost_calls(now=NOON + timedelta(minutes=1))

    with CaptureQueriesContext(connection) as asked:
        record_calls([answered(lost), answered(other)])

    runs = [query["sql"] for query in asked if re.search("INSERT INTO .usage_usagerun", query["sql"])]
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("before", "together", "written"),
    [
        ([], "LA", "LA"),
        ([], "AL", "A"),
        ([], "LAA", "LA"),
        ("A", "LA", "A"),
        ("L", "LA", "LA"),
        ("LA", "ALA", "LA"),
    ],
)
def test_a_lost_call_that_ended_is_written_twice_and_no_more(admit, before, together, written):
    call = admit()

    def ended(how: str) -> Finished:
        return answered(call) if how == "A" else Finished(call, Status.LOST, 5)

    for how in before:
        record_calls([ended(how)])
    events = recorded([ended(how) for how in together])

    statuses = {"A": Status.ANSWERED, "L": Status.LOST}
    assert set(events) <= set(UsageEvent.objects.all())
    assert sorted(UsageEvent.objects.values_list("status", flat=True)) == sorted(statuses[how] for how in written)


def test_where_one_of_many_cannot_be_written_none_is(admit):
    calls = [admit(), admit(iteration=7)]
    poisoned = replace(calls[1], iteration=-1)

    with pytest.raises(DatabaseError):
        record_calls([answered(calls[0]), answered(poisoned)])

    assert not UsageEvent.objects.exists()
    assert InFlightCall.objects.count() == 2
    assert recorded([answered(calls[0])])[0].counts_run


def test_a_run_among_many_is_counted_by_the_first_of_them(admit):
    run = uuid.uuid4()
    calls = [admit(run_id=run, iteration=number) for number in (2, 1, 3)]

    events = recorded([Finished(calls[0], Status.FAILED, 5), answered(calls[1]), answered(calls[2])])

    assert [event.counts_run for event in events] == [True, False, False]
    assert [event.counts_priced_run for event in events] == [False, True, False]
