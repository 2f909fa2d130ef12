"""
What anomalies are looked for in: hours and callers of everybody, each in one statement, an organization at a time.

The hours are those of the rollup, so whoever asks rolls up first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from django.db.models import Exists, Min, OuterRef, Sum

from usage.anomalies.rules import Caller, Run, RunsOfDay
from usage.anomalies.series import DAY, Hour, Series, moment_of, number_of
from usage.models import UsageDaily, UsageEvent, UsageHourly
from usage.rollups import HOURS_KEPT_DAYS

MEASURES = (
    *("calls", "answered", "failed", "lost", "retried_calls", "unpriced_calls", "unreported_calls"),
    *("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_nanousd"),
)
AT_ONCE = 2_000  # rows
LATELY = timedelta(days=1)
DEAR_HOUR_NANOUSD = 250_000_000  # of a run: one that costs less in an hour is not looked at


class Stream(NamedTuple):
    """The calls of one action in one mode, which one organization routes as one."""

    action: str
    mode: str


class _Row(NamedTuple):
    organization_id: int
    hour: datetime
    action: str
    mode: str
    provider: str
    model: str
    calls: int
    answered: int
    failed: int
    lost: int
    retried_calls: int
    unpriced_calls: int
    unreported_calls: int
    uncached_input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_nanousd: int


def hours_of_everybody(first: int, last: int) -> Iterator[tuple[int, dict[Stream, Series]]]:
    """
    By organization, of those that called between the day before the end of hour `first` and the end of `last`: all
    that is kept, up to then.
    """
    begin, end = moment_of(first + 1), moment_of(last + 1)
    lately = UsageHourly.objects.filter(hour__gte=begin - LATELY, hour__lt=end)
    rows = (
        UsageHourly.objects.filter(
            organization__in=lately.values("organization"),
            organization__closed_at=None,
            organization__is_platform=False,
            hour__gte=begin - timedelta(days=HOURS_KEPT_DAYS),
            hour__lt=end,
        )
        .order_by("organization_id", "hour")
        .values_list("organization_id", "hour", "action", "mode", "provider", "model", *MEASURES)
    )
    found = (_Row(*row) for row in rows.iterator(AT_ONCE))
    for organization, of_organization in groupby(found, lambda row: row.organization_id):
        yield organization, _streams(of_organization, last)


def _streams(rows: Iterator[_Row], last: int) -> dict[Stream, Series]:
    by_hour: defaultdict[Stream, dict[int, list[_Row]]] = defaultdict(dict)
    for row in rows:
        by_hour[Stream(row.action, row.mode)].setdefault(number_of(row.hour), []).append(row)
    return {
        stream: Series(
            stream.action, first := min(hours), [_hour(hours.get(hour, [])) for hour in range(first, last + 1)]
        )
        for stream, hours in by_hour.items()
    }


def _hour(rows: list[_Row]) -> Hour:
    def total(*names: str) -> int:
        return sum(getattr(row, name) for row in rows for name in names)

    models: dict[str, int] = {}
    costs: dict[str, int] = {}
    for row in rows:
        name = f"{row.provider}/{row.model}"
        models[name] = models.get(name, 0) + row.calls
        if row.answered > row.unpriced_calls:
            costs[name] = costs.get(name, 0) + row.cost_nanousd
    return Hour(
        calls=total("calls"),
        failed=total("failed", "lost"),
        priced_calls=max(0, total("answered") - total("unpriced_calls")),
        cost_nanousd=max(0, total("cost_nanousd")),
        counted_calls=max(0, total("answered") - total("unreported_calls")),
        uncached_input_tokens=total("uncached_input_tokens"),
        cache_read_tokens=total("cache_read_tokens"),
        cache_write_tokens=total("cache_write_tokens"),
        output_tokens=total("output_tokens"),
        retried_calls=total("retried_calls"),
        models=models,
        model_costs=costs,
    )


class SeenCaller(NamedTuple):
    mode: str
    caller: Caller


def new_callers_of_everybody(hour: int) -> Mapping[int, list[SeenCaller]]:
    """By organization: tokens that called on the day of `hour` or the one before, and on none of those kept before."""
    end = moment_of(hour + 1)
    today = moment_of(hour).date()
    yesterday = today - LATELY
    earlier = UsageDaily.objects.filter(
        organization=OuterRef("organization"),
        token_id=OuterRef("token_id"),
        day__gte=yesterday - timedelta(days=HOURS_KEPT_DAYS),
        day__lt=yesterday,
    )
    rows = (
        UsageDaily.objects.filter(day__gte=yesterday, day__lte=today, token_id__gt=0, organization__closed_at=None)
        .filter(~Exists(earlier))
        .order_by()
        .values_list("organization_id", "token_id", "action", "mode")
        .annotate(
            first=Min("day"),
            calls=Sum("calls"),
            cost=Sum("cost_nanousd"),
            without=Sum("unpriced_calls") + Sum("unknown_calls"),
        )
    )
    found: defaultdict[int, list[SeenCaller]] = defaultdict(list)
    for organization, token, action, mode, first, calls, cost, without in rows.iterator(AT_ONCE):
        known = None if without and not cost else cost
        first_hour = number_of(end) // DAY * DAY - (end.date() - first).days * DAY
        found[organization].append(SeenCaller(mode, Caller(str(token), action, first_hour, calls, known)))
    return found


class SeenRun(NamedTuple):
    stream: Stream
    run: Run


def dear_runs_of_everybody(hour: int) -> Mapping[int, list[SeenRun]]:
    """By organization: runs that cost much in `hour`, with all that they cost."""
    start, end = moment_of(hour), moment_of(hour + 1)
    lately = (
        UsageEvent.objects.filter(occurred_at__gte=start, occurred_at__lt=end)
        .order_by()
        .values("organization_id", "run_id")
        .annotate(cost=Sum("cost_nanousd"))
        .filter(cost__gte=DEAR_HOUR_NANOUSD)
    )
    ids = {(row["organization_id"], row["run_id"]) for row in lately}
    found: defaultdict[int, list[SeenRun]] = defaultdict(list)
    if not ids:
        return found
    whole = (
        UsageEvent.objects.filter(
            organization__in={organization for organization, _ in ids}, run_id__in={run for _, run in ids}
        )
        .order_by()
        .values_list("organization_id", "run_id", "action", "mode")
        .annotate(first=Min("occurred_at"), cost=Sum("cost_nanousd"))
    )
    for organization, run_id, action, mode, first, cost in whole:
        if (organization, run_id) in ids and cost:
            run = Run(str(run_id), action, number_of(first), cost)
            found[organization].append(SeenRun(Stream(action, mode), run))
    return found


def usual_runs(organizations: list[int], hour: int) -> dict[tuple[int, Stream], list[RunsOfDay]]:
    """What runs of these organizations cost on each of the last 28 days before that of `hour`."""
    today = moment_of(hour).date()
    rows = (
        UsageDaily.objects.filter(
            organization__in=organizations, day__lt=today, day__gte=today - timedelta(days=28), priced_runs__gt=0
        )
        .order_by()
        .values_list("organization_id", "action", "mode", "day")
        .annotate(runs=Sum("priced_runs"), cost=Sum("run_cost_nanousd"))
    )
    found: defaultdict[tuple[int, Stream], list[RunsOfDay]] = defaultdict(list)
    for organization, action, mode, _, runs, cost in rows:
        found[organization, Stream(action, mode)].append(RunsOfDay(runs, cost))
    return found
