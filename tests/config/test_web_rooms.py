"""How many requests are let in at once, over real sockets, and what becomes of the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from config.web import rooms
from config.web.application import kind_of
from config.web.rooms import Rooms
from tests.config.test_web_bodies import plain
from tests.served import Talk, served, wait_until

FOR_EVER = 60.0


class Working:
    """Works on each request until it may go on; `/page…` takes the two rooms for pages, else a room of its own."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self.may_end = threading.Event()
        self.ended: list[str] = []
        self.answer = b"done"
        self.waiting: Callable[[], int] = int

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
        path = scope["path"]
        self.inside.append(path)
        self.most = max(self.most, len(self.inside))
        try:
            while path.startswith("/page") and not self.may_end.is_set():
                await asyncio.sleep(0.005)
            if path.endswith("crash"):
                raise RuntimeError("injected")
            length = [(b"content-length", str(len(self.answer)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            for start in range(0, len(self.answer), 2**16):
                more = start + 2**16 < len(self.answer)
                part = self.answer[start : start + 2**16]
                await send({"type": "http.response.body", "body": part, "more_body": more})
        finally:
            self.inside.remove(path)
            self.ended.append(path)


@contextmanager
def working(wait_seconds: float = FOR_EVER):
    app = Working()
    layer = Rooms(
        app,
        sizes={"page": 2, "other": 1},
        kind_of=lambda path: "page" if path.startswith("/page") else "other",
        wait_seconds=wait_seconds,
        render=plain,
    )
    with served(layer) as port, ExitStack() as clients:
        app.waiting = lambda: len(layer._rooms["page"]._waiters or ())
        yield app, lambda: clients.enter_context(Talk(port))
        app.may_end.set()


def ask(connect: Any, *paths: str) -> list[Talk]:
    talks = []
    for path in paths:
        talks.append(connect())
        talks[-1].ask("GET", path)
    return talks


def test_no_more_are_in_at_once_than_there_are_rooms_and_the_others_follow():
    with working() as (app, connect):
        clients = ask(connect, *(f"/page{number}" for number in range(10)))
        wait_until(lambda: len(app.inside) == 2)
        app.may_end.set()

        assert [client.answer()[::2] for client in clients] == [(200, b"done")] * 10
        assert app.most == 2


def test_who_waits_too_long_reads_that_keyfare_is_busy_and_may_ask_again_on_the_same_connection():
    with working(wait_seconds=0.2) as (app, connect):
        ask(connect, "/page1", "/page2")
        wait_until(lambda: len(app.inside) == 2)
        [third] = ask(connect, "/page3")
        status, headers, body = third.answer()
        assert (status, body) == (503, rooms.BUSY.sentence.encode())
        assert "connection" not in headers

        app.may_end.set()
        wait_until(lambda: not app.inside)
        third.ask("GET", "/page4")
        assert third.answer()[0] == 200
    assert "/page3" not in app.ended


def test_other_kinds_of_requests_need_no_room_of_those():
    with working() as (app, connect):
        ask(connect, *(f"/page{number}" for number in range(5)))
        wait_until(lambda: len(app.inside) == 2)
        [other] = ask(connect, "/healthz")

        assert other.answer()[0] == 200


def test_who_has_left_while_waiting_is_not_worked_for():
    with working() as (app, connect):
        ask(connect, "/page1", "/page2")
        wait_until(lambda: len(app.inside) == 2)
        gone = ask(connect, *(f"/page-gone{number}" for number in range(20)))
        [stays] = ask(connect, "/page-stays")
        wait_until(lambda: app.waiting() == 21)
        for client in gone:
            client.socket.close()
        wait_until(lambda: app.waiting() == 1)
        app.may_end.set()

        assert stays.answer()[0] == 200
        wait_until(lambda: len(app.ended) == 3)
    assert sorted(app.ended) == ["/page-stays", "/page1", "/page2"]


def test_a_room_is_taken_only_when_the_whole_body_is_there():
    with working() as (app, connect):
        for _ in range(5):
            connect().ask("POST", "/page-slow", "Content-Length: 10", body=b"x")
        app.may_end.set()
        [quick] = ask(connect, "/page-quick")

        assert quick.answer()[0] == 200
        assert app.ended == ["/page-quick"]


def test_a_request_that_crashes_gives_its_room_back():
    with working() as (app, connect):
        app.may_end.set()
        for number in range(5):
            [crashing] = ask(connect, f"/page{number}crash")
            assert crashing.answer()[0] == 500
        [after] = ask(connect, "/page-after")
        assert after.answer()[0] == 200


def test_clients_that_never_read_their_answer_do_not_keep_their_rooms(monkeypatch):
    monkeypatch.setattr(rooms, "PATIENCE_WITH_READERS_SECONDS", 0.3)
    with working() as (app, connect):
        app.may_end.set()
        app.answer = b"x" * 50_000_000  # more than the buffers of both ends
        ask(connect, "/page1", "/page2")
        wait_until(lambda: sorted(app.ended) == ["/page1", "/page2"])
        app.answer = b"done"
        [after] = ask(connect, "/page-after")

        assert after.answer()[0] == 200


def test_what_is_no_request_passes_through():
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    layer = Rooms(app, sizes={}, kind_of=str, wait_seconds=0, render=plain)
    for kind in ("lifespan", "websocket"):
        asyncio.run(layer({"type": kind}, None, None))  # type: ignore[arg-type]

    assert seen == ["lifespan", "websocket"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/static/app.css", "static"),
        ("/", "page"),
        ("/healthzz", "page"),
        ("/o/acme/consumption/export/", "page"),
        ("/o/acme/consumption/export/file/", "export"),
        ("/api/v1/exports/csv", "export"),
    ],
)
def test_signs_of_life_and_files_have_rooms_of_their_own(path, kind):
    assert kind_of(path, static="/static/") == kind
