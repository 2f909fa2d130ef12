from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from organizations.typed_numbers import number_argument
from providers.custody import rotation


class Command(BaseCommand):
    help = (
        "Bring every organization key and second factor under the first of KEYFARE_MASTER_KEYS. Safe to stop and to "
        "run again, while everything else goes on. Exits with 1 as long as something is not under the first key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument(
            "--batch",
            type=number_argument(least=1, most=100_000),
            default=rotation.BATCH,
            help="How many in one transaction.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        result = rotation.rotate_master_key(batch=options["batch"])
        if options["json"]:
            answer = {
                "organization_keys": result.total,
                "rewrapped": result.rewrapped,
                "under_old_key": list(result.under_old_key),
                "unreadable": list(result.unreadable),
                "second_factors": result.second_factors.total,
                "second_factors_resealed": result.second_factors.resealed,
                "second_factors_under_old_key": list(result.second_factors.under_old_key),
                "second_factors_unreadable": list(result.second_factors.unreadable),
                "complete": result.is_complete,
            }
            self.stdout.write(json.dumps(answer))
        else:
            self._tell(result)
        if not result.is_complete:
            sys.exit(1)

    def _tell(self, result: rotation.MasterRotation) -> None:
        factors = result.second_factors
        self.stdout.write(f"{result.rewrapped:,} of {result.total:,} organization keys were wrapped anew.")
        self._tell_left("organization keys", result.under_old_key, result.unreadable)
        self.stdout.write(f"{factors.resealed:,} of {factors.total:,} second factors were sealed anew.")
        self._tell_left("second factors", factors.under_old_key, factors.unreadable)
        if result.is_complete:
            self.stdout.write("The first master key opens all of them: no other one is needed any more.")

    def _tell_left(self, what: str, under_old_key: Sequence[int], unreadable: Sequence[int]) -> None:
        if under_old_key:
            ids = ", ".join(map(str, under_old_key))
            self.stdout.write(f"These {what} are still under an older master key (run this again): {ids}")
        if unreadable:
            ids = ", ".join(map(str, unreadable))
            self.stdout.write(f"These {what} are under none of KEYFARE_MASTER_KEYS (add the one they need): {ids}")
