from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from organizations import clock
from organizations.database_rights import refuse_unless_owner
from organizations.typed_numbers import number_argument
from usage.days import months_before
from usage.parquet import ParquetFailed
from usage.pruning import FEWEST_MONTHS, PruneRefused, prune_usage

MOST_MONTHS = 1200


class Command(BaseCommand):
    help = (
        "Has the calls of old months leave the database for good, as the owner of its tables; daily figures stay. "
        "Refused while any of them is not in those."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=number_argument(least=FEWEST_MONTHS, most=MOST_MONTHS),
            required=True,
            metavar="MONTHS",
            help="Keep this month and so many before it.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would leave, or why it may not.")
        parser.add_argument(
            "--parquet", type=Path, metavar="FOLDER", help="Write what leaves there before it does, a file a month."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, older_than: int, dry_run: bool, parquet: Path | None, **options: Any) -> None:
        if not dry_run:
            refuse_unless_owner("prune_usage")
        before = months_before(clock.now().date(), older_than)
        try:
            pruned = prune_usage(before=before, folder=parquet, dry_run=dry_run, waits=self._say_that_it_waits)
        except (PruneRefused, ParquetFailed) as refused:
            raise CommandError(str(refused)) from None
        if options["json"]:
            files = [{"path": str(each.path), "rows": each.rows, "sha256": each.sha256} for each in pruned.files]
            answer = {"before": str(pruned.before), "events": pruned.events, "runs": pruned.runs, "files": files}
            self.stdout.write(json.dumps(answer | {"dry_run": dry_run}))
            return
        for file in pruned.files:
            self.stdout.write(f"{file.sha256}  {file.path} ({file.rows:,} calls)")
        done = "would leave" if dry_run else "left"
        self.stdout.write(
            f"{pruned.events:,} usage events of before {before} {done}, and {pruned.runs:,} runs of theirs."
        )

    def _say_that_it_waits(self) -> None:
        self.stderr.write("Another process has calls leave, or seals months. Waiting for its end.")
