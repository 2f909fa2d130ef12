"""PostgreSQL goes away in the middle of a call: nothing hangs, whoever calls is told, and the books are exact."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection, connections

from gateway.sweeping import sweep_lost_calls
from organizations import clock
from tests.gateway.door.conftest import DoorBefore
from tests.gateway.door.upstream import Scripted, Upstream, chat_answer, chat_stream
from tests.served import PATIENCE_SECONDS, shared_connections, wait_until
from usage.models import InFlightCall, UsageEvent

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite never goes away"),
]
Status = UsageEvent.Status
_sleep = time.sleep


@contextmanager
def database_away() -> Iterator[None]:
    """As while it is started anew: every connection is lost, and no other is to be had."""
    settings = connection.settings_dict
    name = settings["NAME"]
    connections.close_all()
    with psycopg.connect(
        dbname="postgres",
        user=settings["USER"],
        password=settings["PASSWORD"],
        host=settings["OPTIONS"].get("host") or settings["HOST"],
        port=settings["PORT"] or None,
        autocommit=True,
    ) as beside:
        beside.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            beside.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            beside.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@contextmanager
def database_frozen() -> Iterator[None]:
    """Every connection stands, and nothing that is asked is answered."""
    settings = connection.settings_dict
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", [settings["NAME"]]
        )
        pids = [pid for (pid,) in cursor.fetchall()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@dataclass
class Between:
    """A provider that answers once it may; `is_awaited` where the door waits for the database then."""

    door: DoorBefore
    may_answer: threading.Event = field(default_factory=threading.Event)
    is_awaited: threading.Event = field(default_factory=threading.Event)

    def answer(self, *, stream: bool, away: Callable[[Future[httpx.Response]], object]) -> httpx.Response:
        """The answer to a call; the database is away from when it was admitted until `away` of it returns."""
        self.door.upstream.answers.append(chat_stream("one") if stream else Scripted([chat_answer()]))
        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(self.door.chat, stream=stream)
            wait_until(lambda: self.door.upstream.received)
            with database_away():
                self.may_answer.set()
                away(asking)
            return asking.result()

    async def reply(self, *asked: Any) -> None:
        await asyncio.to_thread(self.may_answer.wait, PATIENCE_SECONDS)
        await Upstream.reply(self.door.upstream, *asked)

    def sleep(self, seconds: float) -> None:
        if threading.current_thread().name.startswith("writer"):
            self.is_awaited.set()
        _sleep(seconds)


@pytest.fixture
def between(door: DoorBefore, monkeypatch) -> Between:
    between = Between(door)
    monkeypatch.setattr(door.upstream, "reply", between.reply)
    monkeypatch.setattr("time.sleep", between.sleep)
    return between


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("size", [0, 4], ids=["own connections", "from a pool"])
def test_a_database_that_is_back_in_a_moment_costs_nobody_an_answer(door, between, monkeypatch, size, stream) -> None:
    monkeypatch.setattr("gateway.writer.MOST_AWAY_SECONDS", float(PATIENCE_SECONDS))

    with shared_connections(size):
        answer = between.answer(stream=stream, away=lambda _: between.is_awaited.wait(PATIENCE_SECONDS))

    assert between.is_awaited.is_set()
    assert answer.status_code == 200
    assert "error" not in answer.text
    assert door.event.status == Status.ANSWERED
    assert not InFlightCall.objects.for_organization(door.organization).exists()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_of_one_that_stays_away_callers_are_told_and_every_call_is_in_the_books(
    door, between, monkeypatch, stream
) -> None:
    monkeypatch.setattr("gateway.writer.MOST_AWAY_SECONDS", 0.0)
    refused: list[httpx.Response] = []

    def away(asking: Future[httpx.Response]) -> None:
        asking.result(PATIENCE_SECONDS)
        refused.append(door.chat())

    answer = between.answer(stream=stream, away=away)

    assert "books_closed" in answer.text
    assert refused[0].status_code == 503
    assert refused[0].headers["x-keyfare-error"] in ("books_closed", "stale")
    assert len(door.upstream.received) == 1
    wait_until(lambda: door.chat().status_code == 200)
    assert sweep_lost_calls(now=clock.now() + timedelta(hours=1)) == 1
    assert [event.status for event in door.events] == [Status.ANSWERED, Status.LOST]
    assert not InFlightCall.objects.for_organization(door.organization).exists()


def test_of_one_that_is_frozen_callers_are_told_in_time_and_the_books_are_right(door, monkeypatch) -> None:
    assert door.chat().status_code == 200

    with database_frozen(), monkeypatch.context() as patched:
        patched.setattr("gateway.writer.ADMITTED_WITHIN_SECONDS", 0.5)
        refused = door.chat()
        assert (refused.status_code, refused.headers["x-keyfare-error"]) == (503, "books_closed")
        assert refused.headers["retry-after"] == "5"
        assert len(door.upstream.received) == 1

    assert door.chat().status_code == 200
    assert [event.status for event in door.events] == [Status.ANSWERED, Status.FAILED, Status.ANSWERED]
    assert not InFlightCall.objects.for_organization(door.organization).exists()
