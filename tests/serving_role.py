"""
On PostgreSQL the tests ask as a role like that which serves: neither owner nor superuser, so that row-level security
holds for it. It is made after the tables are, as docs/operations.md tells operators to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.utils.http import urlencode

ROLE = "keyfare_serving"


def take() -> None:
    """From now on, in this process, every connection that is opened to the test database has the role."""
    if connection.vendor != "postgresql":
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # Roles are of the whole cluster, which test processes share: another one may be making it now.
        cursor.execute(
            f"DO $$ BEGIN CREATE ROLE {ROLE} NOSUPERUSER NOBYPASSRLS NOLOGIN; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {ROLE}")
        grant_tables(cursor)
    connection_created.connect(_take_role)
    _take_role(connection)


def grant_tables(cursor: Any) -> None:
    """Of which a test that migrates back and forth makes some anew, without rights."""
    if connection.vendor == "postgresql":
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")


def leave() -> None:
    connection_created.disconnect(_take_role)
    connection.close()


def database_url() -> str:
    """What another process connects with to work on the test database, on PostgreSQL, as the same role."""
    database = connection.settings_dict
    query = {"host": database["OPTIONS"].get("host") or database["HOST"], "options": f"-c role={ROLE}"}
    if database["PORT"]:
        query["port"] = str(database["PORT"])
    return f"postgresql://{database['USER']}:{database['PASSWORD']}@/{database['NAME']}?{urlencode(query)}"


@contextmanager
def as_owner() -> Iterator[None]:
    """For what the serving role may not do: to look behind the wall, and to take tables apart."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    try:
        yield
    finally:
        _take_role(connection)


def _take_role(connection: Any, **kwargs: Any) -> None:
    if connection.vendor == "postgresql":
        with connection.connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {ROLE}")


def lose_connection() -> None:
    """The server ends our connection, which we do not know of until we use it."""
    ours = connection.connection.info.backend_pid
    settings = connection.settings_dict
    with psycopg.connect(
        dbname=settings["NAME"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        host=settings["OPTIONS"].get("host") or settings["HOST"],
        port=settings["PORT"] or None,
        autocommit=True,
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [ours])
