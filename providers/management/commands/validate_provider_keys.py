from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from organizations import clock
from organizations.typed_numbers import number_argument
from providers.keys.notices import send_due_break_notices
from providers.keys.validation import KEEP_DAYS, forget_old_validations, validate_due_keys
from providers.models import ProviderKey

LONGEST_HOURS = 999_999


class Command(BaseCommand):
    help = (
        "Ask providers again about keys that were validated before; owners and admins are told of those that broke. "
        f"Results older than {KEEP_DAYS} days are forgotten, but never a key's newest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            metavar="HOURS",
            type=number_argument(least=0, most=LONGEST_HOURS),
            default=24,
            help="Keys whose last answer is older (default 24).",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, older_than: int, **options: Any) -> None:
        done = validate_due_keys(now=clock.now(), older_than=timedelta(hours=older_than))
        forget_old_validations(now=clock.now())
        told = send_due_break_notices()
        validated = sum(done.outcomes.values())
        if options["json"]:
            answer = {"validated": validated, "left": done.left, "outcomes": done.outcomes, "notices_sent_late": told}
            self.stdout.write(json.dumps(answer))
            return
        labels = ", ".join(f"{count} {ProviderKey.Status(status).label}" for status, count in done.outcomes.items())
        self.stdout.write(f"{validated} keys validated{': ' if labels else ''}{labels}. {done.left} left for later.")
