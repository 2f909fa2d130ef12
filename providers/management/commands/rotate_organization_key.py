from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from organizations.models import Organization
from providers.custody import rotation
from providers.custody.sealing import SealBroken


class Command(BaseCommand):
    help = (
        "Seal an organization's provider keys under a new data key and delete the old one. Safe to stop and to run "
        "again. Exits with 1 if a key does not open and so cannot be moved."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", required=True)
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, organization: str, **options: Any) -> None:
        found = Organization.objects.filter(slug=organization, closed_at=None).first()
        if found is None:
            raise CommandError(f"There is no open organization “{organization}”.")
        try:
            result = rotation.rotate_organization_key(organization=found, actor=None)
        except SealBroken:
            raise CommandError(
                f"The data key of “{organization}” does not open. Check KEYFARE_MASTER_KEYS with `check_secrets`."
            ) from None
        if options["json"]:
            answer = {
                "version": result.version,
                "resealed": result.resealed,
                "deleted_versions": list(result.deleted_versions),
                "broken": [str(pk) for pk in result.broken],
                "complete": result.is_complete,
            }
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write(f"{result.resealed:,} provider keys are sealed under version {result.version} now.")
            for pk in result.broken:
                self.stdout.write(f"  does not open and has to be entered again: {pk}")
        if not result.is_complete:
            sys.exit(1)
