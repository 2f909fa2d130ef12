"""
Whether the role of this connection may use the tables, or make them: rights are of one database, and a restored one has
its own.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

NAMED = 3
LACKED = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND CASE relkind
        WHEN 'r' THEN relname = ANY(%(tables)s) AND NOT has_table_privilege(oid, 'SELECT')
        WHEN 'S' THEN relname LIKE ANY(%(sequences)s) AND NOT has_sequence_privilege(oid, 'USAGE')
    END
    ORDER BY relname
"""

MAKES = """
    SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), (
        SELECT min(pg_get_userbyid(relowner)) FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname = ANY(%(tables)s)
        AND NOT pg_has_role(relowner, 'USAGE')
    )
"""


def missing_rights() -> list[str]:
    """A sentence if the role of this connection may not use tables that are there: every page would end in an error."""
    if connection.vendor != "postgresql":
        return []
    tables = _tables()
    sequences = [f"{table}_%" for table in tables]
    with connection.cursor() as cursor:
        cursor.execute(LACKED, {"tables": tables, "sequences": sequences})
        lacked = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT current_user, current_schema(), current_database()")
        role, schema, database = cursor.fetchone()
    if not lacked:
        return []
    named = ", ".join(lacked[:NAMED]) + (f" and {len(lacked) - NAMED} more" if len(lacked) > NAMED else "")
    return [
        f"DATABASE_URL connects as “{role}”, who may not use {named}. As their owner, in the database “{database}”: "
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO "{role}"; '
        f'GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA "{schema}" TO "{role}"; and the lines ALTER DEFAULT '
        "PRIVILEGES in docs/operations.md, which hold for one database only, for the tables of later versions."
    ]


def refuse_without_rights() -> None:
    """Before a command that reads everything. Raises CommandError."""
    for sentence in missing_rights():
        raise CommandError(sentence)


def refuse_unless_owner(command: str = "init") -> None:
    """Before tables are made, changed or dropped, which takes more than using them. Raises CommandError."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(MAKES, {"tables": _tables()})
        may_create, owner = cursor.fetchone()
        cursor.execute("SELECT current_user, current_database(), current_setting('server_encoding')")
        role, database, encoding = cursor.fetchone()
    if encoding != "UTF8":
        raise CommandError(
            f"The database “{database}” is {encoding}, in which names of people cannot be kept. As a superuser: "
            f"CREATE DATABASE … OWNER \"{role}\" ENCODING 'UTF8' TEMPLATE template0; Nothing was changed."
        )
    if owner is not None:
        raise CommandError(
            f"DATABASE_URL connects as “{role}”, but the tables belong to “{owner}”. Run this as their owner: "
            f"DATABASE_URL=postgresql://{owner}:…@…/{database} manage.py {command}. Nothing was changed."
        )
    if not may_create:
        raise CommandError(
            f"DATABASE_URL connects as “{role}”, who may not make tables in the database “{database}”: from PostgreSQL "
            f'15 on only its owner may. As a superuser: ALTER DATABASE "{database}" OWNER TO "{role}"; or, if “{role}” '
            "is only to serve, run this as the owner (docs/operations.md). Nothing was changed."
        )


def _tables() -> list[str]:
    models: list[Any] = [*apps.get_models(include_auto_created=True), MigrationRecorder.Migration]
    return [model._meta.db_table for model in models]
