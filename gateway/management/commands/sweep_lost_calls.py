from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.stored_ids import forget_old_ids
from gateway.sweeping import sweep_lost_calls
from organizations import clock


class Command(BaseCommand):
    help = "Count model calls that nobody finished in time as lost, and forget ids of what no provider keeps any more."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        lost = sweep_lost_calls(now=clock.now())
        forget_old_ids(now=clock.now())
        self.stdout.write(json.dumps({"lost": lost}) if options["json"] else f"{lost} calls counted as lost.")
