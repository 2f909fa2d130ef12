"""A database that is busy or away: who meets it reads so, wherever it happens, and gets no server error."""

from __future__ import annotations

import os
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, connection
from psycopg import errors
from psycopg_pool import PoolTimeout

from config.unavailable import is_momentary, is_unavailable
from tests.conftest import logged_in
from tests.served import database_url, wait_until, web_process

SQLITE = pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite's one file")
POSTGRESQL = pytest.mark.skipif(connection.vendor != "postgresql", reason="of a server that can go away")


def error_of(cause: Exception) -> OperationalError:
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


def busy(code: int) -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    return error


def while_handling(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception:
            raise KeyError("what came of it")  # noqa: B904
    except KeyError as error:
        return error


@pytest.mark.parametrize(
    ("error", "unavailable"),
    [
        (error_of(busy(sqlite3.SQLITE_BUSY)), True),
        (error_of(busy(sqlite3.SQLITE_BUSY_SNAPSHOT)), True),
        (error_of(busy(sqlite3.SQLITE_LOCKED)), True),
        (error_of(busy(sqlite3.SQLITE_FULL)), False),
        (error_of(busy(sqlite3.SQLITE_ERROR)), False),  # no such table
        (error_of(psycopg.OperationalError("connection refused")), True),
        (error_of(PoolTimeout("no connection")), True),
        (error_of(errors.TooManyConnections("too many clients")), True),
        (error_of(errors.AdminShutdown("stopping")), True),
        (error_of(errors.CannotConnectNow("starting")), True),
        (error_of(errors.DeadlockDetected("deadlock")), False),
        (error_of(errors.UndefinedTable("no such table")), False),
        (while_handling(error_of(PoolTimeout("no connection"))), True),
        (RuntimeError("ours"), False),
        (None, False),
    ],
)
def test_what_is_only_busy_or_away_is_told_from_what_is_broken(error, unavailable):
    assert is_unavailable(error) is unavailable


def test_only_what_passes_by_itself_is_no_matter_for_the_operator():
    assert is_momentary(error_of(busy(sqlite3.SQLITE_BUSY)))
    assert not is_momentary(error_of(psycopg.OperationalError("connection refused")))


# Wherever it happens --------------------------------------------------------------------------------------


def in_view(monkeypatch: Any, error: Exception) -> None:
    monkeypatch.setattr("config.overview.getting_started.steps", raising(error))


def in_session(monkeypatch: Any, error: Exception) -> None:
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", raising(error))


def in_session_save(monkeypatch: Any, error: Exception) -> None:
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.save", raising(error))
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.modified", True, raising=False)


def in_middleware(monkeypatch: Any, error: Exception) -> None:
    monkeypatch.setattr("organizations.tenancy._apply", raising(error))


def raising(error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("where", [in_view, in_session, in_session_save, in_middleware])
@pytest.mark.parametrize("accept", ["page", "htmx"])
def test_a_page_says_so_wherever_the_database_was_missed(as_alice, monkeypatch, where, accept):
    as_alice.raise_request_exception = False
    where(monkeypatch, error_of(busy(sqlite3.SQLITE_BUSY)))

    response = as_alice.get("/o/acme/", headers={"HX-Request": "true"} if accept == "htmx" else {})

    assert (response.status_code, response["Retry-After"]) == (503, "10")
    assert response["Content-Type"].startswith("text/plain" if accept == "htmx" else "text/html")
    assert "look whether what you did was saved" in response.content.decode()
    assert "locked" not in response.content.decode()


def test_a_program_reads_the_sentence_as_json(client, monkeypatch, db):
    client.raise_request_exception = False
    monkeypatch.setattr("organizations.api_access.use_token", raising(error_of(PoolTimeout("no connection"))))

    response = client.get("/api/v1/candidate-check/1", headers={"Authorization": "Bearer kf_x"})

    assert (response.status_code, response["Retry-After"]) == (503, "10")
    assert response.json()["error"].startswith("It is busy or cannot be reached.")


def test_what_is_broken_is_still_a_server_error(as_alice, client, monkeypatch):
    as_alice.raise_request_exception = client.raise_request_exception = False
    in_view(monkeypatch, RuntimeError("injected"))
    monkeypatch.setattr("organizations.api_access.use_token", raising(RuntimeError("injected")))

    page = as_alice.get("/o/acme/")
    answer = client.get("/api/v1/candidate-check/1", headers={"Authorization": "Bearer kf_x"})

    assert (page.status_code, answer.status_code) == (500, 500)
    assert "Something went wrong on our side" in page.content.decode()
    assert "log" in answer.json()["error"]


# SQLite ---------------------------------------------------------------------------------------------------


@SQLITE
def test_a_file_that_another_process_holds_gives_503_and_no_mail(tmp_path, migrated_file):
    """In a process of its own, on a file; its wait is cut short."""
    shutil.copy(migrated_file, tmp_path / "keyfare.sqlite3")
    script = """
import sqlite3, django
from django.conf import settings
django.setup()
settings.DATABASES["default"]["OPTIONS"]["timeout"] = 0.2
from django.core import mail
from django.test.utils import setup_test_environment
setup_test_environment()
from django.test import Client
from organizations.models import User
user = User.objects.create_user("alice@acme.example", "correct horse battery")
client = Client(raise_request_exception=False)
client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
holder = sqlite3.connect(settings.DATABASES["default"]["NAME"], isolation_level=None)
holder.execute("BEGIN IMMEDIATE")
form = {"login": "alice@acme.example", "password": "correct horse battery"}
for response in (
    Client(raise_request_exception=False).post("/accounts/login/", form),
    client.post("/accounts/logout/"),
    Client(raise_request_exception=False).get("/invitations/" + "i" * 43 + "/"),
    client.get("/"),
):
    print(response.status_code, response.headers.get("Retry-After"))
print(len(mail.outbox))
holder.execute("ROLLBACK")
print(Client(raise_request_exception=False).post("/accounts/login/", form).status_code)
"""
    environment = {
        "KEYFARE_ENV_FILE": str(tmp_path / "none"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/keyfare.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.web_settings",
        "ADMINS": "operator@keyfare.example",
    }
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=settings.BASE_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )

    *held, mails, after = process.stdout.splitlines()
    assert held == ["503 10", "503 10", "410 None", "200 None"], process.stdout + process.stderr
    assert (mails, after) == ("0", "302")


# PostgreSQL -----------------------------------------------------------------------------------------------


class Wire:
    """The way to PostgreSQL, which can be cut and mended."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_cut = False
        self.sockets: list[socket.socket] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.is_cut = True
        self.break_connections()

    def break_connections(self) -> None:
        while self.sockets:
            with suppress(OSError):
                self.sockets.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                if self.is_cut:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                self.sockets += [client, server]
                threading.Thread(target=self._carry, args=[client, server], daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError):
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    said = ready.recv(65536)
                    if not said:
                        return
                    (server if ready is client else client).sendall(said)


@pytest.fixture
def wire() -> Iterator[Wire]:
    database = connection.settings_dict
    host = database["OPTIONS"].get("host") or database["HOST"]
    if not host.startswith("/"):
        pytest.skip("cuts the way to a server on a socket in a directory")
    wire = Wire(f"{host}/.s.PGSQL.{database['PORT'] or 5432}")
    yield wire
    wire.cut()
    wire.listening.close()


@POSTGRESQL
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_server_that_goes_away_gives_503_and_is_found_again_when_it_is_back(alice, wire):
    session = logged_in(alice).cookies[settings.SESSION_COOKIE_NAME].value
    parts = urlsplit(database_url())
    query = {**dict(parse_qsl(parts.query)), "host": "127.0.0.1", "port": str(wire.listening.getsockname()[1])}
    url = urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))
    with web_process(url, KEYFARE_WEB_CONNECTIONS="4") as port:

        def get(path: str) -> httpx.Response:
            headers = {"Cookie": f"sessionid={session}"}
            return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=120)

        assert get("/o/acme/").status_code == 200
        wire.cut()
        away = [get("/o/acme/") for _ in range(3)]
        assert [(each.status_code, each.headers.get("retry-after")) for each in away] == [(503, "10")] * 3
        assert "The database did not answer in time" in away[0].text
        assert httpx.get(f"http://127.0.0.1:{port}/accounts/login/", timeout=120).status_code == 200  # needs none

        wire.is_cut = False
        wait_until(lambda: get("/o/acme/").status_code == 200)
        wire.break_connections()  # between two requests: nobody should notice
        assert get("/o/acme/").status_code == 200
