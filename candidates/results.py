"""Reading the checks of a briefing: one result a person, best first, and how far running ones have come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Min, QuerySet

from candidates.models import STATUS_RANK, Briefing, CandidateCheck
from organizations.models import Organization

Status = CandidateCheck.Status
PLACES = (Status.COMPLETED, Status.IN_PROGRESS, Status.PENDING, Status.FAILED)  # of the rank
# Longer than a worker needs to notice new checks.
PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Checks of a briefing by status, one a person; `done` of `total` are those of the batch that still runs.
    """

    pending: int
    in_progress: int
    completed: int
    failed: int
    done: int
    total: int
    is_waiting: bool  # nothing has been picked up for a while

    @property
    def is_running(self) -> bool:
        return bool(self.pending or self.in_progress)


@dataclass(frozen=True, slots=True)
class Counts:
    """All checks of one briefing, by status."""

    running: int = 0
    completed: int = 0
    failed: int = 0


def latest_checks(briefing: Briefing) -> QuerySet[CandidateCheck]:
    """One check a person: the latest that did not fail, else the latest."""
    return CandidateCheck.objects.for_organization(briefing.organization).filter(briefing=briefing, is_latest=True)


def progress(briefing: Briefing, *, now: datetime) -> Progress:
    latest = latest_checks(briefing)
    ranks = latest.annotate(place=F("rank") / STATUS_RANK).values_list("place").annotate(count=Count("*"))
    counts = {PLACES[place]: count for place, count in ranks.order_by()}
    running = counts.get(Status.PENDING, 0) + counts.get(Status.IN_PROGRESS, 0)
    total, oldest = 0, None
    if running:
        first, last = PLACES.index(Status.IN_PROGRESS), PLACES.index(Status.PENDING)
        # By the rank, not by the status: an index leads to these few of many thousand.
        of_the_open = latest.filter(rank__gte=first * STATUS_RANK, rank__lt=(last + 1) * STATUS_RANK)
        # With a count, as PostgreSQL looks for a minimum alone in the order of its column, which is through all.
        oldest = of_the_open.aggregate(oldest=Min("accepted_at"), count=Count("pk"))["oldest"]
    if oldest is not None:
        checks = CandidateCheck.objects.for_organization(briefing.organization).filter(briefing=briefing)
        # By each status, in the order of the index.
        total = checks.filter(status__in=Status.values, accepted_at__gte=oldest).count()
    return Progress(
        pending=counts.get(Status.PENDING, 0),
        in_progress=counts.get(Status.IN_PROGRESS, 0),
        completed=counts.get(Status.COMPLETED, 0),
        failed=counts.get(Status.FAILED, 0),
        done=max(0, total - running),
        total=total,
        is_waiting=oldest is not None and not counts.get(Status.IN_PROGRESS) and now - oldest > PATIENCE,
    )


def counts_by_briefing(organization: Organization, briefings: Collection[Briefing]) -> dict[int, Counts]:
    """Briefing id → its checks by status, in one query."""
    sums: dict[int, dict[str, int]] = {briefing.pk: {} for briefing in briefings}
    checks = CandidateCheck.objects.for_organization(organization).filter(briefing__in=list(sums))
    rows = checks.values("briefing_id", "status")
    for row in rows.annotate(count=Count("*")).order_by():
        sums[row["briefing_id"]][row["status"]] = row["count"]
    return {
        pk: Counts(
            running=of.get(Status.PENDING, 0) + of.get(Status.IN_PROGRESS, 0),
            completed=of.get(Status.COMPLETED, 0),
            failed=of.get(Status.FAILED, 0),
        )
        for pk, of in sums.items()
    }
