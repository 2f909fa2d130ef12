from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from organizations import clock
from routing.notices import note_cheaper_models


class Command(BaseCommand):
    help = "Look for models that would serve what organizations have routed for less, by what it used in 30 days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        noted = note_cheaper_models(now=clock.now())
        self.stdout.write(json.dumps({"noted": noted}) if options["json"] else f"{noted} cheaper models to tell of.")
