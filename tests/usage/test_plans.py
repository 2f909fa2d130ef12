"""What keeps the pages of an organization with very many calls quick: which index finds the few rows that they show."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from routing.agents import create_agent
from tests.plans import SQLITE_KNOWS, analyze, have_sqlite_know, index_conditions, plans_of_what_is_asked
from tests.usage.conftest import NOON, TODAY, event, roll_up, unsaved_event
from usage.anatomy import of_run
from usage.cells import HOURLY, Grouping, read_cells, read_groupings
from usage.kinds import known_kinds, last_moments
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db
ASKED = [column for column in UsageEvent.KIND if column != "usage_reported"]  # which PostgreSQL may spell otherwise


@pytest.fixture
def many_calls(acme, globex) -> None:
    """Of two organizations, one a minute; the figures that the planner goes by are theirs."""
    UsageEvent.objects.bulk_create(
        unsaved_event(
            (acme, globex)[number % 2],
            occurred_at=NOON - timedelta(minutes=number),
            model=f"model-{number // 2 % 7}",
        )
        for number in range(3000)
    )
    analyze("usage_usageevent", "usage_rollupstate")


def test_what_is_not_rolled_up_is_found_by_its_position(acme, many_calls):
    with CaptureQueriesContext(connection) as queries:
        read_cells(acme, TODAY, 30, "mode")

    conditions = index_conditions(queries[0]["sql"])
    if connection.vendor == "postgresql":
        assert any("ingest_position >= (InitPlan" in condition for condition in conditions), conditions
        # With both ends, else it expects a third of all calls (usage/rollups.py).
        assert any("ingest_position <= " in condition for condition in conditions), conditions
    else:
        assert any("rowid>?" in condition for condition in conditions), conditions


def test_the_hours_of_an_organization_are_found_without_those_of_others(acme, many_calls):
    """However many others called in the same hours."""
    roll_up(now=NOON)
    analyze("usage_usagehourly")

    with CaptureQueriesContext(connection) as queries:
        read_groupings(acme, TODAY, TODAY, Grouping(("hour", "model")), source=HOURLY)

    conditions = index_conditions(queries[0]["sql"])
    found_by = (
        "(organization_id = " if connection.vendor == "postgresql" else "(organization_id=? AND hour>? AND hour<?"
    )
    assert any("usagehourly" in each or "one_usage_row_an_hour" in each for each in conditions)
    assert all(found_by in each for each in conditions if "usagehourly" in each or "one_usage_row_an_hour" in each), (
        conditions
    )


def statements_of(as_bob, query: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert as_bob.get(f"/o/acme/consumption/calls/?{query}").status_code == 200
    return [query["sql"] for query in queries if '"usage_usageevent"."latency_ms"' in query["sql"]]


def test_a_deep_page_begins_where_the_one_before_ended(as_bob, acme, many_calls):
    deep = UsageEvent.objects.for_organization(acme).latest_first()[1000]

    *_, page = statements_of(as_bob, f"before={deep.pk}")

    conditions = index_conditions(page, in_order=True)
    begins = "(occurred_at <= " if connection.vendor == "postgresql" else "occurred_at<?"
    assert any(begins in condition for condition in conditions), conditions


@pytest.mark.parametrize(
    "query", ["model=model-of-long-ago", "status=failed", "price=unpriced&mode=byok", "model=del-3"]
)
def test_the_calls_of_any_filter_are_found_without_passing_others(as_bob, acme, many_calls, query):
    event(acme, model="model-of-long-ago", status=UsageEvent.Status.FAILED, cost_nanousd=None)

    (page,) = statements_of(as_bob, query)

    by_kind = [condition for condition in index_conditions(page) if "usage_event_by_kind" in condition]
    same = "({column})::text = |({column} = " if connection.vendor == "postgresql" else "{column}=?"
    assert any(
        all(any(sign.format(column=column) in condition for sign in same.split("|")) for column in ASKED)
        for condition in by_kind
    ), by_kind


@pytest.mark.parametrize("page", ["calls", "runs"])
@pytest.mark.parametrize("query", ["token=7", "member=3", "label=team:red", f"key={uuid.UUID(int=9)}"])
def test_calls_by_whom_they_came_are_looked_for_on_their_days_and_among_their_kinds(
    as_bob, acme, many_calls, page, query
):
    asked = {"token_id": 7, "member_id": 3, "labels": {"team": "red"}, "key_id": uuid.UUID(int=9)}
    event(acme, occurred_at=NOON - timedelta(days=1), model="model-3", **asked)

    with CaptureQueriesContext(connection) as queries:
        found = as_bob.get(f"/o/acme/consumption/{page}/?{query}").context

    assert len(found["events" if page == "calls" else "runs"]) == 1
    (sql,) = [query["sql"] for query in queries if ") kind " in query["sql"]]
    by_kind = [condition for condition in index_conditions(sql) if "usage_event_by_kind" in condition]
    assert any("occurred_at" in condition and "model" in condition for condition in by_kind), by_kind


def test_kinds_are_found_step_by_step(acme, many_calls):
    with CaptureQueriesContext(connection) as queries:
        assert len(known_kinds(acme)) == 7

    steps = [condition for condition in index_conditions(queries[0]["sql"]) if "usage_event_by_kind" in condition]
    others = steps[1:]
    if connection.vendor == "postgresql":
        assert any("> ROW(" in step and "usage_reported" in step for step in others), steps
    else:
        assert len(others) == len(UsageEvent.KIND)
        assert all(">?)" in step for step in others), steps


def test_the_last_call_of_an_action_is_one_step_for_each_of_its_kinds(acme, globex, many_calls):
    event(acme, action="helper", occurred_at=NOON - timedelta(days=400))
    event(acme, action="helper", occurred_at=NOON - timedelta(days=300), status="failed")
    event(globex, action="helper", occurred_at=NOON)
    analyze("usage_usageevent", "usage_rollupstate")

    with CaptureQueriesContext(connection) as queries:
        moments = last_moments(acme)

    assert moments == {"candidate_check": NOON, "helper": NOON - timedelta(days=300)}
    (asked,) = queries
    by_kind = [line for line in index_conditions(asked["sql"]) if "usage_event_by_kind" in line]
    same = "({column})::text = |({column} = " if connection.vendor == "postgresql" else "{column}=?"
    assert any(
        all(any(sign.format(column=column) in line for sign in same.split("|")) for column in ASKED) for line in by_kind
    ), by_kind


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL counts by itself")
@pytest.mark.parametrize("known", SQLITE_KNOWS)
def test_sqlite_never_reads_all_calls_whatever_it_knows(as_bob, acme, many_calls, known):
    first, *_ = UsageEvent.objects.for_organization(acme)
    have_sqlite_know(known)

    create_agent(organization=acme, name="Helper", actor=None)
    filters = ("", "model=model-3", "status=lost", "day=2026-11-20&by=run", f"run={first.run_id}")
    for path in (*(f"consumption/calls/?{query}" for query in filters), "agents/"):
        with plans_of_what_is_asked() as asked:
            assert as_bob.get(f"/o/acme/{path}").status_code == 200

        of_everything = [
            (line, sql)
            for sql, plan in asked
            if 'FROM "usage_usageevent"' in sql
            for line in plan.splitlines()
            if "(organization_id=?)" in line or line.startswith("SCAN usage_usageevent")
        ]
        # In the order of an index up to where the page ends, and the first call of all.
        assert len(of_everything) == (2 if path == "consumption/calls/?" else 1), of_everything
        for line, sql in of_everything:
            assert "usage_event_by_kind" in line if "RECURSIVE" in sql else "usage_event_by_time" in line, line


def test_what_calls_were_for_is_found_by_their_runs(as_bob, acme, many_calls):
    with plans_of_what_is_asked() as asked:
        as_bob.get("/o/acme/consumption/calls/")
    ((sql, plan),) = [(sql, plan) for sql, plan in asked if '"candidates_candidatecheck"."run_id" IN' in sql]

    assert connection.vendor == "postgresql" or "check_by_run (organization_id=? AND run_id=?)" in plan, plan
    assert "organizations_organization" not in sql


def test_the_calls_of_a_run_are_found_by_it_alone(acme, many_calls):
    run = UsageEvent.objects.for_organization(acme).latest("pk").run_id

    with CaptureQueriesContext(connection) as queries:
        assert of_run(acme, run, today=TODAY)

    by_run, *by_id = [index_conditions(query["sql"]) for query in queries if "usage_usageevent" in query["sql"]]
    assert any("usage_event_by_run" in condition and "run_id" in condition for condition in by_run), by_run
    for conditions in by_id:
        expected = "usage_usageevent_pkey: " if connection.vendor == "postgresql" else "INTEGER PRIMARY KEY (rowid=?)"
        assert any(expected in condition for condition in conditions), conditions
