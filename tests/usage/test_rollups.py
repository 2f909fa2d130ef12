from __future__ import annotations

import json
import random
import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.usage.conftest import (
    KEY,
    NOON,
    TODAY,
    daily_table,
    event,
    lost_or_failed,
    rebuild,
    record_call,
    roll_up,
    settle,
    start_rollup_anew,
)
from usage import rollups
from usage.averages import action_averages
from usage.cost_panel import cost_summary
from usage.facts import COUNTED_BY
from usage.measures import MEASURES
from usage.models import Mode, RollupState, UsageDaily, UsageEvent
from usage.rollups import NOTHING, RollUpResult
from usage.run_costs import run_cost
from usage.tokens import Report

pytestmark = pytest.mark.django_db(transaction=True)

Status = UsageEvent.Status


def some_events(organization, count: int, seed: int = 7) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        event(
            organization,
            day=TODAY - timedelta(days=chance.randrange(4)),
            provider=chance.choice(["openai", "anthropic"]),
            model=chance.choice(["small", "large"]),
            mode=chance.choice([Mode.BYOK, Mode.MANAGED]),
            iteration=chance.choice([1, 1, 2]),
            run_day=chance.choice([None, None, TODAY - timedelta(days=chance.randrange(5))]),
            uncached_input_tokens=chance.randrange(5000),
            output_tokens=chance.randrange(500),
            cost_nanousd=chance.choice([None, chance.randrange(10**7)]),
            latency_ms=chance.randrange(3000),
        )


def test_each_measure_is_the_sum_of_the_events_of_a_day(acme):
    run = uuid.uuid4()
    tokens = {
        "uncached_input_tokens": 100,
        "cache_read_tokens": 30,
        "cache_write_tokens": 20,
        "output_tokens": 50,
    }
    event(acme, run_id=run, reasoning_tokens=10, cost_nanousd=700, latency_ms=900, **tokens)
    event(
        acme,
        run_id=run,
        iteration=2,
        cost_nanousd=300,
        latency_ms=100,
        uncached_input_tokens=5,
    )
    event(acme, cost_nanousd=None, output_tokens=4)
    lost_or_failed(acme, Status.FAILED, error_kind="overloaded")
    lost_or_failed(acme, Status.LOST)

    assert roll_up(now=NOON) == RollUpResult(events=5, rows=1)

    dimensions = (acme.pk, TODAY, "openai", "gpt-4o", "candidate_check", KEY, "byok")
    assert daily_table() == {
        dimensions: {
            "calls": 5,
            "answered": 3,
            "failed": 1,
            "lost": 1,
            "unpriced_calls": 1,
            "unknown_calls": 1,
            "unreported_calls": 0,
            "own_server_calls": 0,
            "uncached_input_tokens": 105,
            "cache_read_tokens": 30,
            "cache_write_tokens": 20,
            "output_tokens": 54,
            "reasoning_tokens": 10,
            "cost_nanousd": 1000,
            "latency_ms": 1000,
            "runs": 4,
            "priced_runs": 1,
            "partly_priced_runs": 0,
            "own_server_runs": 0,
            "run_cost_nanousd": 1000,
            "run_tokens": 105 + 30 + 20 + 54,
            "run_unreported_calls": 1,
        }
    }


def test_a_run_is_priced_once_even_if_its_first_call_failed(admit):
    run = uuid.uuid4()
    record_call(call=admit(run_id=run), status=Status.FAILED, now=NOON)
    for iteration in (2, 3):
        call = admit(run_id=run, iteration=iteration)
        record_call(call=call, status=Status.ANSWERED, now=NOON, report=Report(cost_nanousd=iteration))
        roll_up(now=NOON)

    assert list(UsageDaily.objects.values_list("runs", "priced_runs", "cost_nanousd")) == [(1, 1, 5)]


def test_many_events_are_added_part_by_part_and_it_says_how_far_it_is(acme, globex, monkeypatch):
    some_events(acme, 15)
    some_events(globex, 15, seed=8)
    roll_up(now=NOON)
    at_once = daily_table()
    monkeypatch.setattr(rollups, "EVENTS_AT_ONCE", 7)
    told: list[tuple[int, int]] = []

    for again in (rollups.rebuild, rollups.roll_up):
        if again == rollups.roll_up:
            start_rollup_anew()
        settle()
        assert again(now=NOON, progress=lambda *amounts: told.append(amounts)).events == 30

        assert daily_table() == at_once
        assert told.pop() == (30, 30)
        assert [done for done, _ in told] == [7, 14, 21, 28]
        told.clear()


