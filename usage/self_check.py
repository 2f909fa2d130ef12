"""
Compares the sums that pages read with the calls that they are sums of: a few days of some organizations, each night
others, so that a sum that is wrong is found before somebody pays by it.

What the rollup has taken in by one moment of the database, in which its tables and its watermark are read, has to add
up to the same, row by row. Compared is in the database: of a day there comes back one row, however many calls it had.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Exists, F, Max, Min, OuterRef, Sum

from organizations.models import Organization
from organizations.one_moment import one_moment
from usage.cells import BY_LABEL, DAILY, HOURLY, Source
from usage.days import end_of_day, start_of_day
from usage.kept import derived_from
from usage.measures import rows_of_other_days, with_labels
from usage.models import UsageDaily, UsageEvent
from usage.rollups import are_rolled_up, hours_kept_from

ORGANIZATIONS, DAYS_OF_EACH = 20, 3
MOST_CALLS = 1_000_000  # by their sums: then nothing more is begun; a million takes some ten seconds
SOURCES = (DAILY, HOURLY, BY_LABEL)


class OrganizationDay(NamedTuple):
    organization: Organization
    day: date


@dataclass(frozen=True, slots=True)
class Difference:
    """
    `kept` in the sums of a day, `counted` of its calls. Both may be the same where sums stand in the wrong rows; `off`
    is by how much rows are wrong in all.
    """

    organization: str
    day: date
    sums: str
    measure: str
    kept: int
    counted: int
    off: int

    def __str__(self) -> str:
        by_row = f", {self.off:,} in wrong rows" if self.kept == self.counted else ""
        return (
            f"{self.organization}, {self.day}, {self.measure} ({self.sums}): "
            f"{self.kept:,} kept, {self.counted:,} counted{by_row}"
        )


@dataclass(frozen=True, slots=True)
class Checked:
    days: int
    calls: int
    differences: Sequence[Difference]


def check_usage(*, now: datetime) -> Checked:
    """May run while calls are made and rolled up. Which days are compared follows from the day of `now`."""
    checked, calls, differences = 0, 0, []
    for chosen in _sample(now):
        if calls >= MOST_CALLS:
            break
        with one_moment():
            for source in SOURCES:
                if source is HOURLY and start_of_day(chosen.day) < hours_kept_from(now):
                    continue
                found, calls_of_day = _compare(source, chosen)
                differences += found
                calls += calls_of_day if source is DAILY else 0
        checked += 1
    return Checked(checked, calls, differences)


def _sample(now: datetime) -> Iterator[OrganizationDay]:
    """The newest day that has ended of who used most on it; then some days of some, the same all day long."""
    today = now.date()
    chance = random.Random(today.isoformat())  # noqa: S311  # no secret
    first = UsageEvent.objects.aggregate(first=Min("occurred_at"))["first"]
    if first is None:
        return
    # Of days before, few calls are there to compare with, or none.
    begin = max(first.date().replace(day=1), derived_from() or date.min)
    seen = set()
    if (biggest := _biggest(begin, today)) is not None:
        seen.add(biggest)
        yield biggest
    mine = {"organization": OuterRef("pk")}
    with_sums = Organization.objects.filter(Exists(UsageDaily.objects.filter(**mine)))
    with_calls = Organization.objects.filter(Exists(UsageEvent.objects.filter(**mine)))
    ids = sorted({*with_sums.values_list("pk", flat=True), *with_calls.values_list("pk", flat=True)})
    chosen = chance.sample(ids, min(ORGANIZATIONS, len(ids)))
    for organization in Organization.objects.filter(pk__in=chosen).order_by("pk"):
        for _ in range(DAYS_OF_EACH):
            at = begin + timedelta(days=chance.randrange((today - begin).days + 1))
            day = _day_with_calls(organization, at, today) or _day_with_calls(organization, begin, today)
            if day is not None and (which := OrganizationDay(organization, day)) not in seen:
                seen.add(which)
                yield which


def _biggest(begin: date, today: date) -> OrganizationDay | None:
    day = UsageDaily.objects.filter(day__gte=begin, day__lt=today).aggregate(newest=Max("day"))["newest"]
    of_day = UsageDaily.objects.filter(day=day).values("organization").annotate(all=Sum("calls")).order_by("-all")
    most = of_day.values_list("organization", flat=True).first() if day else None
    return OrganizationDay(Organization.objects.get(pk=most), day) if most and day else None


def _day_with_calls(organization: Organization, begin: date, today: date) -> date | None:
    """The first from `begin` on, by its sums or its calls, whichever has it."""
    rows = UsageDaily.objects.for_organization(organization).filter(day__range=(begin, today))
    calls = UsageEvent.objects.for_organization(organization)
    calls = calls.filter(occurred_at__range=(start_of_day(begin), end_of_day(today)))
    found = (rows.order_by("day").values_list("day", flat=True).first(), calls.order_by("occurred_at").first())
    days = [found[0], found[1].occurred_at.date() if found[1] else None]
    return min((day for day in days if day), default=None)


def _compare(source: Source, chosen: OrganizationDay) -> tuple[list[Difference], int]:
    """What differs, and how many calls the day has by its calls."""
    sql, parameters = _statement(source, chosen)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = [int(value or 0) for value in cursor.fetchone()]
    by_measure = dict(zip(source.measures, zip(row[0::3], row[1::3], row[2::3], strict=True), strict=True))
    differences = [
        Difference(chosen.organization.slug, chosen.day, source.table._meta.db_table, measure, kept, counted, off)
        for measure, (kept, counted, off) in by_measure.items()
        if off
    ]
    return differences, by_measure["calls"][1]


def _statement(source: Source, chosen: OrganizationDay) -> tuple[str, tuple[Any, ...]]:
    """Of each measure: what is kept, what is counted, and by how much rows are wrong in all."""
    organization, day = chosen
    of_day = (start_of_day(day), end_of_day(day))
    rows = source.table.objects.for_organization(organization).order_by()
    rows = rows.filter(**{f"{source.when}__range": (day, day) if source.when == "day" else of_day})
    kept = rows.values_list(*source.dimensions).annotate(**{f"sum_{name}": F(name) for name in source.measures})
    events = are_rolled_up(UsageEvent.objects.for_organization(organization))
    counted = [source.rows(events.filter(occurred_at__range=of_day), *source.dimensions, measures=source.measures)]
    if source is DAILY:
        counted.append(rows_of_other_days(events.filter(run_day=day), *source.dimensions))

    parts = [part.query.get_compiler(connection=connection).as_sql() for part in (kept, *counted)]
    kept_sql, *counted_sql = [with_labels(sql, connection.vendor) if source is BY_LABEL else sql for sql, _ in parts]
    by, measures = ", ".join(source.dimensions), source.measures
    columns = f"{by}, {', '.join(measures)}"
    both = [
        f"SELECT {by}, {', '.join(f'{name} AS kept_{name}, 0 AS counted_{name}' for name in measures)} FROM kept",  # noqa: S608  # names of ours
        f"SELECT {by}, {', '.join(f'0, {name}' for name in measures)} FROM counted",  # noqa: S608
    ]
    added = ", ".join(f"SUM({side}_{name}) AS {side}_{name}" for name in measures for side in ("kept", "counted"))
    told = ", ".join(
        f"SUM(kept_{name}), SUM(counted_{name}), SUM(ABS(kept_{name} - counted_{name}))" for name in measures
    )
    sql = (
        f"WITH kept ({columns}) AS ({kept_sql}), counted ({columns}) AS ({' UNION ALL '.join(counted_sql)}), "  # noqa: S608
        f"both_sides AS ({' UNION ALL '.join(both)}), "
        f"by_row AS (SELECT {added} FROM both_sides GROUP BY {by}) SELECT {told} FROM by_row"
    )
    return sql, tuple(value for _, parameters in parts for value in parameters)
