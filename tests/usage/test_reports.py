from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.usage.conftest import NOON, TODAY, event, lost_or_failed, roll_up
from usage import cost_panel
from usage.averages import ActionAverages, action_averages
from usage.cells import Totals
from usage.cost_panel import CostSummary, cost_summary
from usage.models import Mode, UsageEvent
from usage.run_costs import RunCost, run_cost, run_costs

# Committed, since PostgreSQL rolls nothing up that is not.
pytestmark = pytest.mark.django_db(transaction=True)

Status = UsageEvent.Status
Source = UsageEvent.PriceSource
YESTERDAY = TODAY - timedelta(days=1)
CENT = 10**7


@pytest.fixture(params=["rolled up", "live", "half rolled up"])
def acme_events(request, acme, globex):
    """
    Acme, by day (0 is today):

         0  openai      gpt-4o    byok     2 cent   1,100 tokens   first call of run 1
         0  openai      gpt-4o    byok     1 cent     100 tokens   second call of run 1
         1  openrouter  router    byok     unpriced   500 tokens
         6  anthropic   claude    byok     4 cent   2,000 tokens
         6  openai      gpt-4o    managed  8 cent     300 tokens
         7  anthropic   claude    byok     5 cent      50 tokens   requirement_generation
        29  openai      gpt-4o    byok     failed
        29  openai      gpt-4o    byok     lost
        30  openai      gpt-4o    byok    90 cent                  too old
    """

    def day(number):
        return {"day": TODAY - timedelta(days=number)}

    run = uuid.uuid4()
    claude = {"provider": "anthropic", "model": "claude"}
    event(acme, **day(30), cost_nanousd=90 * CENT, output_tokens=9)
    lost_or_failed(acme, Status.FAILED, **day(29))
    lost_or_failed(acme, Status.LOST, **day(29))
    event(
        acme,
        **day(7),
        **claude,
        action="requirement_generation",
        cost_nanousd=5 * CENT,
        uncached_input_tokens=50,
    )
    event(acme, **day(6), **claude, cost_nanousd=4 * CENT, cache_read_tokens=1500, output_tokens=500)
    if request.param == "half rolled up":
        roll_up(now=NOON)
    event(acme, **day(6), mode=Mode.MANAGED, cost_nanousd=8 * CENT, uncached_input_tokens=300)
    event(acme, **day(1), provider="openrouter", model="router", cost_nanousd=None, output_tokens=500)
    event(
        acme,
        run_id=run,
        cost_nanousd=2 * CENT,
        uncached_input_tokens=900,
        cache_write_tokens=100,
        output_tokens=100,
        reasoning_tokens=60,
    )
    event(acme, run_id=run, iteration=2, cost_nanousd=CENT, uncached_input_tokens=100)
    event(globex, cost_nanousd=70 * CENT, output_tokens=7)
    if request.param == "rolled up":
        roll_up(now=NOON)
    return acme


def ask(report, organization, *, show_managed_usd=False, **more):
    return report(organization=organization, today=TODAY, show_managed_usd=show_managed_usd, **more)


def summary_of(organization, **more) -> CostSummary:
    return ask(cost_summary, organization, **more)


def test_last_seven_days_include_today_and_leave_out_managed_usd(acme_events):
    assert summary_of(acme_events).week == Totals(
        calls=5,
        tokens=1100 + 100 + 500 + 2000 + 300,
        input_tokens=1000 + 100 + 1500 + 300,
        output_tokens=100 + 500 + 500,
        unreported_calls=0,
        usd_calls=4,
        cost_nanousd=7 * CENT,
        unpriced_calls=1,
        unknown_calls=0,
        own_server_calls=0,
        failed_calls=0,
        lost_calls=0,
        hidden_calls=1,
    )


def test_managed_usd_are_shown_where_the_operator_says_so(acme_events):
    totals = summary_of(acme_events, show_managed_usd=True).week

    assert (totals.cost_nanousd, totals.hidden_calls) == (15 * CENT, 0)


