"""What `/healthz` and `/readyz` say, to whom, and how fast when the database does not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.conf import settings as project
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from config import health, startup
from config.models import WorkerCluster
from config.worker import heartbeat
from organizations import clock
from tests.config.worker_processes import Database, running, wait_for
from tests.conftest import logged_in

WELL = {"database": "ok", "migrations": "ok", "keys": "ok", "worker": "ok", "work": "ok"}


@pytest.fixture
def readiness(monkeypatch) -> health.Readiness:
    # `startup.problems` closes the connection of its thread; here that is the one with the test's transaction.
    monkeypatch.setattr(connections["default"], "close", lambda: None)
    return health.Readiness()


@pytest.fixture
def alive(db) -> WorkerCluster:
    heartbeat.beat(uuid4())
    return WorkerCluster.objects.get()


def found(readiness: health.Readiness) -> health.State:
    """What a look finds, in this thread, whose transaction holds what the test has arranged."""
    return readiness._find()


def test_all_is_well_while_the_worker_beats(readiness, alive):
    assert found(readiness) == WELL


@pytest.fixture
def tasks_wait(monkeypatch) -> None:
    """As on an installation; tests run tasks where they are asked for, so nobody waits for a worker."""
    monkeypatch.setattr(Conf, "SYNC", False)


def test_a_worker_that_never_ran_gives_no_sign_of_life(readiness, db, tasks_wait):
    assert found(readiness) == {**WELL, "worker": "no sign of life"}


def test_a_worker_that_has_been_silent_gives_no_sign_of_life(readiness, alive, settings, tasks_wait):
    settings.KEYFARE_WORK_LATE_SECONDS = 90
    last_beat = timezone.now() - timedelta(seconds=95)
    WorkerCluster.objects.update(started_at=last_beat, beat_at=last_beat)

    assert found(readiness)["worker"] == "no sign of life"
    last = heartbeat.last_sign_of_life()
    assert last is not None
    assert timedelta(seconds=94) < last.age < timedelta(minutes=10)


def test_one_of_two_workers_that_beats_is_enough(readiness, alive, tasks_wait):
    WorkerCluster.objects.create(id=uuid4(), host="gone", beat_at=timezone.now() - timedelta(hours=1))

    assert found(readiness) == WELL


def test_a_short_restart_of_the_worker_is_not_late(readiness, alive):
    heartbeat.note_stopped(alive.pk)

    assert found(readiness) == WELL


def test_work_that_waits_too_long_is_said(readiness, alive):
    OrmQ.objects.create(key="keyfare", payload="", lock=timezone.now() - timedelta(minutes=11))

    assert found(readiness) == {**WELL, "work": "waits too long"}


def test_a_task_in_hand_or_to_be_tried_again_later_does_not_wait(readiness, alive):
    OrmQ.objects.create(key="keyfare", payload="", lock=timezone.now() + timedelta(minutes=11))

    assert found(readiness) == WELL
    assert heartbeat.oldest_waiting_task() is None


def test_the_task_that_has_waited_longest_is_told_with_its_age(alive):
    now = clock.now()
    for minutes in (3, 7, 5):
        OrmQ.objects.create(key="keyfare", payload="", lock=now - timedelta(minutes=minutes))

    oldest = heartbeat.oldest_waiting_task()

    assert oldest is not None
    assert oldest.at == now - timedelta(minutes=7)
    assert timedelta(minutes=7) <= oldest.age < timedelta(hours=1)


def test_ages_are_by_the_clock_of_the_database(readiness, alive, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(2040, 1, 1, tzinfo=UTC))

    assert found(readiness) == WELL


def test_migrations_that_are_missing_are_said_and_nothing_else_is_asked(readiness, alive):
    MigrationRecorder.Migration.objects.filter(app="config", name="0003_worker_heartbeat").delete()

    assert found(readiness) == {"database": "ok", "migrations": "missing"}


def test_keys_that_do_not_fit_are_said_without_saying_which(readiness, alive, settings):
    settings.KEYFARE_DIGEST_KEY = "short-digest-key"

    assert found(readiness)["keys"] == "do not fit this installation"
    assert startup.problems()


def test_old_clusters_are_forgotten_but_not_the_last_one(db):
    old = timezone.now() - timedelta(days=30)
    for _ in range(3):
        WorkerCluster.objects.create(id=uuid4(), host="old", beat_at=old)

    heartbeat.forget_old_clusters()
    assert WorkerCluster.objects.count() == 1
    heartbeat.beat(uuid4())
    assert set(WorkerCluster.objects.values_list("host", flat=True)) == {socket.gethostname()}


# The door


@pytest.fixture
def stated(monkeypatch) -> dict[str, str]:
    state = dict(WELL)
    monkeypatch.setattr(health.Readiness, "state", lambda readiness: state)
    return state


@pytest.mark.parametrize("path", health.PATHS)
def test_both_answer_anybody_by_any_name_without_a_redirect(stated, path, settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["keyfare.example.com"]
    client = Client(headers={"host": "10.0.0.7:8000"})

    got, head = client.get(path), client.head(path)

    assert (got.status_code, head.status_code) == (200, 200)
    assert got.content.startswith(b"ok\n")
    assert head.content == b""
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Content-Type"].startswith("text/plain")
    assert not got.cookies


@pytest.mark.parametrize("path", health.PATHS)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_nothing_else_is_answered(stated, path, method):
    response = getattr(Client(), method)(path)

    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_one_thing_that_is_not_well_is_a_503(stated):
    stated["worker"] = "no sign of life"

    response = Client().get("/readyz")

    assert response.status_code == 503
    assert response.content.decode().splitlines() == [
        "not ready",
        "database: ok",
        "migrations: ok",
        "keys: ok",
        "worker: no sign of life",
        "work: ok",
    ]
    assert Client().get("/healthz").status_code == 200


def test_nothing_like_it_is_answered(db, acme, alice):
    for path in ("/healthz/", "/readyz/", "/healthz/x", "/o/acme/healthz"):
        assert logged_in(alice).get(path).status_code == 404


# Looking


def test_a_flood_of_questions_is_one_look(readiness, monkeypatch):
    monkeypatch.setattr(health, "SERVES_FOR_SECONDS", 60)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 60)
    looks = []

    def look() -> health.State:
        looks.append(1)
        time.sleep(0.2)
        return WELL

    monkeypatch.setattr(readiness, "_find", look)
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda _: readiness.state(), range(50)))

    assert answers == [WELL] * 50
    assert len(looks) == 1


def test_a_database_that_hangs_makes_nobody_wait_and_is_asked_once(readiness, monkeypatch):
    is_back = threading.Event()
    looks = []
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(health, "SERVES_FOR_SECONDS", 0)

    def look() -> health.State:
        looks.append(1)
        is_back.wait(60)
        return WELL

    monkeypatch.setattr(readiness, "_find", look)

    assert [readiness.state() for _ in range(20)] == [health.NO_ANSWER] * 20
    assert len(looks) == 1
    is_back.set()
    assert readiness._look.done.wait(60)
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 60)
    assert readiness.state() == WELL


def test_what_the_database_says_of_its_failure_is_not_said_to_anybody(readiness, monkeypatch):
    def refuse() -> health.State:
        raise OperationalError("connection to 10.1.2.3 as keyfare_owner failed")

    monkeypatch.setattr(readiness, "_find", refuse)

    assert readiness.state() == {"database": "does not answer"}


def test_a_bug_of_ours_is_no_exception_to_anybody(readiness, monkeypatch):
    def break_() -> health.State:
        raise ValueError("sk-proj-simulated-0001")

    monkeypatch.setattr(readiness, "_find", break_)

    assert readiness.state() == {"installation": "could not be looked at"}


# A real server


@contextmanager
def serving(**environment: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "uvicorn", "config.asgi:application", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen([sys.executable, *command], cwd=project.BASE_DIR, env={**os.environ, **environment})
    try:
        give_up_at = time.monotonic() + 60
        while ask(f"http://127.0.0.1:{port}/healthz")[0] != 200:
            assert time.monotonic() < give_up_at
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def ask(url: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, headers={"Host": "some.other.name"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()
    except OSError:
        return 0, ""


def test_a_server_whose_database_hangs_says_so_at_once():
    """The database is a socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with serving(DATABASE_URL=f"postgresql://keyfare:secret@127.0.0.1:{port}/keyfare") as url:
            started_at = time.monotonic()

            status, said = ask(f"{url}/readyz")

            assert status == 503
            assert said == "not ready\ndatabase: does not answer\n"
            assert time.monotonic() - started_at < 20  # three seconds, on a machine that does nothing else
            assert ask(f"{url}/healthz") == (200, "ok\n")
            assert ask(f"{url}/readyz", "HEAD") == (503, "")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="another process sees no database in memory")
def test_a_server_and_a_worker_tell_ready_from_not_ready(tmp_path):
    database = Database(tmp_path)
    with serving(DATABASE_URL=database.url, KEYFARE_WORK_LATE_SECONDS="5", KEYFARE_TASKS_INLINE="0") as url:
        assert ask(f"{url}/readyz")[1].splitlines()[-2:] == ["worker: no sign of life", "work: ok"]
        with running(database) as worker:
            wait_for(lambda: ask(f"{url}/readyz")[0] == 200, "ready")
            assert re.fullmatch(r"ok\n(\w+: ok\n){5}", ask(f"{url}/readyz")[1])
            worker.process.send_signal(signal.SIGKILL)
            wait_for(lambda: "worker: no sign of life" in ask(f"{url}/readyz")[1], "not ready")
