"""The worker in real processes: whichever is killed or stuck, work goes on, and all of them end when they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from django.conf import settings
from picklefield.fields import dbsafe_decode  # type: ignore[import-untyped]

from tests.config.worker_processes import WORKERS, Database, Worker, children, is_alive, running, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

IDLE_WORKERS = tuple(f"worker {number}" for number in range(WORKERS))
EVERYTHING = (*IDLE_WORKERS, "monitor", "pusher")


@pytest.fixture
def database(tmp_path) -> Database:
    return Database(tmp_path)


def start_sleeping(database: Database, worker: Worker, seconds: float, names: tuple[str, ...]) -> None:
    """Give each worker a task, and wait until they are at it."""
    for name in names:
        database.enqueue(name, "time.sleep", seconds)
    wait_for(lambda: len(database.holders()) == len(names), "the tasks to be taken")
    time.sleep(0.5)  # from the note to the worker's hands; nothing but the sharpness of the test depends on it


def all_gone(pids: list[int]) -> None:
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "the end of every process")


def test_work_goes_on_after_the_death_of_any_process(database):
    deaths = [
        ("worker 0",),
        IDLE_WORKERS,
        ("monitor",),
        ("pusher",),
        ("monitor", "pusher"),
        EVERYTHING,
        ("sentinel",),
        ("sentinel", *EVERYTHING),
    ]
    with running(database) as worker:
        for number, victims in enumerate(deaths):
            worker.send(signal.SIGKILL, victims)
            if "sentinel" in victims:
                worker.find()
            elif victims != EVERYTHING:
                worker.replaced(victims)
            name = f"after {number}"
            database.enqueue(name)
            wait_for(lambda: database.is_done(name), f"work after the death of {victims}")  # noqa: B023

        assert worker.terminate()[0] == 0


@pytest.mark.parametrize("stuck", [("monitor",), ("pusher",), IDLE_WORKERS, ("sentinel",)], ids=lambda who: who[0])
def test_a_cluster_that_is_stuck_is_killed_whole_and_started_anew(database, stuck):
    with running(database, KEYFARE_WORKER_SILENCE_SECONDS="5") as worker:
        before = list(worker.roles.values())
        worker.send(signal.SIGSTOP, stuck)
        database.enqueue("after")

        worker.find()
        all_gone(before)
        wait_for(lambda: database.is_done("after"), "work in the new cluster")

        assert database.times_done("after") == 1
        assert worker.terminate()[0] == 0


def test_a_cluster_whose_workers_are_all_busy_is_not_taken_for_stuck(database):
    with running(database, KEYFARE_WORKER_SILENCE_SECONDS="5") as worker:
        start_sleeping(database, worker, 10, IDLE_WORKERS)
        wait_for(lambda: all(database.is_done(name) for name in IDLE_WORKERS), "the long tasks")
        database.enqueue("after")
        wait_for(lambda: database.is_done("after"), "the next task")

        assert children(worker.process.pid) == [worker.roles["sentinel"]]
        assert database.clusters() == 1
        assert worker.terminate()[0] == 0


def test_the_tasks_of_a_cluster_that_died_run_again_in_the_next_one(database):
    with running(database) as worker:
        start_sleeping(database, worker, 3, IDLE_WORKERS)
        worker.send(signal.SIGKILL, ["sentinel"])
        worker.find()

        wait_for(lambda: all(database.is_done(name) for name in IDLE_WORKERS), "the tasks of the dead cluster")

        assert [database.times_done(name) for name in IDLE_WORKERS] == [1, 1]
        assert database.clusters() == 2


def test_the_task_of_a_worker_that_was_killed_waits_a_minute_not_fifteen(database):
    with running(database) as worker:
        start_sleeping(database, worker, 60, ("long",))
        worker.send(signal.SIGKILL, IDLE_WORKERS)

        wait_for(lambda: 0 < database.seconds_locked()[0] < 70, "the task to be free in a minute")


def test_a_worker_that_is_stuck_at_its_task_is_replaced_alone_and_the_task_tried_again(database):
    """The others keep what they have in hand."""
    with running(database, KEYFARE_WORKER_SILENCE_SECONDS="20") as worker:
        start_sleeping(database, worker, 600, IDLE_WORKERS)
        before = dict(worker.roles)
        worker.send(signal.SIGSTOP, ("worker 0",))

        worker.replaced(("worker 0",))

        wait_for(lambda: not is_alive(before["worker 0"]), "the end of the one that was stuck")
        wait_for(lambda: 0 < database.seconds_locked()[0] < 70, "its task to be free in a minute")
        assert is_alive(before["worker 1"])
        assert database.clusters() == 1


def test_a_worker_that_was_paused_whole_goes_on_where_it_was(database):
    """As a container is, or a machine: that nothing was done meanwhile is no silence."""
    with running(database, KEYFARE_WORKER_SILENCE_SECONDS="6") as worker:
        start_sleeping(database, worker, 9, ("long",))
        everybody = worker.everybody()
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(8)  # the pause itself, longer than the silence
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)

        wait_for(lambda: database.is_done("long"), "the task that was paused")

        assert [pid for pid in everybody if is_alive(pid)] == everybody
        assert database.clusters() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, who is stopped can end nobody")
def test_not_even_processes_that_are_all_stopped_outlive_a_supervisor_that_is_killed(database):
    with running(database) as worker:
        worker.send(signal.SIGSTOP, ["sentinel", *EVERYTHING])
        everybody = worker.everybody()

        worker.process.kill()

        worker.process.wait()
        all_gone(everybody)


@pytest.mark.parametrize("state", ["idle", "busy", "stuck"])
def test_nothing_outlives_a_supervisor_that_is_killed(database, state):
    with running(database) as worker:
        if state == "busy":
            start_sleeping(database, worker, 60, IDLE_WORKERS)
        if state == "stuck":
            worker.send(signal.SIGSTOP, ["sentinel", *IDLE_WORKERS])
        everybody = worker.everybody()
        assert len(everybody) == WORKERS + 4

        worker.process.kill()

        worker.process.wait()
        all_gone(everybody)


def test_told_to_stop_it_takes_nothing_new_and_finishes_what_is_under_way(database):
    with running(database) as worker:
        start_sleeping(database, worker, 3, ("under way",))
        everybody = worker.everybody()
        for pid in everybody[1:]:
            os.kill(pid, signal.SIGTERM)  # systemd tells all of them, unless asked not to

        stopping = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        database.enqueue("too late")

        assert worker.process.wait(60) == 0
        assert time.monotonic() - stopping < 20
        assert database.times_done("under way") == 1
        assert not database.is_done("too late")
        all_gone(everybody)
    with running(database) as next_worker:
        wait_for(lambda: database.is_done("too late"), "the next worker to take it")
        assert next_worker.terminate()[0] == 0


def test_what_takes_longer_than_the_grace_is_cut_off_and_free_for_the_next_worker(database):
    with running(database, KEYFARE_STOP_GRACE_SECONDS="1") as worker:
        start_sleeping(database, worker, 15, ("long",))

        code, seconds = worker.terminate()

        assert code == 1
        assert seconds < 15
        assert "KEYFARE_STOP_GRACE_SECONDS" in worker.said()
    with running(database):
        wait_for(lambda: database.is_done("long"), "the next worker to run it")


@pytest.mark.parametrize("stuck", [("sentinel",), IDLE_WORKERS], ids=lambda who: who[0])
def test_a_stuck_cluster_that_is_told_to_stop_does_not_use_up_the_grace(database, stuck):
    with running(database) as worker:
        everybody = worker.everybody()
        worker.send(signal.SIGSTOP, stuck)

        code, seconds = worker.terminate()

        assert code == 1
        assert seconds < 30  # less than ten on a machine that does nothing else; the grace is sixty
        assert "nothing is under way" in worker.said()
        all_gone(everybody)


def test_a_cluster_that_dies_at_every_start_is_given_up_with_an_error(database):
    script = """