def test_provider_breakdown_is_of_thirty_days_dearest_first_and_managed_calls_apart(acme_events):
    rows = summary_of(acme_events).providers

    assert [
        (row.name, row.mode, row.totals.calls, row.totals.tokens, row.totals.cost_nanousd, row.totals.hidden_calls)
        for row in rows
    ] == [
        ("Anthropic", "byok", 2, 2050, 9 * CENT, 0),
        ("OpenAI", "byok", 4, 1200, 3 * CENT, 0),
        ("OpenRouter", "byok", 1, 500, None, 0),
        ("OpenAI", "managed", 1, 300, None, 1),
    ]
    assert (rows[1].totals.failed_calls, rows[1].totals.lost_calls) == (1, 1)
    assert (rows[1].totals.unknown_calls, rows[1].totals.covered_calls) == (1, 3)  # the failed one was not billed
    assert rows[2].totals.unpriced_calls == 1
    together = summary_of(acme_events, show_managed_usd=True).providers
    assert [(row.name, row.mode, row.totals.calls) for row in together] == [
        ("OpenAI", "", 5),
        ("Anthropic", "", 2),
        ("OpenRouter", "", 1),
    ]


def test_top_models_are_dearest_first_and_no_more_than_shown(acme_events, monkeypatch):
    rows = summary_of(acme_events).models

    assert [(row.model, row.mode, row.totals.cost_nanousd) for row in rows] == [
        ("claude", "byok", 9 * CENT),
        ("gpt-4o", "byok", 3 * CENT),
        ("router", "byok", None),
        ("gpt-4o", "managed", None),
    ]
    monkeypatch.setattr(cost_panel, "MODELS_SHOWN", 2)
    assert summary_of(acme_events).models == rows[:2]


def test_the_chart_has_a_value_for_each_of_thirty_days_and_says_what_it_misses(acme_events):
    chart = summary_of(acme_events).chart
    assert chart is not None

    rows = {row.label: (dict(row.values), row.total) for row in chart.rows}
    assert (min(rows), max(rows), len(rows)) == (TODAY - timedelta(days=29), TODAY, 30)
    nothing = ({"Anthropic": "$0.0000", "OpenAI": "$0.0000"}, "$0.0000")
    assert {day: row for day, row in rows.items() if row != nothing} == {
        TODAY: ({"Anthropic": "$0.0000", "OpenAI": "$0.0300"}, "$0.0300"),
        # A call of OpenRouter without a price, which has no bar.
        TODAY - timedelta(days=1): ({"Anthropic": "$0.0000", "OpenAI": "$0.0000"}, "not known"),
        TODAY - timedelta(days=6): ({"Anthropic": "$0.0400", "OpenAI": "$0.0000"}, "$0.0400"),
        TODAY - timedelta(days=7): ({"Anthropic": "$0.0500", "OpenAI": "$0.0000"}, "$0.0500"),
        TODAY - timedelta(days=29): ({"Anthropic": "$0.0000", "OpenAI": "not known"}, "not known"),
    }
    assert chart.title == "Estimated USD a day by provider (incomplete)"
    assert chart.description == (
        "At least $0.1200 estimated USD, 23 October 2026 to 21 November 2026. 2 calls are not in it."
    )
    assert chart.total == "at least $0.1200"
    assert [(item.name, item.total, item.share) for item in chart.legend] == [
        ("Anthropic", "$0.0900", "75%"),
        ("OpenAI", "at least $0.0300", "25%"),
    ]


def test_averages_are_per_run_and_of_cost_over_priced_runs_only(acme_events):
    averages = ask(action_averages, acme_events)

    # candidate_check: run 1 (3 cent, 2 calls), unpriced, 4 cent, managed, failed, lost
    assert averages == {
        "candidate_check": ActionAverages(
            runs=6,
            priced_runs=2,
            average_cost_nanousd=35 * CENT // 10,
            average_tokens=round((1200 + 500 + 2000 + 300) / 6),
            hidden_runs=1,
            unreported_calls=1,
        ),
        "requirement_generation": ActionAverages(
            runs=1, priced_runs=1, average_cost_nanousd=5 * CENT, average_tokens=50, hidden_runs=0
        ),
    }
    shown = ask(action_averages, acme_events, show_managed_usd=True)["candidate_check"]
    assert (shown.priced_runs, shown.average_cost_nanousd, shown.hidden_runs) == (3, 5 * CENT, 0)


