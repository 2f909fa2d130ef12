"""A worker as `manage.py qcluster` runs it, on a database that the test sees, and the processes it consists of."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from django.conf import settings
from django.db import connection
from django.utils import timezone
from django_q.signing import SignedPackage

from tests import serving_role

# The worker runs Keyfare's own tasks alone: those of the tests are among them here.
TASKS_OF_TESTS = ("time.time", "time.sleep", "organizations.tenancy._scope.get")
START = f"""
import django, runpy, sys
django.setup()
from config import own_tasks
own_tasks.TASKS |= set({TASKS_OF_TESTS!r})
sys.argv = ["manage.py", "qcluster"]
runpy.run_path("manage.py", run_name="__main__")
"""
ZOMBIE = psutil.STATUS_ZOMBIE
PATIENCE_SECONDS = 60  # generous: the machine may be busy with other tests
WORKERS = 2


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"Waited in vain for: {what}"
        time.sleep(0.05)
    return found


class Database:
    """On PostgreSQL the test's own, on SQLite a copy of it in a file, since other processes see no memory."""

    def __init__(self, home: Path) -> None:
        self._file = home / "keyfare.sqlite3"
        if connection.vendor == "sqlite":
            connection.ensure_connection()
            with closing(sqlite3.connect(self._file)) as copy:
                connection.connection.backup(copy)

    @property
    def url(self) -> str:
        return f"sqlite:///{self._file}" if connection.vendor == "sqlite" else serving_role.database_url()

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        if connection.vendor == "sqlite":
            with closing(sqlite3.connect(self._file, timeout=20)) as own, own:
                return own.execute(sql.replace("%s", "?"), values).fetchall()
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def enqueue(self, name: str, func: str = "time.time", *args: object) -> None:
        task = {"id": name, "name": name, "func": func, "args": args, "kwargs": {}, "started": timezone.now()}
        self.rows(
            "INSERT INTO django_q_ormq (key, payload, lock) VALUES ('keyfare', %s, CURRENT_TIMESTAMP)",
            SignedPackage.dumps(task),
        )

    def times_done(self, name: str) -> int:
        return int(self.rows("SELECT count(*) FROM django_q_task WHERE name = %s AND success", name)[0][0])

    def is_done(self, name: str) -> bool:
        return self.times_done(name) > 0

    def seconds_locked(self) -> list[float]:
        """How long each task in the queue is not to be taken yet, shortest first."""
        if connection.vendor == "sqlite":
            sql = "SELECT (julianday(lock) - julianday('now')) * 86400 FROM django_q_ormq ORDER BY lock"
        else:
            sql = "SELECT extract(epoch FROM lock - now()) FROM django_q_ormq ORDER BY lock"
        return [float(row[0]) for row in self.rows(sql)]

    def holders(self) -> list[str]:
        """The clusters that hold tasks, one for each task."""
        return [str(row[0]) for row in self.rows("SELECT cluster_id FROM config_heldtask ORDER BY task_id")]

    def clusters(self) -> int:
        return int(self.rows("SELECT count(*) FROM config_workercluster")[0][0])


class Worker:
    def __init__(self, database: Database, **environment: str) -> None:
        quick = {"KEYFARE_WORKER_PROBE_SECONDS": "0.5", "KEYFARE_WORKER_SILENCE_SECONDS": "60"}
        ours = {
            "DATABASE_URL": database.url,
            "KEYFARE_TASKS_INLINE": "0",
            "KEYFARE_TASK_POLL_SECONDS": "0.05",
            "KEYFARE_WORKERS": str(WORKERS),
            "EMAIL_URL": "consolemail://",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", START],
            cwd=settings.BASE_DIR,
            env={**os.environ, **quick, **ours, **environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.database = database
        self.seen: set[int] = set()
        self.clusters = 0
        self.roles: dict[str, int] = {}

    def find(self) -> dict[str, int]:
        """The processes of the cluster that has just started, by what they are: the order of their ids."""

        def complete() -> list[int]:
            assert self.process.poll() is None, self.said()
            sentinels = [pid for pid in children(self.process.pid) if pid not in self.seen]
            below = children(sentinels[0]) if sentinels else []
            return [*sentinels, *below] if len(below) == WORKERS + 2 else []

        sentinel, *below = wait_for(complete, "the processes of the cluster")
        wait_for(lambda: self.database.clusters() > self.clusters, "its first beat")
        self.clusters = self.database.clusters()
        *workers, monitor, pusher = below
        self.roles = {"sentinel": sentinel, "monitor": monitor, "pusher": pusher}
        self.roles |= {f"worker {number}": pid for number, pid in enumerate(workers)}
        self.seen |= set(self.roles.values())
        return self.roles

    def send(self, number: signal.Signals, roles: Iterable[str]) -> None:
        for role in roles:
            os.kill(self.roles[role], number)

    def replaced(self, roles: Sequence[str]) -> None:
        """Wait for the sentinel to put new processes in the place of those that died, and name them: in its order."""

        def new() -> list[int]:
            found = [pid for pid in children(self.roles["sentinel"]) if pid not in self.seen]
            return found if len(found) == len(roles) else []

        self.roles |= zip(roles, wait_for(new, f"a new {roles}"), strict=True)
        self.seen |= set(self.roles.values())

    def everybody(self) -> list[int]:
        return [pid for pid in [self.process.pid, *self.roles.values()] if is_alive(pid)]

    def terminate(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and the seconds it took."""
        started_at = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_SECONDS)
        return code, time.monotonic() - started_at

    def said(self) -> str:
        assert self.process.stderr
        return self.process.stderr.read() if not self.process.stderr.closed else ""


@contextmanager
def running(database: Database, **environment: str) -> Iterator[Worker]:
    """A worker whose first cluster is found; nothing of it is left at the end, whatever the test did."""
    worker = Worker(database, **environment)
    try:
        worker.find()
        yield worker
    finally:
        with suppress(ProcessLookupError):
            worker.process.kill()
        for pid in worker.seen:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        print(worker.said())  # shown if the test fails
        worker.process.wait()


def children(pid: int) -> list[int]:
    found = psutil.process_iter(["ppid", "status"])
    return sorted(each.pid for each in found if each.info["ppid"] == pid and each.info["status"] != ZOMBIE)


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != ZOMBIE)
    except psutil.NoSuchProcess:
        return False
