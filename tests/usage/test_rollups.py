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
    all_tables,
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
from usage.cells import BY_LABEL, DAILY, HOURLY, TOTALS, Grouping, read_groupings, totals
from usage.cost_panel import cost_summary
from usage.measures import COARSE_MEASURES, LATENCY_BOUNDS_MS, MEASURES, RUN_MEASURES, Sums
from usage.models import Mode, RollupState, UsageByLabel, UsageDaily, UsageEvent, UsageHourly
from usage.rollups import NOTHING, RollUpResult
from usage.run_costs import run_cost
from usage.tokens import Report

pytestmark = pytest.mark.django_db(transaction=True)

Status = UsageEvent.Status
TABLES = (UsageDaily, UsageHourly, UsageByLabel)
FIRST = TODAY - timedelta(days=30)


def some_events(organization, count: int, seed: int = 7) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        event(
            organization,
            provider=chance.choice(["openai", "anthropic"]),
            model=chance.choice(["small", "large"]),
            mode=chance.choice([Mode.BYOK, Mode.MANAGED]),
            iteration=chance.choice([1, 1, 2]),
            run_day=chance.choice([None, None, TODAY - timedelta(days=chance.randrange(5))]),
            occurred_at=NOON - timedelta(days=chance.choice([0, 1, 2, 3, 40]), minutes=chance.randrange(300)),
            token_id=chance.choice([None, 3, 4]),
            member_id=chance.choice([None, 1]),
            labels=chance.choice([{}, {"team": "a"}, {"team": "b", "customer": "c"}]),
            attempt=chance.choice([1, 1, 2]),
            system_tokens=chance.randrange(50),
            cache_read_tokens=chance.randrange(50),
            uncached_input_tokens=chance.randrange(5000),
            output_tokens=chance.randrange(500),
            cost_nanousd=chance.choice([None, 10**7 + chance.randrange(10**7)]),
            input_cost_nanousd=chance.choice([None, chance.randrange(10**7)]),
            latency_ms=chance.randrange(200_000),
        )


