"""
What is summed of calls, and how: the one definition, for the rollup and for what is not rolled up yet.

A measure stands in `Sums` and in the aggregates below; UsageDaily has a column of its name, and pages read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import Aggregate, Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from usage import gaps
from usage.models import UsageEvent
from usage.querysets import UsageEventQuerySet

Status = UsageEvent.Status
TOKENS = F("uncached_input_tokens") + F("cache_read_tokens") + F("cache_write_tokens") + F("output_tokens")


class Sums(NamedTuple):
    """The measures: of a row of UsageDaily, and of anything that rows are added up to."""

    calls: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0
    unpriced_calls: int = 0
    unknown_calls: int = 0
    unreported_calls: int = 0
    own_server_calls: int = 0
    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    latency_ms: int = 0
    runs: int = 0
    priced_runs: int = 0
    partly_priced_runs: int = 0
    own_server_runs: int = 0
    run_cost_nanousd: int = 0
    run_tokens: int = 0
    run_unreported_calls: int = 0

    @property
    def input_tokens(self) -> int:
        return self.uncached_input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def calls_without_cost(self) -> int:
        """Those whose cost nobody knows."""
        return self.unpriced_calls + self.unknown_calls

    @property
    def calls_without_tokens(self) -> int:
        """Those whose tokens nobody knows."""
        return self.unreported_calls + self.unknown_calls


def daily_rows(events: UsageEventQuerySet, *dimensions: str) -> QuerySet[UsageEvent, Any]:
    """
    `events` summed by `dimensions` of UsageDaily: tuples of the dimensions, then MEASURES in order.

    Of runs that belong to another day, `rows_of_other_days` has the measures of runs; everything needs both.
    """
    sums = {f"sum_{name}": aggregate for name, aggregate in _aggregates().items()}
    return _by(events.with_day(), dimensions).annotate(**sums)


def rows_of_other_days(events: UsageEventQuerySet, *dimensions: str) -> QuerySet[UsageEvent, Any]:
    """The same for the few events whose run belongs to another day: what they add to the runs of that day."""
    sums = {f"sum_{name}": aggregate for name, aggregate in _run_aggregates().items()}
    nothing = {f"sum_{name}": Value(0) for name in CALL_MEASURES}
    other = events.filter(run_day__isnull=False).annotate(day=F("run_day"))
    return _by(other, dimensions).annotate(**nothing, **sums)


def sorted_by(rows: QuerySet[UsageEvent, Any], *dimensions: str) -> QuerySet[UsageEvent, Any]:
    """Such rows in the order of all their dimensions, as they come out of grouping them."""
    return rows.order_by(*(f"by_{name}" for name in dimensions))


def _by(events: UsageEventQuerySet, dimensions: Sequence[str]) -> QuerySet[UsageEvent, Any]:
    # As expressions all of them, since Django groups by columns before it does by expressions, such as a day: SQLite
    # would then sort what it grouped once more.
    return (
        events.order_by()
        .annotate(**{f"by_{name}": F(name) for name in dimensions})
        .values_list(*(f"by_{name}" for name in dimensions))
    )


def _aggregates() -> dict[str, Aggregate | Coalesce]:
    """What UsageDaily sums, over events; one definition for the rollup and for what is not rolled up yet."""
    return {**_call_aggregates(), **_run_aggregates(Q(run_day__isnull=True))}


def _run_aggregates(of: Q | None = None) -> dict[str, Aggregate | Coalesce]:
    """What is summed by the day on which the run began."""
    where = of or Q()
    return {
        "runs": Count("id", filter=where & Q(counts_run=True)),
        "priced_runs": Count("id", filter=where & Q(counts_priced_run=True)),
        "partly_priced_runs": Count("id", filter=where & Q(counts_partly_priced_run=True)),
        "own_server_runs": Count("id", filter=where & Q(counts_priced_run=True) & gaps.OWN_SERVER),
        "run_cost_nanousd": Coalesce(Sum("cost_nanousd", filter=of), Value(0)),
        "run_tokens": Coalesce(Sum(TOKENS, filter=of), Value(0)),
        "run_unreported_calls": Count("id", filter=where & gaps.TOKENS_NOT_KNOWN),
    }


def _call_aggregates() -> dict[str, Aggregate | Coalesce]:
    """What is summed by the day on which the call left."""
    return {
        "calls": Count("id", filter=Q(revision=0)),
        "answered": Count("id", filter=Q(status=Status.ANSWERED)),
        "failed": Count("id", filter=Q(status__in=UsageEvent.ERRORS)),
        "lost": Count("id", filter=Q(status=Status.LOST)),
        "unpriced_calls": Count("id", filter=gaps.UNPRICED),
        "unknown_calls": Count("id", filter=gaps.UNKNOWN),
        "unreported_calls": Count("id", filter=gaps.UNREPORTED),
        "own_server_calls": Count("id", filter=gaps.OWN_SERVER),
        "uncached_input_tokens": Sum("uncached_input_tokens"),
        "cache_read_tokens": Sum("cache_read_tokens"),
        "cache_write_tokens": Sum("cache_write_tokens"),
        "output_tokens": Sum("output_tokens"),
        "reasoning_tokens": Sum("reasoning_tokens"),
        "cost_nanousd": Coalesce(Sum("cost_nanousd"), Value(0)),
        "latency_ms": Sum("latency_ms"),
    }


CALL_MEASURES, RUN_MEASURES = tuple(_call_aggregates()), tuple(_run_aggregates())
MEASURES = Sums._fields
if tuple(_aggregates()) != MEASURES:
    raise TypeError("Sums and its aggregates name other measures, or in another order.")