@pytest.mark.parametrize("pieces", [1, 3, 10])
def test_in_pieces_at_once_and_from_scratch_give_the_same_table(acme, globex, pieces):
    for piece in range(pieces):
        some_events(acme, 60 // pieces, seed=piece)
        some_events(globex, 30 // pieces, seed=100 + piece)
        roll_up(now=NOON)
    in_pieces = daily_table()

    start_rollup_anew()
    assert roll_up(now=NOON).events == 90
    at_once = daily_table()
    assert rebuild(now=NOON).events == 90

    assert in_pieces == at_once == daily_table()
    assert roll_up(now=NOON) == NOTHING


def test_events_after_a_rebuild_are_added_once(acme):
    some_events(acme, 10)
    rebuild(now=NOON)
    some_events(acme, 5)

    assert roll_up(now=NOON).events == 5
    assert sum(row["calls"] for row in daily_table().values()) == 15


def test_a_day_is_a_utc_day(acme):
    for hours, minutes in [(0, 0), (23, 59)]:
        event(acme, occurred_at=NOON.replace(hour=hours, minute=minutes))
    roll_up(now=NOON)

    assert [row.day for row in UsageDaily.objects.all()] == [TODAY]


def test_a_late_event_goes_to_its_own_day(acme):
    event(acme)
    roll_up(now=NOON)
    event(acme, day=TODAY - timedelta(days=40))
    roll_up(now=NOON)

    assert sorted(UsageDaily.objects.values_list("day", "calls")) == [
        (TODAY - timedelta(days=40), 1),
        (TODAY, 1),
    ]


def test_nothing_new_writes_nothing(acme):
    event(acme)
    roll_up(now=NOON)
    before = RollupState.objects.values().get()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert roll_up(now=NOON + timedelta(hours=1)) == NOTHING

    assert all(query["sql"].startswith("SELECT") for query in queries)
    assert RollupState.objects.values().get() == before


def test_the_same_figures_come_out_of_the_command(acme):
    event(acme)
    settle()

    out = StringIO()
    call_command("roll_up_usage", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"events": 1, "rows": 1}

    out = StringIO()
    call_command("roll_up_usage", "--rebuild", stdout=out)
    assert out.getvalue() == "Rolled up 1 usage events: 1 additions to daily rows.\n"


@pytest.mark.postgresql
def test_a_database_restored_into_another_cluster_is_refused_until_rebuilt(acme):
    event(acme)
    roll_up(now=NOON)
    RollupState.objects.update(system_identifier="another cluster", position=2**40)
    event(acme)

    with pytest.raises(CommandError, match="--rebuild"):
        call_command("roll_up_usage")
    rebuild(now=NOON)
    event(acme)
    roll_up(now=NOON)

    assert [row["calls"] for row in daily_table().values()] == [3]


# Names of keys, and corrections -----------------------------------------------------------------------------------


def test_renaming_a_key_splits_no_day_and_the_latest_name_is_shown(acme):
    event(acme, key_label="Alpha")
    roll_up(now=NOON)
    event(acme, key_label="Old")
    roll_up(now=NOON)

    (row,) = UsageDaily.objects.all()
    assert (row.calls, row.key_label) == (2, "Old")
    rebuild(now=NOON)
    assert UsageDaily.objects.count() == 1


def test_a_revision_corrects_cost_and_counts_as_nothing_else(acme):
    first = event(acme, cost_nanousd=700, output_tokens=50)
    roll_up(now=NOON)
    (before,) = daily_table().values()

    for revision, cost in ((1, -300), (2, 50)):
        event(
            acme,
            call_id=first.call_id,
            occurred_at=first.occurred_at,
            run_id=first.run_id,
            revision=revision,
            status=Status.CORRECTED,
            cost_nanousd=cost,
            usage_reported=True,
            counts_run=False,
            counts_priced_run=False,
        )
    live = cost_summary(organization=acme, today=TODAY, show_managed_usd=False).week
    roll_up(now=NOON)
    (after,) = daily_table().values()

    assert after == before | {"cost_nanousd": 450, "run_cost_nanousd": 450}
    assert cost_summary(organization=acme, today=TODAY, show_managed_usd=False).week == live
    assert (live.calls, live.cost_nanousd, live.unpriced_calls) == (1, 450, 0)
    of_run = run_cost(organization=acme, run_id=first.run_id)
    assert (of_run.calls, of_run.cost_nanousd, of_run.tokens) == (1, 450, 50)
    assert action_averages(organization=acme, today=TODAY, show_managed_usd=False)["candidate_check"].runs == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"revision": 0, "cost_nanousd": -1},
        {"revision": 1},
        {"revision": 1, "status": "corrected", "cost_nanousd": None},
        {"revision": 1, "status": "corrected", "cost_nanousd": 5, "output_tokens": 1},
        {"revision": 1, "status": "corrected", "cost_nanousd": 5, "latency_ms": 1},
        {"revision": 1, "status": "corrected", "cost_nanousd": 5, "counts_run": True},
    ],
)
def test_nothing_but_a_correction_of_cost_may_be_a_revision(acme, wrong):
    counts = {"counts_run": False, "counts_priced_run": False, "usage_reported": True}

    with pytest.raises(IntegrityError), transaction.atomic():
        event(acme, **{**counts, "cost_nanousd": 5, **wrong})


def test_a_day_has_a_column_for_each_measure_and_no_other():
    others = {"id", "key_label", "organization", "day", *COUNTED_BY}

    assert [field.name for field in UsageDaily._meta.local_fields if field.name not in others] == list(MEASURES)
