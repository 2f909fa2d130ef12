from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from config.backups.making import make_backup
from config.backups.manifest import BackupFailed
from config.backups.stopping import clearing_up_when_stopped


class Command(BaseCommand):
    help = (
        "Backs up the database, as of one moment, while everything goes on: into a new folder, with a manifest by "
        "which `restore` proves it. Sessions are left out. The master keys are in no backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="Where the backup's own folder is made.")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            with clearing_up_when_stopped():
                made, manifest = make_backup(folder)
        except BackupFailed as failed:
            raise CommandError(str(failed)) from None
        rows = sum(manifest.contents.counts.values())
        size = (made / manifest.file).stat().st_size
        self.stdout.write(self.style.SUCCESS(f"{made}: {rows:,} rows, {filesizeformat(size)}."))
        keys = settings.ENV_FILE if settings.ENV_FILE.is_file() else "KEYFARE_MASTER_KEYS and KEYFARE_DIGEST_KEY"
        self.stdout.write(f"It does not hold {keys}: back that up apart, or the backup opens no provider key.")
