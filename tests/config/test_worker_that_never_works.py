"""A worker that is started again and again and gets nothing done shows no sign of life, each start notwithstanding."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection
from django_q.conf import Conf

from config.models import WorkerCluster
from config.worker import alarm, heartbeat
from tests.config import worker_processes
from tests.config.worker_processes import Database, running

WITHOUT_HANDS = "from config.worker import cluster; cluster._work = lambda *_: __import__('time').sleep(600)\n"


@pytest.fixture(autouse=True)
def _tasks_wait_for_a_worker(monkeypatch):
    monkeypatch.setattr(Conf, "SYNC", False)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="another process sees no database in memory")
@pytest.mark.django_db(transaction=True)
def test_the_start_of_its_processes_is_no_sign_of_life(tmp_path, monkeypatch):
    begin = "django.setup()\n"
    monkeypatch.setattr(worker_processes, "START", worker_processes.START.replace(begin, begin + WITHOUT_HANDS))
    quick = {"KEYFARE_WORKER_PROBE_SECONDS": "20", "KEYFARE_WORKER_SILENCE_SECONDS": "8"}
    with running(Database(tmp_path), **quick) as worker:
        worker.find()

        assert WorkerCluster.objects.count() == 2
        assert alarm.stop_of_work() == alarm.Stop()


@pytest.mark.django_db
def test_work_has_stopped_since_the_last_cluster_that_worked(settings):
    settings.KEYFARE_WORK_LATE_SECONDS = 90
    worked = uuid4()
    heartbeat.beat(worked)
    last = heartbeat.ago(heartbeat.late_after() * 2)
    WorkerCluster.objects.filter(pk=worked).update(started_at=last, beat_at=last)
    heartbeat.note_started(uuid4())

    stop = alarm.stop_of_work()

    assert stop
    assert stop.since == WorkerCluster.objects.get(pk=worked).beat_at
    heartbeat.beat(WorkerCluster.objects.exclude(pk=worked).get().pk)
    assert alarm.stop_of_work() is None
