"""Runs are counted once, on the day of their first call, with all they cost; compared with a slow truth."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from gateway.sweeping import sweep_lost_calls
from tests.usage.conftest import NOON, TODAY, rebuild, record_call, roll_up, start_rollup_anew
from tests.usage.test_concurrency import in_threads
from usage.averages import action_averages
from usage.cells import add_up, read_cells
from usage.cost_panel import cost_summary
from usage.metering import Finished, record_calls
from usage.models import UsageDaily, UsageEvent, UsageRun
from usage.tokens import Report, TokenUsage

pytestmark = pytest.mark.django_db(transaction=True)

Status = UsageEvent.Status
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
MEASURES = ("runs", "priced_runs", "partly_priced_runs", "run_cost_nanousd", "run_tokens", "run_unreported_calls")


@pytest.fixture
def called(admit):
    """A call of a run that left at a time and was recorded; it cost `cost` nano-USD, or nobody knows (None)."""

    def call(run, *, at=NOON, cost: int | None = 5, tokens: int | None = 10, iteration=1, **fields):
        admitted = admit(run_id=run, iteration=iteration, now=at, deadline_at=at + timedelta(seconds=1), **fields)
        return answer(admitted, cost=cost, tokens=tokens)

    return call


def answer(admitted, *, cost: int | None = 5, tokens: int | None = 10, status=Status.ANSWERED):
    report = Report(usage=None if tokens is None else TokenUsage(uncached_input=tokens), cost_nanousd=cost)
    return record_call(call=admitted, status=status, now=admitted.started_at, report=report)


def by_day(measures: Iterable[str] = ("runs", "priced_runs", "run_cost_nanousd", "run_tokens")) -> dict[date, tuple]:
    """What the rollup says of runs, and the live reading says the same before it."""
    roll_up(now=NOON)
    found: dict[date, list[int]] = {}
    for row in UsageDaily.objects.all():
        sums = found.setdefault(row.day, [0] * len(tuple(measures)))
        for at, name in enumerate(measures):
            sums[at] += getattr(row, name)
    return {day: tuple(sums) for day, sums in found.items() if any(sums)}


def averages(organization, **more):
    return action_averages(organization=organization, today=TODAY, show_managed_usd=False, **more)


def test_a_worker_that_dies_between_two_calls_and_begins_anew_is_one_run(called, acme):
    run = uuid.uuid4()
    called(run, iteration=1)
    called(run, iteration=1, at=NOON + timedelta(minutes=5))  # the worker that took over counts from 1
    called(run, iteration=2, at=NOON + timedelta(minutes=6))

    assert by_day() == {TODAY: (1, 1, 15, 30)}
    assert averages(acme)["candidate_check"].average_cost_nanousd == 15


def test_a_lost_call_that_ends_after_all_is_one_run(admit, acme):
    call = admit(deadline_at=NOON)
    sweep_lost_calls(now=NOON + timedelta(minutes=1))
    answer(call)

    assert by_day() == {TODAY: (1, 1, 5, 10)}
    # What the lost one cost is not known for all that: the provider may have billed it twice.
    assert averages(acme)["candidate_check"].partly_priced_runs == 1


def test_each_action_of_a_run_is_counted(called, acme):
    run = uuid.uuid4()
    called(run, action="profile_research", cost=7)
    called(run, cost=None, tokens=None)
    called(run, cost=9, iteration=2)

    found = averages(acme)
    assert (found["profile_research"].priced_runs, found["profile_research"].average_cost_nanousd) == (1, 7)
    assert (found["candidate_check"].priced_runs, found["candidate_check"].average_cost_nanousd) == (1, 9)
    assert (found["candidate_check"].runs, found["candidate_check"].partly_priced_runs) == (1, 1)


def test_calls_of_two_organizations_share_no_run(called, globex, acme):
    run = uuid.uuid4()
    called(run)
    called(run, organization=globex)

    assert by_day() == {TODAY: (2, 2, 10, 20)}


def test_a_run_belongs_to_the_day_of_its_first_call_and_its_calls_to_their_own(called, acme):
    run = uuid.uuid4()
    called(run, at=MIDNIGHT - timedelta(seconds=30), cost=100, tokens=1)
    called(run, at=MIDNIGHT + timedelta(seconds=30), cost=20, tokens=2, iteration=2)

    live = [add_up(read_cells(acme, day, 1, "mode")) for day in (TODAY - DAY, TODAY)]
    assert by_day() == {TODAY - DAY: (1, 1, 120, 3)}
    assert dict(UsageDaily.objects.values_list("day", "cost_nanousd")) == {TODAY - DAY: 100, TODAY: 20}
    assert live == [add_up(read_cells(acme, day, 1, "mode")) for day in (TODAY - DAY, TODAY)]
    assert UsageEvent.objects.get(iteration=2).run_day == TODAY - DAY


def test_a_call_that_left_before_the_one_that_was_recorded_first_joins_its_day(admit):
    run = uuid.uuid4()
    slow = admit(run_id=run, now=MIDNIGHT - timedelta(seconds=5))
    answer(admit(run_id=run, now=MIDNIGHT + timedelta(seconds=5)))
    answer(slow)

    assert by_day() == {TODAY: (1, 1, 10, 20)}


def test_at_the_edge_of_thirty_days_a_run_is_in_or_out_with_all_it_cost(called, acme):
    first = datetime(2026, 10, 23, tzinfo=UTC)  # the first of the thirty days
    out, inside = uuid.uuid4(), uuid.uuid4()
    called(out, at=first - timedelta(seconds=1), cost=1000)
    called(out, at=first + timedelta(seconds=1), cost=1000, iteration=2)
    called(inside, at=first + timedelta(seconds=1), cost=3)

    for _ in ("live", "rolled up"):
        found = averages(acme)["candidate_check"]
        assert (found.runs, found.priced_runs, found.average_cost_nanousd, found.average_tokens) == (1, 1, 3, 10)
        # The provider's bill of these days holds the second call of the other run, too.
        month = cost_summary(organization=acme, today=TODAY, show_managed_usd=False).month
        assert (month.calls, month.cost_nanousd) == (2, 1003)
        roll_up(now=NOON)


def test_an_action_whose_runs_all_began_before_the_period_has_no_averages(called, acme):
    run = uuid.uuid4()
    called(run, at=datetime(2026, 10, 22, 23, 59, tzinfo=UTC))
    called(run, at=datetime(2026, 10, 23, 0, 1, tzinfo=UTC), iteration=2)

    assert averages(acme) == {}


def test_a_run_id_used_for_ever_is_counted_once_every_24_hours(called):
    run = uuid.uuid4()
    start = NOON - 3 * DAY
    for hours in (0, 1, 23.9, 24, 40, 47.9, 71):
        called(run, at=start + timedelta(hours=hours), cost=1, tokens=0)

    # Twelve o'clock on, each part on the day of its first call; 24 to 48 hours, and 48 to 72.
    assert by_day(("runs", "priced_runs", "run_cost_nanousd")) == {
        (start).date(): (1, 1, 3),
        (start + DAY).date(): (1, 1, 3),
        (start + timedelta(hours=71)).date(): (1, 1, 1),
    }
    assert list(UsageRun.objects.order_by("part").values_list("part", flat=True)) == [0, 1, 2]


def test_an_event_that_is_undone_counts_no_run(admit):
    call = admit()
    with transaction.atomic():
        answer(call)
        transaction.set_rollback(True)
    assert not UsageRun.objects.exists()

    assert answer(call).counts_run


def test_recording_a_call_again_counts_nothing_more(admit):
    call = admit()
    first = answer(call, cost=None, tokens=None)
    again = answer(call, cost=5)

    assert first == again
    assert not UsageRun.objects.get().is_priced
    assert by_day() == {TODAY: (1, 0, 0, 0)}


@pytest.mark.postgresql
def test_calls_side_by_side_count_their_run_once(admit, acme):
    for _ in range(5):
        run = uuid.uuid4()
        calls = [admit(run_id=run, iteration=at % 2 + 1, model="of no known price") for at in range(6)]
        for thread in in_threads(*(partial(answer, call, cost=[None, 3][at % 2]) for at, call in enumerate(calls))):
            thread.join()

    assert UsageEvent.objects.count() == 30
    assert by_day(MEASURES) == {TODAY: (5, 5, 5, 45, 300, 0)}


@pytest.mark.postgresql
def test_a_sweep_beside_a_worker_that_records_the_same_call_ends_without_deadlock(admit):
    for _ in range(10):
        call = admit(deadline_at=NOON - timedelta(hours=1))
        for thread in in_threads(partial(answer, call), partial(sweep_lost_calls, now=NOON)):
            thread.join()

    assert by_day()[TODAY][:2] == (10, 10)


def slow_truth(history: list[dict[str, Any]]) -> dict[tuple[str, date], tuple]:
    """The rule in plain Python, from the calls in the order they were recorded."""
    begun: dict[tuple, datetime] = {}
    parts: dict[tuple, dict[str, Any]] = {}
    for call in history:
        key = (call["organization"], call["action"], call["run"])
        start = begun.setdefault(key, call["at"])
        part = max(int((call["at"] - start).total_seconds() // 86400), 0)
        of_part = parts.setdefault((*key, part), {"day": call["at"].date(), "calls": []})
        of_part["calls"].append(call)
    found: defaultdict[tuple[str, date], list[int]] = defaultdict(lambda: [0] * len(MEASURES))
    for (organization, action, _, _), of_part in parts.items():
        calls = of_part["calls"]
        costs = [call["cost"] for call in calls]
        priced = any(cost is not None for cost in costs)
        figures = (
            1,
            int(priced),
            int(priced and None in costs),
            sum(cost or 0 for cost in costs),
            sum(call["tokens"] or 0 for call in calls),
            sum(call["tokens"] is None for call in calls),
        )
        sums = found[(f"{organization} {action}", of_part["day"])]
        for at, figure in enumerate(figures):
            sums[at] += figure
    return {key: tuple(sums) for key, sums in found.items()}


def rolled_up_truth() -> dict[tuple[str, date], tuple]:
    found: defaultdict[tuple[str, date], list[int]] = defaultdict(lambda: [0] * len(MEASURES))
    for row in UsageDaily.objects.select_related("organization"):
        sums = found[(f"{row.organization.slug} {row.action}", row.day)]
        for at, name in enumerate(MEASURES):
            sums[at] += getattr(row, name)
    return {key: tuple(sums) for key, sums in found.items() if any(sums)}


@pytest.mark.parametrize("seed", range(3))
def test_calls_recorded_many_at_once_count_as_they_do_one_by_one(admit, acme, globex, seed):
    chance = random.Random(seed)
    runs = [uuid.uuid4() for _ in range(6)]
    ended = [
        Finished(
            admit(
                organization=chance.choice([acme, globex]),
                run_id=chance.choice(runs),
                action=chance.choice(["candidate_check", "profile_research"]),
                iteration=chance.randrange(1, 4),
                now=NOON - timedelta(minutes=chance.randrange(4 * 24 * 60)),
                model="no such model",
            ),
            UsageEvent.Status.ANSWERED,
            latency_ms=1,
            report=Report(cost_nanousd=chance.choice([None, 5]), usage=TokenUsage(output=chance.randrange(1, 9))),
        )
        for _ in range(60)
    ]
    with transaction.atomic():
        singly = [counted(event) for each in ended for event in record_calls([each])]
        transaction.set_rollback(True)

    together = []
    while ended:
        batch = [ended.pop(0) for _ in range(min(chance.randrange(1, 20), len(ended)))]
        together += [counted(event) for event in record_calls(batch)]

    assert together == singly


def counted(event: Any) -> tuple[object, ...]:
    return event.counts_run, event.counts_priced_run, event.counts_partly_priced_run, event.run_day


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_calls_gives_what_the_slow_truth_gives(called, acme, globex, seed):
    chance = random.Random(seed)
    runs = [uuid.uuid4() for _ in range(6)]
    history = []
    for _ in range(60):
        call = {
            "run": chance.choice(runs),
            "action": chance.choice(["candidate_check", "profile_research"]),
            "organization": chance.choice([acme, globex]),
            "at": NOON - timedelta(minutes=chance.randrange(4 * 24 * 60)),
            "cost": chance.choice([None, None, chance.randrange(10**6)]),
            "tokens": chance.choice([None, chance.randrange(1, 500)]),
        }
        called(
            call["run"],
            at=call["at"],
            cost=call["cost"],
            tokens=call["tokens"],
            iteration=chance.randrange(1, 4),
            action=call["action"],
            organization=call["organization"],
            model="no such model",
            provider="openrouter",
        )
        history.append({**call, "organization": call["organization"].slug})
        if chance.random() < 0.1:
            roll_up(now=NOON)
    truth = slow_truth(history)

    for organization in (acme, globex):  # half of it live
        live = add_up(read_cells(organization, TODAY, 30, "mode"))
        whole = [figures for (who, _), figures in truth.items() if who.startswith(organization.slug)]
        assert [getattr(live, name) for name in MEASURES] == [sum(column) for column in zip(*whole, strict=True)]
    roll_up(now=NOON)
    assert rolled_up_truth() == truth
    start_rollup_anew()
    roll_up(now=NOON)
    assert rolled_up_truth() == truth
    rebuild(now=NOON)
    assert rolled_up_truth() == truth
