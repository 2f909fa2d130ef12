from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.usage_checks import WHAT_TO_DO, check_and_note, told
from organizations import clock
from organizations.database_rights import refuse_without_rights


class Command(BaseCommand):
    help = (
        "Compare the sums that pages read with the calls they are sums of: some days of some organizations, each day "
        "others. Exits with 1 if a sum is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_without_rights()
        checked = check_and_note(now=clock.now())
        if options["json"]:
            differences = [told(difference) for difference in checked.differences]
            answer = {"days": checked.days, "calls": checked.calls, "differences": differences}
            self.stdout.write(json.dumps(answer))
        else:
            for difference in checked.differences:
                self.stdout.write(str(difference))
            found = f"{len(checked.differences):,} sums are wrong" if checked.differences else "their sums are right"
            self.stdout.write(f"{checked.calls:,} calls of {checked.days:,} days of organizations: {found}.")
            if checked.differences:
                self.stdout.write(WHAT_TO_DO)
        if checked.differences:
            sys.exit(1)
