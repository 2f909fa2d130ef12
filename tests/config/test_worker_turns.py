"""Whose turn it is: nobody's tasks take all the workers."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from django.conf import settings
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from candidates.tasks import TIME_BUDGET_SECONDS
from config.own_tasks import LANES, Lane
from config.worker.turns import Running, Turn, choose, turn_of
from tests.config.test_worker_broker import cluster, take

DRAFT, VALIDATION = "candidates.tasks.draft_briefing", "providers.tasks.validate_key"
CHECKS, JOB = "candidates.tasks.run_checks", "config.schedules.run"
WORKERS = settings.Q_CLUSTER["workers"]
_ids = count(1)


def payload(function: str, *arguments: object, of: str | None = None) -> str:
    number = next(_ids)
    task: dict[str, object] = {
        "id": str(number),
        "name": str(number),
        "func": function,
        "args": arguments,
        "kwargs": {},
        "started": timezone.now(),
        "group": of,
    }
    return str(SignedPackage.dumps(task))


def turn(function: str, *arguments: object, of: str | None = None) -> Turn:
    found = turn_of(payload(function, *arguments, of=of))
    assert found
    return found


class Workers:
    """A cluster on paper, in which every task runs until it is told to end."""

    def __init__(self, workers: int = WORKERS) -> None:
        self.workers = workers
        self.running: list[Running] = []
        self.waiting: dict[int, Turn] = {}
        self.served: dict[tuple[str, str], float] = {}

    def ask(self, function: str, *arguments: object, of: str | None = None) -> int:
        task: int = next(_ids)
        self.waiting[task] = turn(function, *arguments, of=of)
        return task

    def start_all(self) -> list[int]:
        """Hand out until nothing may start; the tasks that did."""
        started = []
        while free := self.workers - len(self.running):
            choice = choose(self.waiting.items(), self.running, free=free, served=self.served)
            for task in choice.doubled:
                del self.waiting[task]
            if choice.task is None:
                break
            chosen = self.waiting.pop(choice.task)
            self.running.append(Running(chosen, 0.0))
            self.served[chosen.line] = float(next(_ids))
            started.append(choice.task)
        return started

    def later(self, seconds: float) -> None:
        self.running = [Running(each.turn, each.seconds + seconds) for each in self.running]


def stuck_customers(workers: Workers, customers: int) -> None:
    """Each with ten validations and ten drafts, and checks, of a server that never answers."""
    for customer in range(customers):
        for number in range(10):
            workers.ask(VALIDATION, 1000 * customer + number, of=f"organization {customer}")
            workers.ask(DRAFT, 1000 * customer + number, of=f"organization {customer}")
        workers.ask(CHECKS)
    workers.ask(JOB, "validate_provider_keys", of="validate_provider_keys")


def test_an_organization_has_one_task_of_a_kind_under_way():
    workers = Workers(100)
    for number in range(10):
        workers.ask(VALIDATION, number, of="organization 1")
        workers.ask(DRAFT, number, of="organization 1")

    assert len(workers.start_all()) == 2


def test_whoever_was_served_longest_ago_comes_first():
    workers = Workers(1)
    first, second = (workers.ask(VALIDATION, number, of="organization 1") for number in range(2))
    other = workers.ask(VALIDATION, 9, of="organization 2")

    order = []
    while started := workers.start_all():
        order += started
        workers.running.clear()

    assert order == [first, other, second]


@pytest.mark.parametrize("customers", [1, 2])
@pytest.mark.parametrize("function", [VALIDATION, DRAFT])
def test_the_task_of_another_organization_starts_while_all_of_others_hang(customers, function):
    workers = Workers()
    stuck_customers(workers, customers)
    workers.start_all()

    task = workers.ask(function, 77, of="organization 77")

    assert task in workers.start_all()


@pytest.mark.parametrize("lane", Lane)
def test_every_lane_starts_however_many_tasks_of_the_others_hang(lane):
    workers = Workers()
    for function, its in LANES.items():
        for customer in range(20):
            if its is not lane:
                workers.ask(function, customer, of=f"organization {customer}")
    workers.start_all()
    function = next(function for function, its in LANES.items() if its is lane)

    task = workers.ask(function, 77, of="organization 77")

    assert task in workers.start_all()


def test_one_task_of_checks_takes_new_ones_at_a_time_and_the_next_one_finds_a_worker():
    workers = Workers()
    for customer in range(20):
        for function in (DRAFT, VALIDATION, JOB):
            workers.ask(function, customer, of=f"organization {customer}")
    first = workers.ask(CHECKS)
    assert first in workers.start_all()
    second = workers.ask(CHECKS)

    assert second not in workers.start_all()
    workers.later(TIME_BUDGET_SECONDS)  # its calls hang on

    assert second in workers.start_all()


def test_tasks_that_do_the_same_are_one():
    workers = Workers()
    workers.ask(CHECKS)
    workers.start_all()
    kept, *_ = [workers.ask(CHECKS) for _ in range(50)]
    drafts = [workers.ask(DRAFT, 1, of="organization 1") for _ in range(3)]

    assert workers.start_all() == [drafts[0]]
    assert list(workers.waiting) == [kept]


def test_a_task_that_is_asked_for_again_while_it_runs_is_not_lost():
    workers = Workers()
    workers.ask(DRAFT, 1, of="organization 1")
    workers.start_all()
    again = workers.ask(DRAFT, 1, of="organization 1")

    assert workers.start_all() == []
    workers.running.clear()
    assert workers.start_all() == [again]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_with_few_workers_everything_still_gets_its_turn(workers):
    few = Workers(workers)
    tasks = {few.ask(function, number, of=f"organization {number}") for function in LANES for number in range(3)}
    doubled = {task for task in tasks if few.waiting[task].lane is Lane.CHECKS}
    done: set[int] = set()
    for _ in range(100):
        done |= set(few.start_all())
        few.running = few.running[1:]

    assert done >= tasks - doubled
    assert len(done & doubled) == 1


@pytest.mark.parametrize("package", ["", "text", {"func": "os.system"}, {"func": ["a list"]}, None])
def test_what_is_no_task_of_ours_waits_for_nobody(package):
    assert turn_of(SignedPackage.dumps(package) if package else "no package") is None
    assert choose([(1, None)], [Running(turn(CHECKS), 0.0)], free=1, served={}).task == 1


# In the table ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_broker_hands_out_by_turns_and_deletes_what_is_asked_for_twice(monkeypatch):
    monkeypatch.setattr(Conf, "POLL", 0)
    broker = cluster(workers=WORKERS)
    stuck = [broker.enqueue(payload(VALIDATION, number, of="organization 1")) for number in range(3)]
    checks = [broker.enqueue(payload(CHECKS)) for _ in range(3)]
    other = broker.enqueue(payload(VALIDATION, 9, of="organization 2"))

    assert [take(broker) for _ in range(4)] == [stuck[0], other, checks[0], None]
    assert set(OrmQ.objects.values_list("pk", flat=True)) == {*stuck, other, checks[0]}


@pytest.mark.django_db
def test_what_waits_behind_its_own_kind_does_not_count_as_late(monkeypatch):
    monkeypatch.setattr(Conf, "POLL", 0)
    broker = cluster(workers=WORKERS)
    first, second, *_ = (broker.enqueue(payload(DRAFT, number, of="organization 1")) for number in range(3))
    hours_ago = timezone.now() - timedelta(hours=2)
    OrmQ.objects.update(lock=hours_ago)

    assert take(broker) == first
    assert take(broker) is None

    assert not OrmQ.objects.filter(lock__lt=timezone.now() - timedelta(minutes=1)).exists()
    broker.board.rest(0)
    broker.acknowledge(first)
    assert take(broker) == second  # its place in the line is the same
