from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backups.manifest import BackupFailed
from config.backups.restoring import restore
from config.backups.stopping import clearing_up_when_stopped
from config.startup import WRONG_MASTER_KEY


class Command(BaseCommand):
    help = (
        "Restores a backup into an empty database and proves it: rows, heads of ledgers and audit logs as the "
        "manifest says, and both verified. What does not prove is not kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", type=Path, help="The folder that `backup` made.")
        parser.add_argument(
            "--unproven",
            action="store_true",
            help="Keep what does not prove, too: for a database that was broken when it was backed up.",
        )

    def handle(self, *args: Any, backup: Path, unproven: bool, **options: Any) -> None:
        try:
            with clearing_up_when_stopped():
                restored = restore(backup, keep_unproven=unproven)
        except BackupFailed as failed:
            raise CommandError(str(failed)) from None
        contents = restored.manifest.contents
        proven = "NOT proven" if restored.problems else "rows and heads as the manifest says"
        if not restored.is_older and not restored.problems:
            proven += ", every ledger and audit log verified"
        self.stdout.write(
            f"Restored as of {restored.manifest.made_at}: {sum(contents.counts.values()):,} rows, {proven}."
        )
        for problem in restored.problems:
            self.stderr.write(problem)
        if restored.is_older:
            self.stdout.write(
                "The backup is of an earlier version. Run `manage.py init`, which upgrades it, then `verify_ledger`, "
                "`verify_audit` and `check_secrets`."
            )
        if not restored.fits_master_keys:
            self.stderr.write(self.style.WARNING(WRONG_MASTER_KEY))
        self.stdout.write(
            "People log in anew. Checks that were being worked on are taken up once the worker runs and their leases "
            "have run out. What happened after the backup is undone: who was removed or whose token was revoked "
            "since has access again."
        )
