"""
What a test that commits leaves behind is deleted: Django's flush, for a tenth of its time.

Only tables that hold rows are touched, past the triggers of append-only ones, and all in one transaction, in which no
order of tables matters. What Django's flush deletes and makes anew, kinds of content and permissions, stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from tests import serving_role

KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def empty_tables() -> None:
    with serving_role.as_owner(), transaction.atomic(), connection.cursor() as cursor:
        tables = _tables_with_rows(cursor)
        with _deletable(cursor, tables):
            for table in tables:
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608


def _tables_with_rows(cursor: Any) -> list[str]:
    tables = set(connection.introspection.django_table_names(only_existing=True)) - KEPT
    asked = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)  # noqa: S608
    cursor.execute(" UNION ALL ".join(asked))
    return [row[0] for row in cursor.fetchall()]


@contextmanager
def _deletable(cursor: Any, tables: list[str]) -> Iterator[None]:
    """Tables whose triggers let rows go."""
    if connection.vendor == "postgresql":
        cursor.execute("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%_append_only'")
        guarded = [row[0] for row in cursor.fetchall() if row[0] in tables]
        for table in guarded:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in guarded:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        return
    cursor.execute(
        "SELECT name, sql, tbl_name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_append_only_%'"
    )
    triggers = [(name, sql) for name, sql, table in cursor.fetchall() if table in tables]
    for name, _ in triggers:
        cursor.execute(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        cursor.execute(sql)
