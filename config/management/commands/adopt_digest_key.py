from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.sentinels import adopt_digest_key, digest_key_fits


class Command(BaseCommand):
    help = (
        "After the loss of KEYFARE_DIGEST_KEY: forgets which people were checked across organizations, which only the "
        "old key could match, and takes the new one from now on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="Do it; without this nothing is changed.")

    def handle(self, *args: Any, yes: bool, **options: Any) -> None:
        if digest_key_fits():
            self.stdout.write("KEYFARE_DIGEST_KEY is the one that this database knows. Nothing was changed.")
            return
        if not yes:
            raise CommandError(
                "This forgets what the old key, which you may still find, could match. Add --yes to do it."
            )
        self.stdout.write(f"{adopt_digest_key():,} sightings of people are forgotten. The new key counts from now on.")
