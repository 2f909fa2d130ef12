from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet, Sum
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from billing.ledger import NotEnoughCredits, balance
from candidates.acceptance import Accepted, BriefingNotReady, accept_checks
from candidates.briefings import unchecked_candidates
from candidates.check_endings import OPEN
from candidates.credit_costs import MOST_AT_ONCE
from candidates.failure_cap import TooManyFailures
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.worker import run_pending_checks
from organizations import clock
from organizations.models import Organization
from organizations.reading import LARGEST_ID
from organizations.typed_numbers import number_argument
from routing.resolve import RouteUnavailable

LOOK_SECONDS = 0.5
MOST_CHECKS = 1_000_000_000
Status = CandidateCheck.Status


class Command(BaseCommand):
    help = (
        "Check an organization's candidates against a briefing, here and now. Who was checked already, or is "
        "being checked, is skipped. Many are accepted some thousand at a time. Ctrl-C leaves those accepted to the "
        "background workers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = argparse.HelpFormatter
        parser.add_argument("--organization", required=True, metavar="SLUG", help="whose candidates")
        parser.add_argument(
            "--briefing", required=True, type=number_argument(), metavar="ID", help="number in its address"
        )
        parser.add_argument(
            "--limit",
            type=number_argument(least=1, most=MOST_CHECKS),
            metavar="N",
            help="check at most so many, oldest import first",
        )
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = _organization(options["organization"])
        briefing = _briefing(organization, options["briefing"])
        limit = options["limit"]
        unchecked = list(unchecked_candidates(briefing).order_by("pk").values_list("pk", flat=True))
        everybody = Candidate.objects.for_organization(organization)
        wanted, asked, refusal = unchecked[:limit], 0, ""
        skipped = everybody.count() - len(unchecked)
        of_all: list[UUID] = []
        for start in range(0, len(wanted), MOST_AT_ONCE):
            people = list(everybody.filter(pk__in=wanted[start : start + MOST_AT_ONCE]).order_by("pk"))
            try:
                accepted = _accept(organization, briefing, people)
            except CommandError as error:
                if not asked:
                    raise
                refusal = str(error)
                break
            asked += len(people)
            skipped += accepted.skipped
            ids = [check.pk for check in accepted.checks]
            of_all += ids
            _work_off(_checks(organization, ids), organization, total=len(ids))
        checks = _checks(organization, of_all)
        result = {
            "briefing": briefing.pk,
            "accepted": len(of_all),
            "skipped": skipped,
            "left": len(unchecked) - asked,
            "completed": checks.filter(status=Status.COMPLETED).count(),
            "failed": checks.filter(status=Status.FAILED).count(),
            **{name: checks.filter(category=name).count() for name in CandidateCheck.Category.values},
            "credits": checks.aggregate(sum=Sum("charged"))["sum"] or 0,
            "credits_available": balance(organization=organization).available,
        }
        failed = checks.filter(status=Status.FAILED).only("failure", "failure_reason")
        failures = Counter(check.why_failed for check in failed.iterator())
        if options["json"]:
            self.stdout.write(json.dumps({**result, "failures": dict(failures.most_common())}))
        else:
            self._print(result, failures)
        if refusal:
            raise CommandError(refusal)

    def _print(self, result: dict[str, Any], failures: Counter[str]) -> None:
        table = Table("Result", "Checks", show_edge=False)
        for label, name in (
            ("Strong fit", "strong"),
            ("Possible fit", "possible"),
            ("No fit", "none"),
            ("Failed, for no credits", "failed"),
        ):
            table.add_row(label, str(result[name]))
        console = Console(file=self.stdout)
        console.print(table)
        self.stdout.write(
            f"{result['accepted']} checked for {result['credits']} credits, {result['skipped']} skipped as "
            f"checked already, {result['left']} left. {result['credits_available']} credits available."
        )
        for failure, count in failures.most_common():
            self.stderr.write(f"{count} failed: {failure}")


def _accept(organization: Organization, briefing: Briefing, people: list[Candidate]) -> Accepted:
    try:
        return accept_checks(
            organization=organization, briefing=briefing, candidates=people, actor=None, now=clock.now()
        )
    except (BriefingNotReady, NotEnoughCredits, RouteUnavailable, TooManyFailures) as error:
        raise CommandError(str(error)) from None


def _checks(organization: Organization, ids: list[UUID]) -> QuerySet[CandidateCheck]:
    return CandidateCheck.objects.for_organization(organization).filter(pk__in=ids)


def _work_off(checks: QuerySet[CandidateCheck], organization: Organization, *, total: int) -> None:
    """Work until all `checks` are done; what another worker took is waited for."""
    if not total:
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as progress:
        bar = progress.add_task("Checking candidates", total=total)
        while True:
            run_pending_checks(organization_id=organization.pk, on_finished=lambda status: progress.advance(bar))
            left = checks.filter(status__in=OPEN).count()
            progress.update(bar, completed=total - left)
            if not left:
                return
            time.sleep(LOOK_SECONDS)


def _organization(slug: str) -> Organization:
    organization = Organization.objects.customers().filter(slug=slug, closed_at=None).first()
    if organization is None:
        raise CommandError(f"There is no organization “{slug}”.")
    return organization


def _briefing(organization: Organization, briefing_id: int) -> Briefing:
    briefings = Briefing.objects.for_organization(organization).select_related("organization")
    found = briefings.filter(pk=briefing_id).first() if 0 < briefing_id <= LARGEST_ID else None
    if found is not None:
        return found
    known = ", ".join(f"{each.pk} ({each})" for each in briefings.order_by("-pk")[:5])
    raise CommandError(
        f"{organization} has no briefing {briefing_id}. "
        + (f"There are: {known}." if known else "It has no briefing at all: write one first.")
    )
