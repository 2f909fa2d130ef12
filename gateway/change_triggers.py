"""
The database tells of whatever changes what callers may do, and the keys and routes that their calls leave with.

PostgreSQL notifies all who listen on CHANNEL, with the table and whose row it was ("routing_agent 17"), once the change
is committed. SQLite can notify nobody: there every change gives the one row of `gateway_change` another mark.

What changes without a word is named here, so a column that is added later is told of until somebody says otherwise.
On SQLite a migration makes tables anew, without their triggers, or cannot drop a column that one names: there they are
taken away before migrations and put back after them (`gateway/apps.py`), for the columns that there are then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper

CHANNEL = "keyfare_changes"
MARKS = "gateway_change"


@dataclass(frozen=True, slots=True)
class Watched:
    """A table: `whose` is the column that says whose its rows are, `silent` are those that say nothing of rights."""

    table: str
    silent: tuple[str, ...] = ()
    whose: str = "organization_id"


WATCHED = (
    Watched("organizations_apitoken", silent=("last_used_at",)),
    Watched("organizations_membership"),
    Watched("organizations_user", silent=("last_login", "password"), whose="id"),
    Watched("organizations_organization", silent=("recency_window_days", "shares_recency"), whose="id"),
    Watched("routing_agent", silent=("description",)),
    Watched("routing_routingrule", silent=("updated_at", "updated_by_id")),
    Watched("routing_callaccess"),
    Watched("routing_callableagent"),
    Watched("routing_directkey"),
    Watched(
        "providers_providerkey",
        silent=(
            *("validated_at", "last_used_at", "provider_limits", "proof_model", "must_prove_by_call"),
            *("last_check_failed_at", "last_check_failure", "last_check_reason"),
            *("rotation_reminded_at", "break_notice"),
        ),
    ),
    Watched("providers_organizationkey"),
    Watched("providers_privateendpoint"),
)

# Compared as JSON, by which no trigger stands in the way of a column that is to be altered.
FUNCTION = """
CREATE OR REPLACE FUNCTION gateway_tells() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
  silent text[] := TG_ARGV[1:];
  whose text;
BEGIN
  IF TG_OP = 'UPDATE' AND before - silent = after - silent THEN RETURN NULL; END IF;
  FOR whose IN SELECT DISTINCT coalesce(told ->> TG_ARGV[0], '') FROM unnest(ARRAY[before, after]) AS told
    WHERE told IS NOT NULL OR TG_OP = 'TRUNCATE'
  LOOP PERFORM pg_notify('keyfare_changes', TG_TABLE_NAME || ' ' || whose); END LOOP;
  RETURN NULL;
END $$
"""
ON_POSTGRESQL = (
    "CREATE TRIGGER gateway_tells AFTER INSERT OR UPDATE OR DELETE ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION gateway_tells({named})",
    "CREATE TRIGGER gateway_tells_truncate AFTER TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION gateway_tells({named})",
)
# Two plain statements: a trigger takes over how the statement that sets it off resolves conflicts.
NEW_MARK = ("DELETE FROM gateway_change", "INSERT INTO gateway_change (id, mark) VALUES (1, random())")
ON_SQLITE = (
    "CREATE TRIGGER gateway_tells_insert_{table} AFTER INSERT ON {table} BEGIN {marks}; END",
    "CREATE TRIGGER gateway_tells_delete_{table} AFTER DELETE ON {table} BEGIN {marks}; END",
    "CREATE TRIGGER gateway_tells_update_{table} AFTER UPDATE ON {table} WHEN {changed} BEGIN {marks}; END",
)
# How many of them are at work, in the schema that is used.
AT_WORK = {
    "postgresql": (
        "SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE "
        "relnamespace = current_schema()::regnamespace AND "
        "tgname IN ('gateway_tells', 'gateway_tells_truncate') AND tgenabled <> 'D'"
    ),
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'gateway_tells_*'",
}
TRIGGERS = {"postgresql": len(WATCHED) * len(ON_POSTGRESQL), "sqlite": len(WATCHED) * len(ON_SQLITE)}


def tell_of_changes() -> migrations.RunPython:
    """
    A migration operation that has PostgreSQL tell, to be repeated after a change of what is told here; reversible. On
    SQLite that is done when all migrations are.
    """

    def forwards(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            install(schema_editor.connection)

    def backwards(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        remove(schema_editor.connection)

    return migrations.RunPython(forwards, backwards)


def install(connection: Any) -> None:
    """Whoever listens takes it as a change of everything."""
    remove(connection)
    with connection.cursor() as cursor:
        for statement in _statements(connection, cursor):
            cursor.execute(statement)


def remove(connection: Any) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION IF EXISTS gateway_tells() CASCADE")
            return
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'gateway_tells_*'")
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TRIGGER {name}")


def are_at_work(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(AT_WORK[connection.vendor])
        return bool(cursor.fetchone()[0] == TRIGGERS[connection.vendor])


def _statements(connection: Any, cursor: CursorWrapper) -> Iterator[str]:
    tables = connection.introspection.table_names(cursor)  # an earlier migration may find fewer
    watched = [each for each in WATCHED if each.table in tables]
    if connection.vendor == "postgresql":
        yield FUNCTION
        for each in watched:
            named = ", ".join(f"'{column}'" for column in (each.whose, *each.silent))
            yield from (statement.format(table=each.table, named=named) for statement in ON_POSTGRESQL)
        yield f"NOTIFY {CHANNEL}"
        return
    for each in watched:
        columns = [info.name for info in connection.introspection.get_table_description(cursor, each.table)]
        changed = " OR ".join(f'OLD."{name}" IS NOT NEW."{name}"' for name in columns if name not in each.silent)
        for statement in ON_SQLITE:
            yield statement.format(table=each.table, changed=changed, marks="; ".join(NEW_MARK))
    yield from NEW_MARK
