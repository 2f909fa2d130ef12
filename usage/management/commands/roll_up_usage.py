from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from organizations import clock
from usage.rollups import RollupRefused, rebuild, roll_up


class Command(BaseCommand):
    help = "Add new usage events to the daily figures that pages read. Safe to run at any time, by any number."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="Derive all daily figures anew from the events.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as bars:
            bar = bars.add_task("Rolling up", total=None)
            try:
                result = (rebuild if options["rebuild"] else roll_up)(
                    now=clock.now(), progress=lambda done, whole: bars.update(bar, completed=done, total=whole)
                )
            except RollupRefused as refused:
                raise CommandError(str(refused)) from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(result)))
        else:
            self.stdout.write(f"Rolled up {result.events} usage events: {result.rows} additions to daily rows.")
