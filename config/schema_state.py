"""Whether the tables are those of this version. Raises DatabaseError where the database does not answer."""

from __future__ import annotations

from functools import cache

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

NAMED = 3
NO_TABLES = "The database has no tables yet. Run `manage.py init`, then start again."


def missing_migrations() -> str:
    """A sentence if the database lacks tables or columns of this version: pages would end in errors."""
    applied = set(MigrationRecorder(connection).applied_migrations())
    missing = sorted(set(_of_this_version().graph.nodes) - applied)
    if not missing:
        return ""
    if not applied:
        return NO_TABLES
    return f"The database is of an older version and lacks {_named(missing)}. Run `manage.py init`, then start again."


def unknown_migrations() -> str:
    """A sentence if a newer version has migrated the database. It may work, as during an upgrade, or not."""
    ours = _of_this_version()
    applied = MigrationRecorder(connection).applied_migrations()
    unknown = sorted(key for key in applied if key not in ours.disk_migrations and key[0] in ours.migrated_apps)
    if not unknown:
        return ""
    return (
        f"The database was migrated by a newer version than this one, which does not know {_named(unknown)}. Upgrade "
        "this process, too."
    )


@cache
def _of_this_version() -> MigrationLoader:
    return MigrationLoader(None)


def _named(keys: list[tuple[str, str]]) -> str:
    names = ", ".join(f"{app}.{name}" for app, name in keys[:NAMED])
    return names if len(keys) <= NAMED else f"{names} and {len(keys) - NAMED} more"
