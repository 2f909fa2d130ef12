"""The database's clock was an hour ahead and was set right: what was written before lies in the future."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F
from django_q.conf import Conf
from django_q.models import OrmQ

from config.models import HeldTask, WorkerCluster
from config.worker import alarm, heartbeat
from organizations import clock
from tests.config.test_worker_broker import cluster, take
from tests.config.test_worker_turns import payload

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tasks_wait_for_a_worker(monkeypatch):
    monkeypatch.setattr(Conf, "SYNC", False)
    monkeypatch.setattr(Conf, "POLL", 0)


def set_back() -> None:
    WorkerCluster.objects.update(beat_at=F("beat_at") + HOUR, started_at=F("started_at") + HOUR)
    OrmQ.objects.update(lock=F("lock") + HOUR)


def minutes_pass(minutes: int = 10) -> None:
    age = timedelta(minutes=minutes)
    WorkerCluster.objects.update(beat_at=F("beat_at") - age, started_at=F("started_at") - age)


def test_a_worker_that_died_before_is_missed_as_soon_as_any_other():
    heartbeat.beat(uuid4())
    set_back()
    assert alarm.stop_of_work() is None  # nobody knows since when it is silent

    minutes_pass()

    stop = alarm.stop_of_work()
    assert stop
    assert stop.since
    assert stop.since <= clock.now()


def test_a_worker_that_died_before_hides_no_other_one():
    heartbeat.beat(uuid4())
    set_back()
    live = uuid4()
    heartbeat.beat(live)
    assert alarm.stop_of_work() is None

    minutes_pass()
    assert alarm.stop_of_work()


def test_a_worker_that_lives_on_is_alive():
    live = uuid4()
    heartbeat.beat(live)
    set_back()

    heartbeat.beat(live)

    assert alarm.stop_of_work() is None
    assert WorkerCluster.objects.get().beat_at <= clock.now()


def test_a_task_that_waits_is_handed_out():
    broker = cluster()
    task = broker.enqueue(payload("candidates.tasks.run_checks"))
    set_back()

    assert take(broker) == task


def test_a_task_in_hand_stays_there_and_waits_no_longer_than_ever():
    ours, other = cluster(), cluster()
    task = ours.enqueue(payload("candidates.tasks.run_checks"))
    assert take(ours) == task
    set_back()

    assert take(other) is None
    assert HeldTask.objects.get().cluster_id == ours.cluster
    assert OrmQ.objects.get().lock <= clock.now() + timedelta(seconds=Conf.RETRY)


def test_the_tasks_of_a_dead_cluster_are_freed(monkeypatch):
    dead, live = cluster(), cluster()
    task = dead.enqueue(payload("candidates.tasks.run_checks"))
    assert take(dead) == task
    set_back()
    assert live.orphans.free() == 0

    minutes_pass()
    assert live.orphans.free() == 0  # late now, but not for as long as this cluster has watched it
    monkeypatch.setattr("config.worker.orphans.monotonic", lambda: time.monotonic() + 60)

    assert live.orphans.free() == 1
    assert take(live) == task
