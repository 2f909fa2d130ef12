from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.custody import inspection


class Command(BaseCommand):
    help = (
        "After the loss of a master key: deletes the organization keys that none of KEYFARE_MASTER_KEYS opens, so that "
        "their organizations can paste provider keys again, and the second factors, so that their people can log in "
        "with the password alone and set them up again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="Do it; without this nothing is changed.")

    def handle(self, *args: Any, yes: bool, **options: Any) -> None:
        if not yes:
            raise CommandError(
                "This deletes what a master key you may still find could open. See what that is with `check_secrets`; "
                "add --yes to do it."
            )
        forgotten = inspection.forget_unreadable()
        self.stdout.write(f"{forgotten.organization_keys:,} organization keys are forgotten.")
        if forgotten.people:
            self.stdout.write(
                f"Second factors of {len(forgotten.people):,} people are forgotten. Who has no passkey logs in with "
                "the password alone now: tell them to set up a second step at once."
            )
        for email in forgotten.people:
            self.stdout.write(f"  {email}")
