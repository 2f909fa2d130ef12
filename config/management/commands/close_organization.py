from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.onboarding import CloseRefused, close_organization
from organizations import clock
from organizations.models import Organization


class Command(BaseCommand):
    help = (
        "Closes an organization for good: nobody can open it, and its provider keys become unreadable at once. Ledger, "
        "usage and audit log stay. Running it again finishes what was interrupted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--yes", action="store_true", help="Do it; without this nothing is changed.")

    def handle(self, *args: Any, slug: str, yes: bool, **options: Any) -> None:
        organization = Organization.objects.filter(slug=slug).first()
        if organization is None:
            raise CommandError(f"There is no organization “{slug}”.")
        if not yes:
            raise CommandError(f"This closes “{organization.name}” and destroys its keys for good. Add --yes to do it.")
        try:
            was_open = close_organization(organization=organization, actor=None, now=clock.now())
        except CloseRefused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{organization.name} {'is' if was_open else 'was already'} closed.")
