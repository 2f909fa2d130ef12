from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from organizations.outbox.sending import send_waiting_mail


class Command(BaseCommand):
    help = "Sends the mails that wait in the outbox and are due, and forgets old ones."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--now", action="store_true", help="Try every waiting mail, also after failures just now.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        run = send_waiting_mail(even_if_paused=options["now"])
        if options["json"]:
            self.stdout.write(json.dumps(asdict(run)))
        else:
            self.stdout.write(
                f"Mails: {run.sent} sent, {run.failed} failed for now, {run.given_up} given up, {run.waiting} waiting."
            )
