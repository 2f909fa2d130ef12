"""The web server and PostgreSQL: however many ask, it opens no more connections than it may, and gives each back."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.urls import reverse

from config.web import pool
from config.web.application import KEPT_CONNECTIONS
from tests.conftest import logged_in
from tests.served import Talk, database_url, served, shared_connections, wait_until, web_process
from tests.serving_role import as_owner

CONNECTIONS = 8
ROOMS = CONNECTIONS - KEPT_CONNECTIONS
STRANGERS = 150
TOKEN = f"kf_{'a' * 8}_{'b' * 43}"
CHECK = "/api/v1/candidate-check/0b5f1d0e-0000-4000-8000-000000000000"
INVENTED: list[dict[str, Any]] = [
    {"url": CHECK, "headers": {"Authorization": f"Bearer {TOKEN}"}},
    {"url": f"/invitations/{'i' * 43}/"},
    {"url": "/o/acme/", "headers": {"Cookie": f"sessionid={'s' * 32}"}},
]
pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connections to run out of"),
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True),
]


def connections_of_the_web() -> int:
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        # Of this database: other tests serve from others of the same cluster.
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()",
            [pool.NAME],
        )
        return cursor.fetchone()[0]


@pytest.fixture
def acme_page(alice) -> dict[str, Any]:
    session = logged_in(alice).cookies[settings.SESSION_COOKIE_NAME].value
    return {"url": reverse("overview", args=["acme"]), "headers": {"Cookie": f"sessionid={session}"}}


def test_a_crowd_of_strangers_takes_no_more_connections_than_there_are_and_no_answer_from_anybody(acme_page):
    answers: Counter[int] = Counter()
    most = 0

    async def ask(client: httpx.AsyncClient, what: dict[str, Any]) -> None:
        answers[(await client.get(**what)).status_code] += 1

    async def member(client: httpx.AsyncClient) -> int:
        for _ in range(60):
            response = await client.get(**acme_page)
            if response.status_code != 503:
                return response.status_code
        return 503

    async def look(done: asyncio.Event) -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, await asyncio.to_thread(connections_of_the_web))
            await asyncio.sleep(0.05)

    async def everybody(port: int) -> int:
        done = asyncio.Event()
        looking = asyncio.create_task(look(done))
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as client:
            strangers = [ask(client, INVENTED[number % len(INVENTED)]) for number in range(STRANGERS)]
            crowd = asyncio.gather(*strangers)
            mine = await member(client)
            await crowd
        done.set()
        await looking
        return mine

    with web_process(database_url(), KEYFARE_WEB_CONNECTIONS=str(CONNECTIONS)) as port:
        assert asyncio.run(everybody(port)) == 200

    assert answers.total() == STRANGERS
    assert set(answers) <= {302, 403, 410, 503}, answers
    assert 0 < most <= CONNECTIONS


def test_while_the_database_holds_everybody_up_files_are_served_and_the_rest_read_that_keyfare_is_busy(acme_page):
    with web_process(database_url(), KEYFARE_WEB_CONNECTIONS=str(CONNECTIONS)) as port:
        address = f"http://127.0.0.1:{port}"
        assert httpx.get(address + acme_page["url"], headers=acme_page["headers"]).status_code == 200
        with transaction.atomic(), as_owner(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE organizations_apitoken IN ACCESS EXCLUSIVE MODE")
            waiting = [Talk(port) for _ in range(STRANGERS)]
            for each in waiting:
                each.ask("GET", CHECK, f"Authorization: Bearer {TOKEN}")
            wait_until(lambda: connections_of_the_web() >= ROOMS)

            busy = httpx.get(address + acme_page["url"], headers=acme_page["headers"], timeout=60)
            assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
            assert "Keyfare is busy" in busy.text
            assert httpx.get(address + "/static/keyfare/icon.svg", timeout=60).status_code == 200
            assert httpx.get(address + "/healthz", timeout=60).status_code == 200
            assert "database: ok" in httpx.get(address + "/readyz", timeout=60).text
            assert connections_of_the_web() <= CONNECTIONS
        answers = Counter(each.answer()[0] for each in waiting)
        assert set(answers) == {403, 503}
        assert answers[403] == ROOMS
        assert httpx.get(address + acme_page["url"], headers=acme_page["headers"], timeout=60).status_code == 200


def test_requests_that_fail_or_are_given_up_return_their_connections(acme_page, monkeypatch):
    """With one connection for all requests: a single one that is lost, and nobody is answered any more."""
    from config.web import application as web

    failing = {"now": True}

    def crash(request: Any, *args: Any, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")
        if failing["now"]:
            raise RuntimeError("injected")

    monkeypatch.setattr("config.overview.getting_started.steps", crash)
    monkeypatch.setattr(web, "WAIT_FOR_ROOM_SECONDS", 60)
    with shared_connections(1), served(web.application(connections=1 + web.KEPT_CONNECTIONS)) as port:
        address = f"http://127.0.0.1:{port}"
        for number in range(6):
            timeout = 0.1 if number % 2 else 60
            with suppress(httpx.TimeoutException):
                response = httpx.get(address + acme_page["url"], headers=acme_page["headers"], timeout=timeout)
                assert response.status_code == 500
            missing = httpx.get(address + "/o/acme/nothing-here/", headers=acme_page["headers"], timeout=60)
            assert missing.status_code == 404
        failing["now"] = False
        assert httpx.get(address + "/accounts/email/", headers=acme_page["headers"], timeout=60).status_code == 200