import django
django.setup()
from config.worker import cluster, supervisor
def broken(sentinel):
    raise RuntimeError("simulated")
cluster.Sentinel.start = broken
supervisor.LONGEST_PAUSE_SECONDS = 0.01
raise SystemExit(supervisor.run())
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": database.url, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert process.returncode == 1
    assert "The worker ended 5 times right after its start. Giving up." in process.stderr
    assert process.stderr.count("RuntimeError: simulated") == 5


def test_tasks_begin_with_nobodys_rows_though_commands_see_everybodys(database):
    with running(database) as worker:
        database.enqueue("whose", "organizations.tenancy._scope.get")
        wait_for(lambda: database.is_done("whose"), "the task that looks at its scope")
        assert worker.terminate()[0] == 0

    (result,) = database.rows("SELECT result FROM django_q_task WHERE name = 'whose'")[0]

    assert dbsafe_decode(result) == ""


def test_a_worker_runs_no_function_but_our_own_whatever_rows_say(database, tmp_path):
    """As somebody who writes into the database, with the SECRET_KEY at that, would have them run."""
    file = tmp_path / "broken in"
    with running(database) as worker:
        database.enqueue("shell", "os.system", f"touch '{file}'")
        database.enqueue("after")
        wait_for(lambda: database.is_done("after"), "our own task, behind another")
        assert worker.terminate()[0] == 0

    assert not file.exists()
    assert database.rows("SELECT func, success FROM django_q_task WHERE name = 'shell'") == [("os.system", False)]
