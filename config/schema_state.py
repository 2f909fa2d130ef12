"""Whether the tables are those of this version."""

from __future__ import annotations

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

NAMED = 3
NO_TABLES = "The database has no tables yet. Run `manage.py init`, then start again."


def missing_migrations() -> str:
    """A sentence if the database lacks tables or columns of this version: pages would end in errors."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        return ""
    if not executor.loader.applied_migrations:
        return NO_TABLES
    names = _named([(migration.app_label, migration.name) for migration, _ in plan])
    return (
        f"The database is of an older version: {len(plan)} migrations are missing ({names}). Run `manage.py init`, "
        "then start again."
    )


def unknown_migrations() -> str:
    """A sentence if a newer version has migrated the database. It may work, as during an upgrade, or not."""
    loader = MigrationExecutor(connection).loader
    known = loader.disk_migrations or {}
    unknown = sorted(key for key in loader.applied_migrations if key not in known and key[0] in loader.migrated_apps)
    if not unknown:
        return ""
    return (
        f"The database was migrated by a newer version than this one: {len(unknown)} migrations are not known here "
        f"({_named(unknown)}). Upgrade this process, too."
    )


def _named(keys: list[tuple[str, str]]) -> str:
    names = ", ".join(f"{app}.{name}" for app, name in keys[:NAMED])
    return names if len(keys) <= NAMED else f"{names}, …"
