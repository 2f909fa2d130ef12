from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers import inspection


class Command(BaseCommand):
    help = (
        "After the loss of a master key: deletes the organization keys that none of KEYFARE_MASTER_KEYS opens, so that "
        "their organizations can paste provider keys again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="Do it; without this nothing is changed.")

    def handle(self, *args: Any, yes: bool, **options: Any) -> None:
        if not yes:
            raise CommandError(
                "This deletes what a master key you may still find could open. See what that is with `check_secrets`; "
                "add --yes to do it."
            )
        self.stdout.write(f"{inspection.forget_unreadable():,} organization keys are forgotten.")
