"""Writers and aggregators at the same time, on a database that lets them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from gateway.sweeping import sweep_lost_calls
from tests.usage.conftest import KEY, NOON, TODAY, daily_table, event, record_call, roll_up
from usage import rollups
from usage.cells import read_cells, totals
from usage.facts import Admission, CallFacts
from usage.metering import Finished, admit_call, record_calls
from usage.models import Mode, RollupState, UsageEvent
from usage.rollups import NOTHING
from usage.tokens import Report, TokenUsage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def in_threads(*jobs: Callable[[], object]) -> list[threading.Thread]:
    def with_own_connection(job: Callable[[], object]) -> None:
        try:
            job()
        finally:
            connection.close()

    threads = [threading.Thread(target=with_own_connection, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


@contextmanager
def open_transaction(work: Callable[[], object]):
    """`work` done in a transaction that stays open inside the block and is committed by its end."""
    done, go_on = threading.Event(), threading.Event()

    def job() -> None:
        with transaction.atomic():
            work()
            done.set()
            assert go_on.wait(20)

    (thread,) = in_threads(job)
    assert done.wait(20)
    yield
    go_on.set()
    thread.join()


def totals_of(organization, *, days: int = 7):
    return totals(read_cells(organization, TODAY, days, "mode"), show_managed_usd=False)


def calls_in_rollup() -> int:
    return sum(row["calls"] for row in daily_table().values())


def test_an_event_of_a_transaction_open_during_the_rollup_is_not_lost(acme):
    with open_transaction(lambda: event(acme, model="slow", cost_nanousd=5)):
        event(acme, model="quick", cost_nanousd=7)
        rollups.roll_up(now=NOON)  # may not count "quick" yet; must not go past "slow"
        assert totals_of(acme).calls == 1
    roll_up(now=NOON)

    assert {key[3]: row["calls"] for key, row in daily_table().items()} == {"slow": 1, "quick": 1}
    totals = totals_of(acme)
    assert (totals.calls, totals.cost_nanousd) == (2, 12)


def test_a_second_aggregator_leaves_while_the_first_is_at_it(acme):
    event(acme)
    roll_up(now=NOON)
    event(acme)

    with open_transaction(lambda: list(RollupState.objects.select_for_update())):
        assert roll_up(now=NOON) == NOTHING
    assert roll_up(now=NOON).events == 1


def test_eight_writers_and_two_aggregators_count_each_event_once(acme, globex):
    writers_done = threading.Event()
    mismatches: list[str] = []

    def write(organization, number):
        def job() -> None:
            for at in range(40):
                with transaction.atomic():
                    event(organization, model=f"model-{at % 3}", cost_nanousd=at, output_tokens=number)
                    if at % 5 == 0:
                        event(organization, day=TODAY - timedelta(days=at), cost_nanousd=None)

        return job

    def aggregate() -> None:
        while not writers_done.is_set():
            rollups.roll_up(now=NOON)

    def read() -> None:
        seen = 0
        while not writers_done.is_set():
            calls = totals_of(acme, days=60).calls
            if calls < seen:
                mismatches.append(f"{calls} after {seen}")
            seen = calls

    aggregators = in_threads(aggregate, aggregate, read)
    for writer in in_threads(*(write([acme, globex][number % 2], number) for number in range(8))):
        writer.join()
    writers_done.set()
    for aggregator in aggregators:
        aggregator.join()
    roll_up(now=NOON)

    assert not mismatches
    assert calls_in_rollup() == UsageEvent.objects.count() == 8 * 48
    assert sum(row["cost_nanousd"] for row in daily_table().values()) == 8 * sum(range(40))
    assert sum(row["output_tokens"] for row in daily_table().values()) == 40 * sum(range(8))
    assert sum(row["unpriced_calls"] for row in daily_table().values()) == 8 * 8


def test_one_call_recorded_by_many_at_once_is_one_event(acme):
    call = admit_call(
        organization_id=acme.pk,
        facts=CallFacts("openai", "gpt-4o", "candidate_check", KEY, "Default", Mode.BYOK),
        run_id=uuid.uuid4(),
        iteration=1,
        now=NOON,
        deadline_at=NOON + timedelta(seconds=1),
    )
    found: list[int] = []

    def record() -> None:
        usage = TokenUsage(uncached_input=10, output=1)
        found.append(record_call(call=call, status=UsageEvent.Status.ANSWERED, now=NOON, report=Report(usage=usage)).pk)

    for thread in in_threads(*[record] * 6):
        thread.join()

    assert len(found) == 6
    assert len(set(found)) == 1
    assert UsageEvent.objects.count() == 1
    assert sweep_lost_calls(now=NOON + timedelta(hours=1)) == 0


def test_many_calls_are_written_while_others_write_one_of_them(acme):
    """A lost call has no admission any more, at which two who record it would wait for one another."""

    def admit() -> Admission:
        facts = CallFacts("openai", "gpt-4o", "candidate_check", KEY, "Default", Mode.BYOK)
        deadline = NOON + timedelta(seconds=1)
        return admit_call(
            organization_id=acme.pk, facts=facts, run_id=uuid.uuid4(), iteration=1, now=NOON, deadline_at=deadline
        )

    def record(*calls: Admission) -> None:
        found.extend(record_calls([Finished(call, UsageEvent.Status.FAILED, 1) for call in calls]))

    lost, one, another = admit(), admit(), admit()
    assert sweep_lost_calls(now=NOON + timedelta(hours=1)) == 3
    found: list[Any] = []

    with open_transaction(lambda: record(one, lost)):
        (second,) = in_threads(lambda: record(lost, another))
        second.join(0.3)  # at the event of the lost call
    second.join()

    assert [event.call_id for event in found] == [
        uuid.uuid5(each.id, "ended after all") for each in (one, lost, lost, another)
    ]
    assert UsageEvent.objects.count() == 3 + 3
