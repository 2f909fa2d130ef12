from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from providers.models import ProviderKey
from providers.notices import send_due_break_notices
from providers.validation import KEEP_DAYS, forget_old_validations, validate_due_keys


class Command(BaseCommand):
    help = (
        "Ask providers again about keys that were validated before; owners and admins are told of those that broke. "
        f"Results older than {KEEP_DAYS} days are forgotten, but never a key's newest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", metavar="HOURS", default="24", help="Keys whose last answer is older (default 24)."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, older_than: str, **options: Any) -> None:
        if not older_than.isdecimal() or len(older_than) > 6:
            raise CommandError(f"“{older_than}” is no number of hours: give a whole number from 0.")
        done = validate_due_keys(now=timezone.now(), older_than=timedelta(hours=int(older_than)))
        forget_old_validations(now=timezone.now())
        told = send_due_break_notices()
        validated = sum(done.outcomes.values())
        if options["json"]:
            answer = {"validated": validated, "left": done.left, "outcomes": done.outcomes, "notices_sent_late": told}
            self.stdout.write(json.dumps(answer))
            return
        labels = ", ".join(f"{count} {ProviderKey.Status(status).label}" for status, count in done.outcomes.items())
        self.stdout.write(f"{validated} keys validated{': ' if labels else ''}{labels}. {done.left} left for later.")
