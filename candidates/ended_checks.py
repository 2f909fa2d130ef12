"""How many checks ended, and how, by the day: counted by the index `check_ended` alone, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Count, Min, Q, Sum

from candidates.models import CandidateCheck
from organizations.models import Organization
from usage.days import end_of_day, start_of_day
from usage.ingest import UtcDay

Status, Category = CandidateCheck.Status, CandidateCheck.Category


@dataclass(frozen=True, slots=True)
class Ended:
    """The checks that ended on one UTC day, of one status and mode. `first_at` is when the first of `latest` ended."""

    day: date
    status: str
    mode: str
    count: int
    strong: int
    charged: int
    latest: int  # those that ended after the moment asked about
    first_at: datetime | None


def ended_checks(
    *, organization: Organization, first: date, last: date, latest_after: datetime | None = None
) -> list[Ended]:
    """Of the days from `first` to `last`; without `latest_after`, all are among the latest."""
    checks = CandidateCheck.objects.for_organization(organization).filter(
        completed_at__range=(start_of_day(first), end_of_day(last))
    )
    latest = Q(completed_at__gt=latest_after) if latest_after else Q()
    rows = (
        checks.order_by()
        .annotate(day=UtcDay("completed_at"))
        .values_list("day", "status", "mode")
        .annotate(
            number=Count("completed_at"),
            strong=Count("completed_at", filter=Q(category=Category.STRONG)),
            credits=Sum("charged"),
            latest=Count("completed_at", filter=latest),
            first_at=Min("completed_at", filter=latest),
        )
    )
    return [
        Ended(day, status, mode, number, strong, credits or 0, latest, first_at)
        for day, status, mode, number, strong, credits, latest, first_at in rows
    ]


def total(ended: Iterable[Ended], of: Callable[[Ended], int], *, status: str = Status.COMPLETED, mode: str = "") -> int:
    return sum(of(each) for each in ended if each.status == status and mode in ("", each.mode))


def briefings_checked(*, organization: Organization, first: date, last: date) -> dict[str, int]:
    """How many briefings had a check completed on these days, by mode; under "" whatever the mode."""
    checks = CandidateCheck.objects.for_organization(organization).filter(
        completed_at__range=(start_of_day(first), end_of_day(last)), status=Status.COMPLETED
    )
    pairs = set(checks.order_by().values_list("briefing_id", "mode").distinct())
    found = {"": len({briefing for briefing, _ in pairs})}
    for _, mode in pairs:
        found[mode] = found.get(mode, 0) + 1
    return found
