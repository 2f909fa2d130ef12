from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from billing.verification import missing_accounts, verify_ledgers
from organizations.completeness import missing_rows
from organizations.database_rights import refuse_without_rights
from organizations.models import Organization
from organizations.progress import progress


class Command(BaseCommand):
    help = "Prove that every credit balance follows from its ledger entries. Exits with 1 if one does not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="Only this one; else all.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, organization: str | None, **options: Any) -> None:
        refuse_without_rights()
        chosen = Organization.objects.order_by("slug")
        organizations = list(chosen.filter(slug=organization) if organization else chosen)
        if organization and not organizations:
            raise CommandError(f"There is no organization “{organization}”.")
        table = Table("Organization", "Ledger", title="Credit ledgers")
        for heading in ("Entries", "Balance", "Held", "Available"):
            table.add_column(heading, justify="right")
        problems = [] if organization else [*missing_rows(), *missing_accounts()]
        entries = 0
        with progress() as bar:
            for report in bar.track(verify_ledgers(organizations), len(organizations), description="Credit ledgers"):
                slug, found = report.organization.slug, report.problems
                problems += [f"{slug}: {problem}" for problem in found]
                entries += report.entries
                table.add_row(
                    slug,
                    f"{len(found)} problems" if found else "verified",
                    *(f"{n:,}" for n in (report.entries, report.posted, report.held, report.posted - report.held)),
                )
        if options["json"]:
            answer = {
                "organizations": len(organizations),
                "entries": entries,
                "problems": problems,
                "verified": not problems,
            }
            self.stdout.write(json.dumps(answer))
        else:
            console = Console(file=self.stdout, highlight=False, markup=False)
            console.print(table)
            for problem in problems:
                console.print(problem, soft_wrap=True)
        if problems:
            sys.exit(1)
