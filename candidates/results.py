"""Reading the checks of a briefing: one result a person, best first, and how far running ones have come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, Count, Exists, IntegerField, Min, OuterRef, Q, QuerySet, Value, When

from candidates.models import Briefing, CandidateCheck
from organizations.models import Organization

Status = CandidateCheck.Status
Category = CandidateCheck.Category
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
    """One check a person: the latest that did not fail, else the latest. Best fit first."""
    others = CandidateCheck.objects.filter(
        organization=OuterRef("organization"), briefing=OuterRef("briefing"), candidate=OuterRef("candidate")
    )
    later = others.filter(accepted_at__gt=OuterRef("accepted_at"))
    return (
        CandidateCheck.objects.for_organization(briefing.organization)
        .filter(briefing=briefing)
        .filter(~Exists(later.exclude(status=Status.FAILED)))
        .filter(~Q(status=Status.FAILED) | ~Exists(others.exclude(status=Status.FAILED)) & ~Exists(later))
        .annotate(
            place=_numbered("status", (Status.COMPLETED, Status.IN_PROGRESS, Status.PENDING, Status.FAILED)),
            fit=_numbered("category", (Category.STRONG, Category.POSSIBLE, Category.NONE)),
        )
        .order_by("place", "fit", "-score", "candidate__name", "pk")
    )


def progress(briefing: Briefing, *, now: datetime) -> Progress:
    checks = CandidateCheck.objects.for_organization(briefing.organization).filter(briefing=briefing)
    counts = {
        row["status"]: row["count"]
        for row in latest_checks(briefing).order_by().values("status").annotate(count=Count("pk"))
    }
    running = counts.get(Status.PENDING, 0) + counts.get(Status.IN_PROGRESS, 0)
    done, total, oldest = 0, 0, None
    if running:
        oldest = checks.filter(status__in=[Status.PENDING, Status.IN_PROGRESS]).aggregate(oldest=Min("accepted_at"))[
            "oldest"
        ]
    if oldest is not None:
        batch = checks.filter(accepted_at__gte=oldest)
        finished = Q(status__in=[Status.COMPLETED, Status.FAILED])
        sums = batch.aggregate(total=Count("pk"), done=Count("pk", filter=finished))
        done, total = sums["done"], sums["total"]
    return Progress(
        pending=counts.get(Status.PENDING, 0),
        in_progress=counts.get(Status.IN_PROGRESS, 0),
        completed=counts.get(Status.COMPLETED, 0),
        failed=counts.get(Status.FAILED, 0),
        done=done,
        total=total,
        is_waiting=oldest is not None and not counts.get(Status.IN_PROGRESS) and now - oldest > PATIENCE,
    )


def counts_by_briefing(organization: Organization, briefings: Collection[Briefing]) -> dict[int, Counts]:
    """Briefing id → its checks by status, in one query."""
    sums: dict[int, dict[str, int]] = {briefing.pk: {} for briefing in briefings}
    checks = CandidateCheck.objects.for_organization(organization).filter(briefing__in=list(sums))
    rows = checks.values("briefing_id", "status")
    for row in rows.annotate(count=Count("pk")).order_by():
        sums[row["briefing_id"]][row["status"]] = row["count"]
    return {
        pk: Counts(
            running=of.get(Status.PENDING, 0) + of.get(Status.IN_PROGRESS, 0),
            completed=of.get(Status.COMPLETED, 0),
            failed=of.get(Status.FAILED, 0),
        )
        for pk, of in sums.items()
    }


def _numbered(field: str, values: Collection[str]) -> Case:
    """The place of a field's value among `values`, to order by."""
    return Case(
        *(When(**{field: value}, then=Value(number)) for number, value in enumerate(values)),
        default=Value(len(values)),
        output_field=IntegerField(),
    )
