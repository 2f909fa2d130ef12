from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from organizations.completeness import missing_rows
from organizations.database_rights import refuse_without_rights
from organizations.progress import progress
from providers.custody import inspection


class Command(BaseCommand):
    help = (
        "Open every stored key and second factor, print how many open and the ids of those that do not. Exits with 1 "
        "if one does not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_without_rights()
        with progress() as bar:
            report = inspection.check_secrets(track=partial(bar.track, description="Secrets"))
        problems = missing_rows()
        if options["json"]:
            answer = {
                "organization_keys": report.organization_keys,
                "provider_keys": report.provider_keys,
                "second_factors": report.second_factors,
                "broken_organization_keys": list(report.broken_organization_keys),
                "broken_provider_keys": [str(pk) for pk in report.broken_provider_keys],
                "broken_second_factors": list(report.broken_second_factors),
                "problems": problems,
                "sound": report.is_sound and not problems,
            }
            self.stdout.write(json.dumps(answer))
        else:
            self._tell("organization keys", report.organization_keys, report.broken_organization_keys)
            self._tell("provider keys", report.provider_keys, report.broken_provider_keys)
            self._tell("second factors", report.second_factors, report.broken_second_factors)
            for problem in problems:
                self.stdout.write(problem)
        if not report.is_sound or problems:
            sys.exit(1)

    def _tell(self, what: str, total: int, broken: Any) -> None:
        self.stdout.write(f"{total - len(broken):,} of {total:,} {what} open.")
        for pk in broken:
            self.stdout.write(f"  does not open: {pk}")
