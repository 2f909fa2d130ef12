"""
Append-only tables: the database itself refuses to change or delete their rows.

Corrections are new rows. `protect("billing_ledgerentry")` in a migration installs the triggers.
"""

from __future__ import annotations

from collections.abc import Callable

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

Operation = Callable[[Apps, BaseDatabaseSchemaEditor], None]

POSTGRESQL = """
CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION {table}_append_only();
CREATE TRIGGER {table}_append_only_truncate BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only();
"""
SQLITE = (
    "CREATE TRIGGER {table}_append_only_update BEFORE UPDATE ON {table} "
    "BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
    "CREATE TRIGGER {table}_append_only_delete BEFORE DELETE ON {table} "
    "BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
)


def protect(table: str) -> migrations.RunPython:
    """A migration operation that makes `table` append-only; reversible."""
    return migrations.RunPython(*_install_and_remove(table))


def lift(table: str) -> migrations.RunPython:
    """
    The opposite of `protect`, for a migration that changes the table and ends with `protect`.

    Needed even where only a column is added: SQLite makes the table anew for that, and its triggers are gone.
    """
    install, remove = _install_and_remove(table)
    return migrations.RunPython(remove, install)


def _install_and_remove(table: str) -> tuple[Operation, Operation]:
    def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        with schema_editor.connection.cursor() as cursor:
            if schema_editor.connection.vendor == "postgresql":
                cursor.execute(POSTGRESQL.format(table=table))
            else:
                for statement in SQLITE:
                    cursor.execute(statement.format(table=table))

    def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        with schema_editor.connection.cursor() as cursor:
            if schema_editor.connection.vendor == "postgresql":
                cursor.execute(f"DROP FUNCTION {table}_append_only() CASCADE")
            else:
                cursor.execute(f"DROP TRIGGER {table}_append_only_update")
                cursor.execute(f"DROP TRIGGER {table}_append_only_delete")

    return install, remove
