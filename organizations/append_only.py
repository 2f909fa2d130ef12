"""
Append-only tables: the database itself refuses to change or delete their rows.

Corrections are new rows. `protect("billing_ledgerentry")` in a migration installs the triggers. Of a table in
MAY_LEAVE its owner may delete old rows, within `letting_go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.apps.registry import Apps
from django.db import connection, migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

Operation = Callable[[Apps, BaseDatabaseSchemaEditor], None]

MAY_LEAVE = {"usage_usageevent"}  # usage/pruning.py
VARIABLE = "keyfare.letting_go"

# `{leaving}` is empty but for MAY_LEAVE. Who serves can set the variable, but does not own the table.
FUNCTION = """
CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN {leaving}RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation'; END $$;
"""
LEAVING = f"""
  IF TG_OP = 'DELETE' AND current_setting('{VARIABLE}', true) = TG_TABLE_NAME
    AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN RETURN OLD; END IF;
  """  # noqa: S608  # names of ours
POSTGRESQL = """
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


def guard_anew(table: str) -> migrations.RunPython:
    """A migration operation for a table that came to MAY_LEAVE after its `protect`."""

    def replace(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(_function(table))

    return migrations.RunPython(replace, migrations.RunPython.noop)


@contextmanager
def letting_go(table: str) -> Iterator[None]:
    """Within it the owner of a `table` of MAY_LEAVE may delete rows of it. In a transaction."""
    if table not in MAY_LEAVE:
        raise ValueError(f"Rows of {table} never leave.")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config(%s, %s, true)", [VARIABLE, table])
            yield
            cursor.execute("SELECT set_config(%s, '', true)", [VARIABLE])
        else:  # nobody else writes before the transaction ends
            cursor.execute(f"DROP TRIGGER {table}_append_only_delete")
            yield
            cursor.execute(SQLITE[1].format(table=table))


def _function(table: str) -> str:
    return FUNCTION.format(table=table, leaving=LEAVING if table in MAY_LEAVE else "")


def _install_and_remove(table: str) -> tuple[Operation, Operation]:
    def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        with schema_editor.connection.cursor() as cursor:
            if schema_editor.connection.vendor == "postgresql":
                cursor.execute(_function(table) + POSTGRESQL.format(table=table))
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
