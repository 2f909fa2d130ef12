"""Which usage events, and in which order."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Self

from django.db.models import Q
from django.db.models.lookups import GreaterThanOrEqual, LessThanOrEqual

from organizations.models import TenantQuerySet
from usage.days import end_of_day, start_of_day
from usage.ingest import UtcDay

if TYPE_CHECKING:
    from usage.models import UsageEvent


class UsageEventQuerySet(TenantQuerySet["UsageEvent"]):
    def on_days(self, first_day: date, last_day: date) -> Self:
        """By the day of each event and no index: for the few events that are not rolled up."""
        day = UtcDay("occurred_at")
        return self.filter(GreaterThanOrEqual(day, first_day), LessThanOrEqual(day, last_day))

    def left_on_days(self, first_day: date | None, last_day: date | None) -> Self:
        """By the day each call left; both days are included, and None is no end."""
        events = self.filter(occurred_at__gte=start_of_day(first_day)) if first_day else self
        return events.filter(occurred_at__lte=end_of_day(last_day)) if last_day else events

    def of_runs_on_days(self, first_day: date | None, last_day: date | None) -> tuple[Self, Self]:
        """By the day that the run of each call belongs to: where it is the day the call left, and where not (few)."""
        others = self.filter(run_day__range=(first_day or date.min, last_day or date.max))
        return self.filter(run_day__isnull=True).left_on_days(first_day, last_day), others

    def latest_first(self) -> Self:
        return self.order_by("-occurred_at", "-id")

    def before(self, event: UsageEvent) -> Self:
        """What follows `event` when the latest come first."""
        same_moment = Q(occurred_at=event.occurred_at, id__lt=event.pk)
        # The first condition is what an index can begin at; it has no use for "or".
        return self.filter(Q(occurred_at__lt=event.occurred_at) | same_moment, occurred_at__lte=event.occurred_at)
