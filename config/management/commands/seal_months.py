from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.exports import FORMATS, OTHERS, export
from organizations import clock
from organizations.models import Organization
from organizations.one_at_a_time import AnotherIsAtIt
from usage.exports.models import SealedMonth
from usage.exports.periods import BadPeriod, Month
from usage.exports.sealing import SealBroken, seal_due_months


class Command(BaseCommand):
    help = "Seal the months that are over, so that their exports stay the same to the byte. Safe to run at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--verify", action="store_true", help="Write the files of all sealed months and compare.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verify"]:
            checked, left = self._verify()
            gone = f" Of {left:,} more the calls are not kept any more." if left else ""
            said = (
                {"checked": checked, "left": left},
                f"All {checked:,} files of sealed months are as they were sealed.{gone}",
            )
        else:
            said = self._seal()
        as_json, as_text = said
        self.stdout.write(json.dumps(as_json) if options["json"] else as_text)

    def _seal(self) -> tuple[dict[str, Any], str]:
        try:
            sealed = seal_due_months(now=clock.now(), others=OTHERS)
        except AnotherIsAtIt:
            return {"sealed": 0, "another_is_at_it": True}, (
                "Sealed nothing: another process seals months, or has calls leave (`prune_usage`). The clock tries "
                "again in an hour."
            )
        return {"sealed": len(sealed)}, f"Sealed {len(sealed):,} months."

    def _verify(self) -> tuple[int, int]:
        checked = left = 0
        broken = []
        for organization in Organization.objects.customers().order_by("pk"):
            for seal in SealedMonth.objects.for_organization(organization).order_by("month"):
                for format, each in FORMATS.items():
                    if seal.file(each.file) is None:
                        continue
                    try:
                        for _ in export(organization, format, Month(seal.month)):
                            pass
                        checked += 1
                    except BadPeriod:  # its calls have left
                        left += 1
                    except SealBroken as error:
                        broken.append(f"{organization.slug}: {error}")
        if broken:
            raise CommandError("\n".join(broken))
        return checked, left
