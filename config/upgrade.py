"""What `manage.py init` would change in a database that is in use: said before it happens."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations import DeleteModel, RemoveField, RunPython, RunSQL
from django.db.migrations.operations.base import Operation


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Migrations that are to run, as "app.name"; what those of `for_good` change nothing takes back."""

    migrations: list[str]
    for_good: list[str]

    @property
    def warning(self) -> str:
        listed = "".join(f"\n  {name}" for name in self.for_good)
        return (
            f"This upgrade runs {len(self.migrations)} migrations. What these change cannot be undone:{listed}\n"
            "Only a backup takes you back, and the version of before does not run on what they leave. Stop the web "
            "server and the worker, and back up (`manage.py backup FOLDER`)."
        )


def pending_upgrade() -> Upgrade:
    """Empty where nothing is to be done, and for a database that has no tables yet."""
    executor = MigrationExecutor(connection)
    if not executor.loader.applied_migrations:
        return Upgrade([], [])
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    return Upgrade(
        [f"{migration.app_label}.{migration.name}" for migration in plan],
        [
            f"{migration.app_label}.{migration.name}"
            for migration in plan
            if any(_is_for_good(operation) for operation in migration.operations)
        ],
    )


def _is_for_good(operation: Operation) -> bool:
    """Whether going back leaves another database than there was, even where Django goes back."""
    if isinstance(operation, RunPython):
        does, undoes = operation.code, operation.reverse_code
        return does is not RunPython.noop and undoes in (None, RunPython.noop)
    if isinstance(operation, RunSQL):
        return operation.sql != RunSQL.noop and operation.reverse_sql in (None, RunSQL.noop)
    return isinstance(operation, (DeleteModel, RemoveField)) or not operation.reversible
