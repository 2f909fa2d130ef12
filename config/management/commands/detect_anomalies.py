from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.anomalies import said_of
from config.anomaly_hooks import post_anomalies
from organizations import clock
from providers.keys.usage_readings import readings
from usage.episodes.following import detect_anomalies
from usage.episodes.telling import tell_anomalies
from usage.rollups import RollupRefused


class Command(BaseCommand):
    help = (
        "Judges the last hours of everybody's calls, those missed too, and tells of what is out of the ordinary. "
        "Safe to run at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        try:
            detected = detect_anomalies(now=now, readings=readings)
        except RollupRefused as refused:
            raise CommandError(str(refused)) from None
        mailed = tell_anomalies(now=now, said_of=said_of)
        posted = post_anomalies(now=now)
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(detected), "mailed": mailed, "posted": posted}))
        else:
            self.stdout.write(
                f"Judged {detected.actions} actions of {detected.organizations} organizations in {detected.hours} "
                f"hour{'s' if detected.hours > 1 else ''}: {detected.opened} new anomalies, {detected.over} over; "
                f"{mailed} e-mails, {posted} posted."
            )