def test_each_measure_is_the_sum_of_the_events_of_a_day(acme):
    run = uuid.uuid4()
    tokens = {
        "uncached_input_tokens": 100,
        "cache_read_tokens": 30,
        "cache_write_tokens": 20,
        "output_tokens": 50,
    }
    parts = {"system_tokens": 70, "tools_tokens": 10, "user_tokens": 70, "latency_ms": 900}
    event(
        acme,
        token_id=7,
        run_id=run,
        reasoning_tokens=10,
        cost_nanousd=700,
        input_cost_nanousd=200,
        **tokens,
        **parts,
    )
    event(
        acme,
        token_id=7,
        run_id=run,
        iteration=2,
        cost_nanousd=300,
        latency_ms=100,
        uncached_input_tokens=5,
    )
    event(acme, token_id=7, cost_nanousd=None, output_tokens=4)
    lost_or_failed(acme, Status.FAILED, error_kind="overloaded", attempt=2, token_id=7)
    lost_or_failed(acme, Status.LOST, token_id=7)

    assert roll_up(now=NOON) == RollUpResult(events=5, rows=1)

    within = dict.fromkeys([f"within_{bound}_ms" for bound in LATENCY_BOUNDS_MS], 3)
    dimensions = (acme.pk, TODAY, "openai", "gpt-4o", "candidate_check", KEY, "byok", 7, 0)
    assert daily_table() == {
        dimensions: {
            "calls": 5,
            "answered": 3,
            "failed": 1,
            "lost": 1,
            "retried_calls": 1,
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
            **within,
            "within_100_ms": 2,
            "within_200_ms": 2,
            "within_350_ms": 2,
            "within_500_ms": 2,
            "within_750_ms": 2,
            "runs": 4,
            "system_tokens": 70,
            "tools_tokens": 10,
            "retrieved_tokens": 0,
            "history_tokens": 0,
            "user_tokens": 70,
            "uncached_prefix_tokens": 50,
            "input_cost_nanousd": 200,
            "output_cost_nanousd": 500,
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
    at_once = all_tables()
    monkeypatch.setattr(rollups, "EVENTS_AT_ONCE", 7)
    told: list[tuple[int, int]] = []

    for again in (rollups.rebuild, rollups.roll_up):
        if again == rollups.roll_up:
            start_rollup_anew()
        settle()
        assert again(now=NOON, progress=lambda *amounts: told.append(amounts)).events == 30

        assert all_tables() == at_once
        assert told.pop() == (30, 30)
        assert [done for done, _ in told] == [7, 14, 21, 28]
        told.clear()


@pytest.mark.parametrize("pieces", [1, 3, 10])
def test_in_pieces_at_once_and_from_scratch_give_the_same_table(acme, globex, pieces):
    for piece in range(pieces):
        some_events(acme, 60 // pieces, seed=piece)
        some_events(globex, 30 // pieces, seed=100 + piece)
        roll_up(now=NOON)
    in_pieces = all_tables()

    start_rollup_anew()
    assert roll_up(now=NOON).events == 90
    at_once = all_tables()
    assert rebuild(now=NOON).events == 90

    assert in_pieces == at_once == all_tables()
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
    others = {"id", "key_label", "organization", *(name for table in TABLES for name in table.DIMENSIONS)}

    for table, measures in zip(TABLES, (MEASURES, COARSE_MEASURES, COARSE_MEASURES), strict=True):
        columns = [field.name for field in table._meta.local_fields]
        assert [name for name in columns if name not in others] == list(measures)


# Hours and labels ---------------------------------------------------------------------------------------------------


def test_an_hour_is_a_utc_hour_and_old_ones_go(acme):
    for minutes in (0, 59, 60):
        event(acme, occurred_at=NOON + timedelta(minutes=minutes))
    event(acme, occurred_at=NOON - timedelta(days=40))
    roll_up(now=NOON)

    assert sorted(UsageHourly.objects.values_list("hour", "calls")) == [(NOON, 2), (NOON + timedelta(hours=1), 1)]
    event(acme, day=TODAY + timedelta(days=36))
    roll_up(now=NOON + timedelta(days=36))
    assert list(UsageHourly.objects.values_list("calls", flat=True)) == [1]
    assert UsageDaily.objects.count() == 3


def test_a_call_counts_once_for_each_of_its_labels(acme):
    event(acme, labels={"team": "search", "customer": 'Ünï "q"'}, cost_nanousd=5)
    event(acme, labels={"team": "search"}, cost_nanousd=7)
    event(acme, cost_nanousd=100)
    roll_up(now=NOON)

    rows = UsageByLabel.objects.order_by("name").values_list("name", "value", "calls", "cost_nanousd")
    assert list(rows) == [("customer", 'Ünï "q"', 1, 5), ("team", "search", 2, 12)]


@pytest.mark.parametrize("source", [DAILY, HOURLY, BY_LABEL], ids=["daily", "hourly", "by label"])
def test_what_is_not_rolled_up_is_read_as_what_is(acme, globex, source):
    some_events(acme, 40)
    some_events(globex, 5)
    groupings = [Grouping(source.dimensions, source.measures), Grouping((), source.measures)]

    def read() -> list:
        return [sorted(cells) for cells in read_groupings(acme, FIRST, TODAY, *groupings, source=source)]

    live = read()
    assert len(live[0]) > 10
    roll_up(now=NOON)
    some = read()
    assert some == live


def test_a_reading_is_narrowed_and_what_is_not_to_be_stays_whole(acme):
    for provider, key, token in (("openai", KEY, 1), ("anthropic", KEY, 2), ("groq", uuid.uuid4(), None)):
        event(acme, provider=provider, key_id=key, token_id=token)
    by_provider, everything = Grouping(("provider",)), Grouping(("provider",), filtered=False)

    def read(**where) -> tuple[list[str], ...]:
        cells = read_groupings(acme, TODAY, TODAY, by_provider, everything, where=where)
        return tuple(sorted(cell.provider for cell in each) for each in cells)

    whole = ["anthropic", "groq", "openai"]
    for _ in range(2):
        assert read(key_id=[KEY]) == (["anthropic", "openai"], whole)
        assert read(key_id=[KEY], token_id=[2, 0]) == (["anthropic"], whole)
        assert read(token_id=[]) == (whole, whole)
        assert read(provider=["'; --"]) == ([], whole)
        roll_up(now=NOON)


@pytest.mark.parametrize("where", [{}, {"mode": [Mode.BYOK]}], ids=["all", "narrowed"])
def test_many_groupings_at_once_say_what_each_says_alone(acme, globex, where):
    some_events(acme, 20)
    roll_up(now=NOON)
    some_events(acme, 20)
    some_events(globex, 5)
    groupings = [
        Grouping(("day", "mode"), TOTALS),
        Grouping(("provider", "model"), RUN_MEASURES),
        Grouping((), MEASURES),
        Grouping(("key_id",), ("calls",), filtered=False),
    ]

    at_once = read_groupings(acme, FIRST, TODAY, *groupings, where=where)

    alone = [read_groupings(acme, FIRST, TODAY, each, where=where)[0] for each in groupings]
    assert [sorted(cells, key=repr) for cells in at_once] == [sorted(cells, key=repr) for cells in alone]
    assert len(at_once[0]) > 3


def test_totals_need_no_other_measures_than_they_name(acme):
    some_events(acme, 40)

    (few,), (all_of_them,) = read_groupings(acme, FIRST, TODAY, Grouping((), TOTALS), Grouping(()))

    assert totals([few]) == totals([all_of_them])
    for name in TOTALS:
        assert totals([few._replace(sums=few.sums._replace(**{name: 10**9}))]) != totals([few]), name


def test_a_percentile_is_read_off_the_bounds():
    sums = Sums(answered=4, **{f"within_{bound}_ms": 2 if bound < 1000 else 4 for bound in LATENCY_BOUNDS_MS})
    sums = sums._replace(within_100_ms=0)

    assert sums.latency_percentile(0.5) == 200
    assert sums.latency_percentile(0.25) == 150
    assert sums.latency_percentile(0.75) == 875
    assert Sums().latency_percentile(0.5) is None
    assert Sums(answered=1).latency_percentile(0.5) == LATENCY_BOUNDS_MS[-1]
