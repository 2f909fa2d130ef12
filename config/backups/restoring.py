"""Restoring a backup: into an empty database only, proven before it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from billing.verification import missing_accounts, verify_ledgers
from config.backups import postgresql, sqlite
from config.backups.manifest import BackupFailed, Contents, Manifest, digest_of
from organizations import clock
from organizations.audit_chain import verify_audits
from organizations.completeness import missing_rows
from organizations.models import Organization
from providers.custody.inspection import master_keys_open_something
from usage import rollups

KINDS = {"sqlite": sqlite, "postgresql": postgresql}


@dataclass(frozen=True, slots=True)
class Restored:
    """`problems` were found and kept all the same, as asked; `is_older` needs `manage.py init` before it is served."""

    manifest: Manifest
    is_older: bool
    fits_master_keys: bool
    problems: Sequence[str]


def restore(folder: Path, *, keep_unproven: bool = False) -> Restored:
    """
    Restore the backup in `folder` into the empty database of this installation, and prove it by its manifest.

    Counts, heads of ledgers and audit logs have to be those of the manifest, and both have to verify; else, unless
    `keep_unproven`, nothing is kept. Raises BackupFailed.
    """
    manifest = Manifest.read(folder)
    if manifest.database != connection.vendor:
        raise BackupFailed(
            f"This is a backup of {manifest.database}, and DATABASE_URL names a database of {connection.vendor}. "
            "Restore it into a database of its own kind."
        )
    pending = _pending(manifest)
    file = folder / manifest.file
    try:
        if digest_of(file) != manifest.sha256 and not keep_unproven:
            raise BackupFailed(f"{file} is not the file that the manifest tells of: it was changed or cut off.")
        with KINDS[manifest.database].restored(file):
            problems = [*manifest.contents.differences(Contents.now()), *([] if pending else _broken_books())]
            if problems and not keep_unproven:
                raise BackupFailed(
                    "\n".join(["Nothing was restored, as what the backup holds does not prove:", *problems])
                    + "\nAdd --unproven to keep it all the same."
                )
            fits_master_keys = bool(pending) or master_keys_open_something()
    except OSError as error:
        raise BackupFailed(f"Nothing was restored: {error.filename or file}: {error.strerror or error}.") from None
    except DatabaseError as error:
        raise BackupFailed(f"Nothing was restored: {str(error).partition(chr(10))[0]}.") from None
    except EOFError:
        raise BackupFailed(f"Nothing was restored: {file} is cut off.") from None
    if not pending:
        _count_usage_anew_in_another_cluster()
    return Restored(manifest, bool(pending), fits_master_keys, problems)


def _pending(manifest: Manifest) -> set[str]:
    """Migrations that the backup lacks. Raises BackupFailed if it has some that this version does not know."""
    known = {f"{app}.{name}" for app, name in MigrationLoader(None, ignore_no_migrations=True).graph.nodes}
    unknown = set(manifest.contents.migrations) - known
    if unknown:
        raise BackupFailed(
            "The backup is of a newer version of Keyfare, or of another one: this one does not know the migrations "
            f"{', '.join(sorted(unknown))}. Restore it with the version that made it."
        )
    return known - set(manifest.contents.migrations)


def _broken_books() -> list[str]:
    problems = [*missing_rows(), *missing_accounts()]
    organizations = Organization.objects.order_by("pk")
    for ledger in verify_ledgers(organizations):
        problems += [f"{ledger.organization.slug}: {problem}" for problem in ledger.problems]
    for organization, log in verify_audits(organizations):
        problems += [f"{organization.slug}: {log.problem}"] if log.problem else []
    return problems


def _count_usage_anew_in_another_cluster() -> None:
    """Daily figures go on from a position that only the cluster of before counts (usage/rollups.py)."""
    try:
        rollups.roll_up(now=clock.now())
    except rollups.RollupRefused:
        rollups.rebuild(now=clock.now())
