from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from providers import rotation


class Command(BaseCommand):
    help = (
        "Wrap every organization key under the first of KEYFARE_MASTER_KEYS. Safe to stop and to run again, while "
        "everything else goes on. Exits with 1 as long as something is not under the first key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument("--batch", type=int, default=rotation.BATCH, help="Organization keys in one transaction.")

    def handle(self, *args: Any, **options: Any) -> None:
        result = rotation.rotate_master_key(batch=max(1, options["batch"]))
        if options["json"]:
            answer = {
                "organization_keys": result.total,
                "rewrapped": result.rewrapped,
                "under_old_key": list(result.under_old_key),
                "unreadable": list(result.unreadable),
                "complete": result.is_complete,
            }
            self.stdout.write(json.dumps(answer))
        else:
            self._tell(result)
        if not result.is_complete:
            sys.exit(1)

    def _tell(self, result: rotation.MasterRotation) -> None:
        self.stdout.write(f"{result.rewrapped:,} of {result.total:,} organization keys were wrapped anew.")
        if result.under_old_key:
            ids = ", ".join(map(str, result.under_old_key))
            self.stdout.write(f"Still under an older master key (run this again): {ids}")
        if result.unreadable:
            ids = ", ".join(map(str, result.unreadable))
            self.stdout.write(f"Under none of KEYFARE_MASTER_KEYS (add the key that wrapped them): {ids}")
        if result.is_complete:
            self.stdout.write("The first master key opens all of them: no other one is needed any more.")
