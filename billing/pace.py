"""How long the credits of an organization last, if it goes on as it did in the last 30 days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import Sum

from billing.models import LedgerEntry
from organizations.models import Organization
from usage.days import MONTH, start_of_day
from usage.ingest import UtcDay

LEAST_HISTORY = 14  # days that an organization has to exist before a pace says anything of it
LEAST_DAYS_CHARGED = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """`charged` credits on `days_charged` of the last `days` days, today included; 30, or as many as there were."""

    charged: int
    days_charged: int
    days: int
    available: int

    @property
    def days_left(self) -> int | None:
        """For how many whole days the credits last at this pace; None where there is too little history to say."""
        if self.days < LEAST_HISTORY or self.days_charged < LEAST_DAYS_CHARGED or not self.charged:
            return None
        return int(Decimal(self.available * self.days) / self.charged)


def charged_by_day(*, organization: Organization, first: date) -> dict[date, int]:
    """Credits charged on each UTC day from then on that had any."""
    entries = LedgerEntry.objects.for_organization(organization).filter(
        kind=LedgerEntry.Kind.CAPTURE, created_at__gte=start_of_day(first)
    )
    charged = (
        entries.order_by().annotate(day=UtcDay("created_at")).values_list("day").annotate(credits=-Sum("d_posted"))
    )
    return {day: credits for day, credits in charged if credits}


def pace(*, organization: Organization, today: date, charged: Mapping[date, int], available: int) -> Pace:
    """Of what `charged_by_day` found in the last 30 days."""
    age = (today - organization.created_at.date()) // timedelta(days=1) + 1
    return Pace(sum(charged.values()), len(charged), max(1, min(MONTH, age)), available)