def test_the_panel_is_one_query_and_its_parts_make_its_whole(acme_events):
    with CaptureQueriesContext(connection) as queries:
        summary = summary_of(acme_events)

    assert len(queries) == 1
    for rows in (summary.providers, summary.models):
        for name in ("calls", "tokens", "usd_calls", "unpriced_calls", "unknown_calls", "hidden_calls"):
            assert sum(getattr(row.totals, name) for row in rows) == getattr(summary.month, name)
        assert sum(row.totals.cost_nanousd or 0 for row in rows) == summary.month.cost_nanousd
    assert (summary.week_first_day, summary.month_first_day) == (
        TODAY - timedelta(days=6),
        TODAY - timedelta(days=29),
    )


def test_an_organization_without_calls_has_spent_nothing(acme):
    totals = summary_of(acme).week

    assert (totals.calls, totals.tokens, totals.cost_nanousd) == (0, 0, 0)
    assert summary_of(acme).providers == ()
    assert ask(action_averages, acme) == {}
    assert summary_of(acme).chart is None


@pytest.mark.parametrize("fields", [{"mode": Mode.MANAGED, "cost_nanousd": CENT}, {"cost_nanousd": None}])
def test_a_cost_that_is_hidden_or_unknown_is_none_and_never_zero(acme, fields):
    event(acme, output_tokens=1200, **fields)

    assert summary_of(acme).week.cost_nanousd is None
    assert ask(action_averages, acme)["candidate_check"].average_cost_nanousd is None
    chart = summary_of(acme).chart
    assert chart is not None
    assert (chart.unit, chart.total) == ("tokens", "1,200")


def test_a_known_cost_of_nothing_is_zero(acme):
    event(acme, cost_nanousd=0, output_tokens=5)

    assert summary_of(acme).week.cost_nanousd == 0


def test_a_run_costs_what_its_calls_cost(acme, globex):
    run, nothing = uuid.uuid4(), uuid.uuid4()
    event(acme, run_id=run, cost_nanousd=3, output_tokens=10, price_source=Source.PROVIDER)
    event(acme, run_id=run, iteration=2, cost_nanousd=4, uncached_input_tokens=5, price_source=Source.PROVIDER)
    event(globex, run_id=run, cost_nanousd=90)

    assert run_cost(organization=acme, run_id=run) == RunCost(
        calls=2,
        tokens=15,
        cost_nanousd=7,
        unpriced_calls=0,
        mode=Mode.BYOK,
        is_reported=True,
        is_hidden=False,
    )
    event(acme, run_id=run, iteration=3, cost_nanousd=None)
    later = run_cost(organization=acme, run_id=run)
    assert (later.cost_nanousd, later.unpriced_calls) == (7, 1)
    assert run_cost(organization=acme, run_id=nothing) == RunCost(
        calls=0, tokens=0, cost_nanousd=None, unpriced_calls=0, mode=None, is_reported=False, is_hidden=False
    )


def test_a_managed_run_hides_its_usd_and_many_runs_take_one_query(acme):
    managed = event(acme, mode=Mode.MANAGED, cost_nanousd=8, output_tokens=3)
    estimated = event(acme, cost_nanousd=5)

    with CaptureQueriesContext(connection) as queries:
        costs = run_costs(organization=acme, run_ids=[managed.run_id, estimated.run_id])

    assert len(queries) == 1
    assert (costs[managed.run_id].cost_nanousd, costs[managed.run_id].is_hidden) == (None, True)
    assert (costs[estimated.run_id].cost_nanousd, costs[estimated.run_id].is_reported) == (5, False)
    shown = run_cost(organization=acme, run_id=managed.run_id, show_managed_usd=True)
    assert (shown.cost_nanousd, shown.mode, shown.is_hidden) == (8, Mode.MANAGED, False)


def test_the_tail_can_be_found_by_index_however_many_events_are_rolled_up(acme, globex):
    for _ in range(50):
        event(acme)
        event(globex)
    roll_up(now=NOON)
    event(acme)

    with CaptureQueriesContext(connection) as queries:
        assert summary_of(acme).week.calls == 51
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Which index is taken is the planner's choice, by the figures of a table with many rows.
            indexes = connection.introspection.get_constraints(cursor, UsageEvent._meta.db_table)
            assert '"usage_usageevent"."ingest_position" BETWEEN ' in query["sql"]
            assert indexes["usage_event_tail"]["columns"] == ["organization_id", "ingest_position"]
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
            assert "rowid>? AND rowid<?)" in plan
