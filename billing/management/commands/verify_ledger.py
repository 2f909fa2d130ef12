from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from billing import ledger
from billing.models import LedgerEntry
from billing.verification import missing_accounts, verify_ledger
from organizations.completeness import missing_rows
from organizations.database_rights import refuse_without_rights
from organizations.models import Organization


class Command(BaseCommand):
    help = "Prove that every credit balance follows from its ledger entries. Exits with 1 if one does not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="Only this one; else all.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, organization: str | None, **options: Any) -> None:
        refuse_without_rights()
        organizations = Organization.objects.order_by("slug")
        if organization:
            organizations = organizations.filter(slug=organization)
            if not organizations:
                raise CommandError(f"There is no organization “{organization}”.")
        table = Table("Organization", "Ledger", title="Credit ledgers")
        for heading in ("Entries", "Balance", "Held", "Available"):
            table.add_column(heading, justify="right")
        problems = [] if organization else [*missing_rows(), *missing_accounts()]
        entries = 0
        for each in organizations:
            found = verify_ledger(organization=each)
            problems += [f"{each.slug}: {problem}" for problem in found]
            count = LedgerEntry.objects.for_organization(each).count()
            entries += count
            credits = ledger.balance(organization=each)
            table.add_row(
                each.slug,
                f"{len(found)} problems" if found else "verified",
                *(f"{n:,}" for n in (count, credits.posted, credits.held, credits.available)),
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
