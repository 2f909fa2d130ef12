"""
PostgreSQL: pg_dump, behind a wall that is opened for it by name, and its plain SQL read back.

Row-level security makes a dump fail, or with --enable-row-security come out empty, unless the session says whose
rows it wants (organizations/tenancy.py). The SQL is loaded by us, in one transaction with its proof: no psql of a
fitting version is needed, and what does not hold leaves nothing behind.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg
from django.conf import settings
from django.db import connection, transaction

from config.backups.manifest import BackupFailed, Contents, left_out
from organizations.tenancy import OPTION_TO_SEE_EVERY

FILE_NAME = "database.sql.gz"
COPY = re.compile(rb'COPY (?:"?\w+"?\.)?"?(?P<table>\w+)"? \(.*\) FROM stdin;\n')
END_OF_COPY = b"\\.\n"
# Settings of a psql session, which are not ours to change, and the schema, which is there.
NOT_LOADED = re.compile(
    rb"\\(?:un)?restrict |SELECT pg_catalog\.set_config\('search_path'|(?:CREATE|COMMENT ON) SCHEMA "
    rb"|SET (?!default_tablespace |default_table_access_method )\w+ = [^;]*;\n"
)
WHERE = ("host", "hostaddr", "port", "dbname", "user")
CHUNK = 1 << 18
Lines = IO[bytes] | gzip.GzipFile


def copy(path: Path) -> Contents:
    """
    Write the database to the new file `path`, as SQL. Returns what stands in it, as of the same moment.

    Raises BackupFailed and OSError.
    """
    program = _fitting_pg_dump()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot(), current_schema()")
        snapshot, schema = cursor.fetchone()
        contents = Contents.now()
        rows = _write(path, _command(program, snapshot, schema))
    lost = [table for table, count in contents.counts.items() if rows[table] != count]
    if lost:
        raise BackupFailed(
            f"pg_dump left out rows of {', '.join(lost)}. Does row-level security have policies that are not Keyfare's?"
        )
    return contents


@contextmanager
def restored(source: Path) -> Iterator[None]:
    """
    Within it, the database holds what `source` has, in one transaction; an exception takes all of it back.

    Raises BackupFailed if there are tables already, or what is read is no dump of pg_dump.
    """
    if connection.introspection.table_names():
        raise BackupFailed(
            "This database holds tables already, and a backup is restored only into an empty one. Create another one, "
            "as docs/operations.md shows for the first, name it in DATABASE_URL and restore again."
        )
    with transaction.atomic():
        try:
            with gzip.open(source) as lines:
                _load(lines)
        except psycopg.errors.InsufficientPrivilege:
            raise BackupFailed(
                "The role of DATABASE_URL may not make tables in this database. Restore as the role that owns it."
            ) from None
        except psycopg.Error as error:
            # No more of it: the context of an error quotes rows.
            why = error.diag.message_primary or type(error).__name__
            raise BackupFailed(f"Nothing was restored: PostgreSQL did not take what the backup holds: {why}.") from None
        yield
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _fitting_pg_dump() -> str:
    """The pg_dump to run. Raises BackupFailed if there is none, or an older one than the server."""
    program, server = settings.KEYFARE_PG_DUMP, connection.get_database_version()[0]
    advice = (
        f"Install the client programs of PostgreSQL {server} (Debian: postgresql-client-{server}), or say where the "
        f"right pg_dump is: KEYFARE_PG_DUMP=/usr/lib/postgresql/{server}/bin/pg_dump."
    )
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
        version = int(re.findall(r"\d+", said)[0])
    except (OSError, subprocess.CalledProcessError, IndexError):
        raise BackupFailed(f"There is no “{program}” to make the backup with. {advice}") from None
    if version < server:
        raise BackupFailed(f"“{program}” is of PostgreSQL {version}, older than the server ({server}). {advice}")
    return str(program)


def _command(program: str, snapshot: str, schema: str) -> list[str]:
    found = connection.connection.info.get_parameters()
    named = {**connection.get_connection_params(), **dict.fromkeys(WHERE)}
    # What else is found our own libpq made up, and a pg_dump of another version may not know it.
    known = {name: value for name, value in found.items() if name in named}
    options = f"{found.get('options', '')} {OPTION_TO_SEE_EVERY}".strip()
    return [
        program,
        f"--dbname={psycopg.conninfo.make_conninfo('', **{**known, 'options': options})}",
        f"--snapshot={snapshot}",
        f"--schema={schema}",
        "--enable-row-security",
        "--no-owner",
        "--no-privileges",
        *(f"--exclude-table-data={schema}.{table}" for table in left_out()),
    ]


def _write(path: Path, command: list[str]) -> Counter[str]:
    """Run `command` and write its SQL to `path`; returns the rows of each table in it."""
    password = connection.connection.info.password
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}  # not among the arguments
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        os.fdopen(descriptor, "wb") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as dumping,  # noqa: S603
    ):
        assert dumping.stdout  # noqa: S101  # for the type checker
        assert dumping.stderr  # noqa: S101
        try:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=5, filename="") as packed:
                rows = _count_rows(dumping.stdout, packed.write)
        except BaseException:
            dumping.kill()
            raise
        said = dumping.stderr.read().decode(errors="replace")
    if dumping.returncode:
        raise BackupFailed(f"pg_dump failed: {' '.join(said.split())}")
    return rows


def _count_rows(lines: Lines, write: Callable[[bytes], Any]) -> Counter[str]:
    rows: Counter[str] = Counter()
    table = ""
    for line in lines:
        write(line)
        if not table:
            found = COPY.fullmatch(line)
            table = found["table"].decode() if found else ""
        elif line == END_OF_COPY:
            table = ""
        else:
            rows[table] += 1
    return rows


def _load(lines: Lines) -> None:
    """Run a plain dump. Its rows go in before policies, triggers and foreign keys are there, as pg_dump orders it."""
    with connection.connection.cursor() as cursor:
        cursor.execute("SET LOCAL check_function_bodies = off")
        waiting: list[bytes] = []
        for line in lines:
            if COPY.fullmatch(line):
                _run(cursor, waiting)
                with cursor.copy(line.decode()) as copy:
                    for chunk in _chunks(lines):
                        copy.write(chunk)
            elif not NOT_LOADED.match(line):
                waiting.append(line)
        _run(cursor, waiting)


def _run(cursor: Any, waiting: list[bytes]) -> None:
    sql = b"".join(waiting)
    waiting.clear()
    if sql.strip():
        cursor.execute(sql)


def _chunks(lines: Lines) -> Iterator[bytes]:
    chunk = bytearray()
    for line in lines:
        if line == END_OF_COPY:
            break
        chunk += line
        if len(chunk) > CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)
