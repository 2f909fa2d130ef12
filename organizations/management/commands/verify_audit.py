from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from organizations.audit_chain import verify_audits
from organizations.completeness import missing_rows
from organizations.database_rights import refuse_without_rights
from organizations.models import Organization
from organizations.progress import progress


class Command(BaseCommand):
    help = "Prove that no audit event was changed or removed. Exits with 1 and names the first broken one if so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="Only this one; else all.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, organization: str | None, **options: Any) -> None:
        refuse_without_rights()
        chosen = Organization.objects.order_by("slug")
        organizations = list(chosen.filter(slug=organization) if organization else chosen)
        if organization and not organizations:
            raise CommandError(f"There is no organization “{organization}”.")
        with progress() as bar:
            found = bar.track(verify_audits(organizations), len(organizations), description="Audit logs")
            reports = {each.slug: report for each, report in found}
        problems = [] if organization else missing_rows()
        problems += [f"{slug}: {report.problem}" for slug, report in reports.items() if report.problem]
        if options["json"]:
            answer = {
                "organizations": [
                    {
                        "organization": slug,
                        "events": report.events,
                        "head": {"seq": report.seq, "hash": report.hash},
                        "broken_seq": report.broken_seq,
                        "problem": report.problem,
                    }
                    for slug, report in reports.items()
                ],
                "problems": problems,
                "verified": not problems,
            }
            self.stdout.write(json.dumps(answer))
        else:
            table = Table("Organization", "Audit log", title="Audit logs")
            table.add_column("Events", justify="right")
            table.add_column("Head", overflow="fold")
            for slug, report in reports.items():
                verdict = f"broken at event {report.broken_seq}" if report.problem else "verified"
                table.add_row(slug, verdict, f"{report.events:,}", f"{report.seq} {report.hash}")
            console = Console(file=self.stdout, highlight=False, markup=False)
            console.print(table)
            for problem in problems:
                console.print(problem, soft_wrap=True)
        if problems:
            sys.exit(1)
