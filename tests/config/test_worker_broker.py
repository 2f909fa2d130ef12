"""Who holds which task, and when a dead cluster's tasks are free for others."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from config.models import HeldTask, WorkerCluster
from config.worker import broker as brokers
from config.worker import heartbeat
from config.worker.board import Board
from config.worker.broker import Broker, is_probe
from config.worker.orphans import free_tasks_of
from organizations import clock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings, monkeypatch) -> None:
    settings.KEYFARE_WORK_LATE_SECONDS = 30
    monkeypatch.setattr("django_q.conf.Conf.POLL", 0)
    monkeypatch.setattr(brokers, "LOOK_FOR_ORPHANS_EVERY_SECONDS", 0)


def cluster(workers: int = 8) -> Broker:
    """The broker of a cluster that has begun, with workers that wait for work."""
    broker = Broker()
    broker.serve(uuid4(), Board(workers))
    (probe,) = broker.dequeue()
    assert is_probe(probe[0])
    broker.board.take(0, probe[0])
    broker.board.rest(0)
    broker.acknowledge(probe[0])
    return broker


def enqueue(number: int) -> int:
    """A task of ours that waits for no other one."""
    function = "providers.tasks.validate_key"
    task = {"id": str(number), "name": "x", "func": function, "args": (number,), "kwargs": {}, "started": clock.now()}
    return Broker().enqueue(SignedPackage.dumps(task))


def take(broker: Broker) -> int | None:
    """The next task, taken up by the first worker that rests."""
    handed = broker.dequeue()
    if not handed:
        return None
    slot = next(slot for slot in range(broker.board.workers) if not broker.board.is_busy(slot))
    broker.board.take(slot, handed[0][0])
    return handed[0][0]


def beaten(broker: Broker, *, seconds_ago: float) -> None:
    WorkerCluster.objects.filter(pk=broker.cluster).update(beat_at=timezone.now() - timedelta(seconds=seconds_ago))


def test_tasks_are_handed_out_oldest_first_and_the_note_says_who_has_them():
    mine, yours = cluster(), cluster()
    first, second, third = enqueue(1), enqueue(2), enqueue(3)

    assert [take(mine), take(yours), take(mine)] == [first, second, third]

    assert set(HeldTask.objects.values_list("task", "cluster")) == {
        (first, mine.cluster),
        (second, yours.cluster),
        (third, mine.cluster),
    }


@pytest.mark.parametrize("ending", ["acknowledge", "fail"])
def test_the_end_of_a_task_takes_the_note_with_it(ending):
    broker = cluster()
    task = enqueue(1)
    take(broker)

    getattr(broker, ending)(task)

    assert not OrmQ.objects.exists()
    assert not HeldTask.objects.exists()


def test_no_task_leaves_the_table_while_all_workers_are_busy():
    broker = cluster(workers=1)
    first, second = enqueue(1), enqueue(2)

    assert take(broker) == first
    assert broker.dequeue() == []
    broker.board.rest(0)
    assert take(broker) == second


def test_a_task_that_no_worker_has_picked_up_yet_is_waited_for():
    broker = cluster()
    enqueue(1), enqueue(2)

    assert broker.dequeue()
    assert broker.dequeue() == []


def test_one_that_is_never_picked_up_does_not_hold_up_the_others(monkeypatch):
    broker = cluster()
    enqueue(1), enqueue(2)
    monkeypatch.setattr(brokers, "PICKED_UP_WITHIN_SECONDS", 0)

    assert broker.dequeue()
    assert broker.dequeue()


def test_a_cluster_that_is_told_to_stop_hands_out_nothing_more():
    broker = cluster()
    enqueue(1)

    broker.board.stop()

    assert broker.dequeue() == []


def test_the_tasks_of_a_cluster_that_ended_are_free_at_once_and_those_of_others_are_not():
    mine, dead, living = cluster(), cluster(), cluster()
    first, second = enqueue(1), enqueue(2)
    assert [take(dead), take(living)] == [first, second]

    heartbeat.note_stopped(dead.cluster)

    assert take(mine) == first
    assert take(mine) is None
    assert HeldTask.objects.get(pk=first).cluster_id == mine.cluster
    assert HeldTask.objects.get(pk=second).cluster_id == living.cluster


def test_a_cluster_without_any_sign_of_life_is_dead_when_another_one_has_seen_it_silent_for_a_while(monkeypatch):
    mine, silent = cluster(), cluster()
    task = enqueue(1)
    take(silent)
    beaten(silent, seconds_ago=31)
    now = time.monotonic()

    assert take(mine) is None  # it may be the database that was away, and everybody's beats with it
    monkeypatch.setattr("config.worker.orphans.monotonic", lambda: now + 10)

    assert take(mine) == task
    assert WorkerCluster.objects.get(pk=silent.cluster).stopped_at is not None


def test_a_cluster_that_beats_again_after_the_database_was_away_keeps_its_tasks(monkeypatch):
    mine, slow = cluster(), cluster()
    enqueue(1)
    take(slow)
    now = time.monotonic()
    for passed in range(0, 60, 5):
        beaten(slow, seconds_ago=40 - passed / 60)  # each look finds a newer beat, though a late one
        monkeypatch.setattr("config.worker.orphans.monotonic", lambda: now + passed)  # noqa: B023

        assert take(mine) is None


def test_a_silent_cluster_is_not_dead_before_its_time(monkeypatch):
    mine, slow = cluster(), cluster()
    enqueue(1)
    take(slow)
    beaten(slow, seconds_ago=20)
    now = time.monotonic()

    assert take(mine) is None
    monkeypatch.setattr("config.worker.orphans.monotonic", lambda: now + 10)
    assert take(mine) is None


def test_tasks_are_taken_by_the_clock_of_the_database(monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(2040, 1, 1, tzinfo=UTC))
    task = enqueue(1)  # by a web server whose clock is years ahead
    monkeypatch.undo()
    monkeypatch.setattr("django_q.conf.Conf.POLL", 0)

    broker = cluster()

    assert take(broker) == task


def test_a_failing_task_is_not_tried_again_before_django_q2_says_so():
    broker = cluster()
    enqueue(1)
    take(broker)
    broker.board.rest(0)

    assert take(broker) is None


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs several writers")
@pytest.mark.django_db(transaction=True)
def test_several_clusters_at_once_run_each_task_of_a_dead_one_once():
    dead = cluster(workers=30)
    tasks = [enqueue(number) for number in range(20)]
    assert [take(dead) for _ in tasks] == tasks
    living = [cluster(workers=30) for _ in range(4)]
    heartbeat.note_stopped(dead.cluster)
    taken: list[int] = []
    begin = threading.Barrier(len(living))

    def serve(broker: Broker) -> None:
        begin.wait()
        for _ in range(60):
            if (task := take(broker)) is not None:
                taken.append(task)
        connections.close_all()

    threads = [threading.Thread(target=serve, args=[broker]) for broker in living]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == tasks


def test_freeing_the_same_cluster_twice_leaves_alone_what_another_took_meanwhile():
    mine, dead = cluster(), cluster()
    task = enqueue(1)
    take(dead)
    heartbeat.note_stopped(dead.cluster)
    assert take(mine) == task

    assert free_tasks_of(dead.cluster) == 0

    assert HeldTask.objects.get(pk=task).cluster_id == mine.cluster
