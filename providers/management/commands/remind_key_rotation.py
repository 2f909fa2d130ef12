from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from organizations import clock
from providers.keys.notices import remind_key_rotation


class Command(BaseCommand):
    help = "E-mail owners and admins whose provider keys are old; each key once in KEYFARE_KEY_ROTATION_DAYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = remind_key_rotation(now=clock.now())
        self.stdout.write(json.dumps({"reminded": keys}) if options["json"] else f"Reminded of {keys} keys.")
