"""Calls that are recorded by one statement stand in the books as those that are recorded step by step."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction

from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from tests.served import wait_until
from tests.usage.conftest import KEY, NOON
from usage import metering
from usage.facts import Admission, CallFacts
from usage.metering import Finished, admit_calls, record_calls
from usage.models import InFlightCall, Mode, UsageEvent, UsageRun
from usage.tokens import Report, TokenUsage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

Status = UsageEvent.Status
SHOWN = [
    field.attname
    for field in UsageEvent._meta.concrete_fields
    if field.name not in ("id", "ingest_position", "organization")
]
PRICED = Report(usage=TokenUsage(uncached_input=1000, output=200))
UNPRICED = Report()


def call(organization: Organization, number: int, **fields: Any) -> Admission:
    facts = CallFacts("openai", "gpt-4.1-mini", "bot", KEY, "Default", Mode.BYOK)
    call_id = uuid.UUID(int=number)
    known: dict[str, Any] = {
        "id": call_id,
        "run_id": call_id,
        "iteration": 1,
        "started_at": NOON,
        "deadline_at": NOON + timedelta(hours=1),
    }
    return Admission(organization_id=organization.pk, facts=facts, **(known | fields))


def ended(admission: Admission, report: Report = PRICED, status: Status = Status.ANSWERED) -> Finished:
    return Finished(call=admission, status=status, latency_ms=5, report=report, http_status=200)


def books(organization: Organization) -> tuple[list[Any], list[Any], set[Any]]:
    events = UsageEvent.objects.filter(organization=organization).order_by("call_id")
    runs = UsageRun.objects.filter(organization=organization).order_by("run_id")
    return (
        list(events.values(*SHOWN)),
        list(runs.values("run_id", "action", "part", "started_at", "first_call_id", "is_priced", "is_incomplete")),
        set(InFlightCall.objects.filter(organization=organization).values_list("id", flat=True)),
    )


@pytest.mark.parametrize("seed", range(12))
def test_any_history_of_calls_comes_to_the_same_books(acme, globex, seed, monkeypatch):
    """As one statement for Acme, and for Globex step by step in a transaction."""

    def history(organization: Organization) -> list[list[Any]]:
        """Batches; calls may be admitted with the ends of others, end twice, or after they were counted as lost."""
        draw = random.Random(seed)
        calls = [
            call(
                organization,
                number,
                run_id=uuid.UUID(int=draw.choice((number + 500, number + 500, number + 500, 99))),
                iteration=draw.choice((1, 1, 1, 2)),
                attempt=draw.choice((1, 1, 1, 2)),
            )
            for number in range(1, 30)
        ]
        batches: list[list[Any]] = []
        for each in calls:
            batches.append([each])
            if draw.random() < 0.2:
                batches.append([ended(each, UNPRICED, Status.LOST)])
            for _ in range(draw.choice((1, 1, 1, 2))):
                batches.append([ended(each, draw.choice((PRICED, UNPRICED)))])
        for _ in range(draw.randrange(40)):
            at = draw.randrange(1, len(batches))
            batches[at - 1] += batches.pop(at)
        return batches

    def write(batch: list[Any]) -> None:
        admitted = [each for each in batch if isinstance(each, Admission)]
        record_calls([each for each in batch if isinstance(each, Finished)], admitted=admitted)

    for batch in history(acme):
        write(batch)
    with monkeypatch.context() as patched:
        patched.setattr(metering, "record_at_once", None)  # is not to be called
        for batch in history(globex):
            with transaction.atomic():
                write(batch)

    assert books(acme) == books(globex)
    assert books(acme)[0]


def test_one_statement_writes_what_is_admitted_and_what_ended(acme, globex, django_assert_num_queries):
    ending = [call(acme, 1), call(globex, 2)]
    admit_calls(ending)

    with django_assert_num_queries(0):  # it goes by the psycopg cursor itself, so that PostgreSQL plans it once
        events = record_calls([ended(each) for each in ending], admitted=[call(acme, 3)])

    assert [event.call_id for event in events] == [each.id for each in ending]
    assert set(UsageEvent.objects.values_list("call_id", flat=True)) == {each.id for each in ending}
    assert [each.id for each in InFlightCall.objects.all()] == [uuid.UUID(int=3)]


def test_where_one_cannot_be_written_none_is_and_nothing_of_it_stays(acme):
    ending = [call(acme, 1), call(acme, 2)]
    admit_calls(ending)
    unknown = replace(call(acme, 3), organization_id=acme.pk + 10**6)

    with pytest.raises(IntegrityError):
        record_calls([ended(each) for each in ending], admitted=[unknown])

    assert not UsageEvent.objects.exists()
    assert not UsageRun.objects.exists()
    assert InFlightCall.objects.count() == 2
    assert not connection.in_atomic_block


def test_what_is_written_twice_stands_in_the_books_once(acme):
    """As where the connection is lost after the first time, before anybody is told."""
    ending, beginning = call(acme, 1), call(acme, 2)
    admit_calls([ending])

    for _ in range(2):
        record_calls([ended(ending)], admitted=[beginning])

    assert [event.call_id for event in UsageEvent.objects.all()] == [ending.id]
    assert [each.id for each in InFlightCall.objects.all()] == [beginning.id]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="On SQLite one writes after the other.")
def test_two_who_begin_the_same_runs_wait_for_one_another(acme):
    """Whatever the order of the calls: none may hold the later run while it waits for the earlier one."""
    runs = [uuid.UUID(int=number) for number in (500, 501)]
    ours = [call(acme, number, run_id=run_id) for number, run_id in enumerate(runs, 1)]
    theirs = [call(acme, number, run_id=run_id) for number, run_id in enumerate(reversed(runs), 3)]
    admit_calls([*ours, *theirs])
    pids: list[int] = []

    def they() -> None:
        with scope(EVERY, "another process"):
            connection.ensure_connection()
            pids.append(connection.connection.info.backend_pid)
            record_calls([ended(each) for each in theirs])
        connections.close_all()

    def they_wait() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_blocking_pids(%s) <> '{}'", [pids[0] if pids else 0])
            return bool(cursor.fetchone()[0])

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            record_calls([ended(ours[0])])
            writing = threads.submit(they)
            wait_until(they_wait)
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '1s'")
            record_calls([ended(ours[1])])
        writing.result()

    assert UsageEvent.objects.filter(counts_run=True).count() == UsageRun.objects.count() == 2
    assert UsageEvent.objects.count() == 4
