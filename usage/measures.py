"""
What is summed of calls, and how: the one definition, for the rollup and for what is not rolled up yet.

A measure stands in `Sums` and in the aggregates below; the tables of `usage/rollup_tables.py` have columns of their
names, and pages read them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.db.models import Aggregate, BigIntegerField, Count, F, Q, QuerySet, Sum, Value
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Cast, Coalesce, Greatest

from usage import gaps
from usage.ingest import UtcDay, UtcHour
from usage.models import UsageEvent
from usage.querysets import UsageEventQuerySet
from usage.rollup_tables import CallSums

Status = UsageEvent.Status
TOKENS = F("uncached_input_tokens") + F("cache_read_tokens") + F("cache_write_tokens") + F("output_tokens")
PARTS = ("system_tokens", "tools_tokens", "retrieved_tokens", "history_tokens", "user_tokens")
LATENCY_BOUNDS_MS = (
    *(100, 200, 350, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000),
    *(7_500, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000),
)


class Sums(NamedTuple):
    """The measures: of a row of a rollup, and of anything that rows are added up to."""

    calls: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0
    retried_calls: int = 0
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
    within_100_ms: int = 0
    within_200_ms: int = 0
    within_350_ms: int = 0
    within_500_ms: int = 0
    within_750_ms: int = 0
    within_1000_ms: int = 0
    within_1500_ms: int = 0
    within_2000_ms: int = 0
    within_3000_ms: int = 0
    within_5000_ms: int = 0
    within_7500_ms: int = 0
    within_10000_ms: int = 0
    within_15000_ms: int = 0
    within_20000_ms: int = 0
    within_30000_ms: int = 0
    within_60000_ms: int = 0
    within_120000_ms: int = 0
    runs: int = 0
    system_tokens: int = 0
    tools_tokens: int = 0
    retrieved_tokens: int = 0
    history_tokens: int = 0
    user_tokens: int = 0
    uncached_prefix_tokens: int = 0
    input_cost_nanousd: int = 0
    output_cost_nanousd: int = 0
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
    def parts_tokens(self) -> int:
        """Of input: those of which it is known what they were for."""
        return sum(getattr(self, name) for name in PARTS)

    @property
    def calls_without_cost(self) -> int:
        """Those whose cost nobody knows."""
        return self.unpriced_calls + self.unknown_calls

    @property
    def calls_without_tokens(self) -> int:
        """Those whose tokens nobody knows."""
        return self.unreported_calls + self.unknown_calls

    def latency_percentile(self, share: float) -> int | None:
        """
        In how many milliseconds this share (0 to 1) of the answered calls was answered, about: evenly spread between
        two bounds, as Prometheus' `histogram_quantile` takes them; at most the last bound. None without an answer.
        """
        if not self.answered:
            return None
        wanted, below, lower = share * self.answered, 0, 0
        for bound in LATENCY_BOUNDS_MS:
            within: int = getattr(self, f"within_{bound}_ms")
            if within >= wanted and within > below:
                return round(lower + (bound - lower) * (wanted - below) / (within - below))
            below, lower = within, bound
        return LATENCY_BOUNDS_MS[-1]


def daily_rows(
    events: UsageEventQuerySet, *dimensions: str, measures: Collection[str] | None = None
) -> QuerySet[UsageEvent, Any]:
    """
    `events` summed by `dimensions` of UsageDaily: tuples of the dimensions, then `measures` (all) in order.

    Of runs that belong to another day, `rows_of_other_days` has the measures of runs; everything needs both.
    """
    aggregates = _call_aggregates() | _run_aggregates(Q(run_day__isnull=True))
    return _summed(events, dimensions, _wanted(aggregates, measures))


def rows_of_other_days(
    events: UsageEventQuerySet, *dimensions: str, measures: Collection[str] | None = None
) -> QuerySet[UsageEvent, Any]:
    """The same for the few events whose run belongs to another day: what they add to the runs of that day."""
    nothing: dict[str, Any] = dict.fromkeys(CALL_MEASURES, Value(0))
    other = events.filter(run_day__isnull=False)
    return _summed(other, dimensions, _wanted(nothing | _run_aggregates(), measures), day=F("run_day"))


def coarse_rows(
    events: UsageEventQuerySet, *dimensions: str, measures: Collection[str] | None = None
) -> QuerySet[UsageEvent, Any]:
    """`events` summed by `dimensions` of UsageHourly or UsageByLabel; see `with_labels` for the latter."""
    aggregates = _call_aggregates() | {"runs": Count("id", filter=Q(counts_run=True))}
    return _summed(events, dimensions, _wanted(aggregates, COARSE_MEASURES if measures is None else measures))


def with_labels(sql: str, vendor: str) -> str:
    """The statement of `coarse_rows` by `name` and `value`, in which each event stands once for each of its labels."""
    events = f'"{UsageEvent._meta.db_table}"'
    labels = f'{events}."labels"'
    if vendor == "postgresql":
        return sql.replace(
            f"FROM {events}", f"FROM {events} CROSS JOIN LATERAL jsonb_each_text({labels}) AS label(key, value)"
        )
    return sql.replace(f"FROM {events}", f"FROM {events} CROSS JOIN json_each({labels}) AS label")


def sorted_by(rows: QuerySet[UsageEvent, Any], *dimensions: str) -> QuerySet[UsageEvent, Any]:
    """Such rows in the order of all their dimensions, as they come out of grouping them."""
    return rows.order_by(*(f"by_{name}" for name in dimensions))


def _summed(
    events: UsageEventQuerySet, dimensions: Sequence[str], sums: dict[str, Any], **meant: Combinable
) -> QuerySet[UsageEvent, Any]:
    # As expressions all of them, since Django groups by columns before it does by expressions, such as a day: SQLite
    # would then sort what it grouped once more.
    by = {f"by_{name}": meant.get(name) or _DIMENSIONS.get(name) or F(name) for name in dimensions}
    sums = {f"sum_{name}": aggregate for name, aggregate in sums.items()}
    return events.order_by().annotate(**by).values_list(*by).annotate(**sums)


# Those that are no column of the event.
_DIMENSIONS: dict[str, Combinable] = {
    "day": UtcDay("occurred_at"),
    "hour": UtcHour("occurred_at"),
    "token_id": Coalesce("token_id", Value(0)),
    "member_id": Coalesce("member_id", Value(0)),
    "name": RawSQL("label.key", []),  # of `with_labels`
    "value": RawSQL("label.value", []),
}


def _wanted(aggregates: dict[str, Any], measures: Collection[str] | None) -> dict[str, Any]:
    return {name: aggregates[name] for name in MEASURES if measures is None or name in measures}


def _run_aggregates(of: Q | None = None) -> dict[str, Aggregate | Cast]:
    """What is summed by the day on which the run began."""
    where = of or Q()
    return {
        "runs": Count("id", filter=where & Q(counts_run=True)),
        "priced_runs": Count("id", filter=where & Q(counts_priced_run=True)),
        "partly_priced_runs": Count("id", filter=where & Q(counts_partly_priced_run=True)),
        "own_server_runs": Count("id", filter=where & Q(counts_priced_run=True) & gaps.OWN_SERVER),
        "run_cost_nanousd": _sum("cost_nanousd", of),
        "run_tokens": _sum(TOKENS, of),
        "run_unreported_calls": Count("id", filter=where & gaps.TOKENS_NOT_KNOWN),
    }


def _call_aggregates() -> dict[str, Aggregate | Cast]:
    """What is summed by when the call left."""
    answered = Q(status=Status.ANSWERED)
    prefix = F("system_tokens") + F("tools_tokens") - F("cache_read_tokens")
    return {
        "calls": Count("id", filter=Q(revision=0)),
        "answered": Count("id", filter=answered),
        "failed": Count("id", filter=Q(status__in=UsageEvent.ERRORS)),
        "lost": Count("id", filter=Q(status=Status.LOST)),
        "retried_calls": Count("id", filter=Q(revision=0, attempt__gt=1)),
        "unpriced_calls": Count("id", filter=gaps.UNPRICED),
        "unknown_calls": Count("id", filter=gaps.UNKNOWN),
        "unreported_calls": Count("id", filter=gaps.UNREPORTED),
        "own_server_calls": Count("id", filter=gaps.OWN_SERVER),
        "uncached_input_tokens": _sum("uncached_input_tokens"),
        "cache_read_tokens": _sum("cache_read_tokens"),
        "cache_write_tokens": _sum("cache_write_tokens"),
        "output_tokens": _sum("output_tokens"),
        "reasoning_tokens": _sum("reasoning_tokens"),
        "cost_nanousd": _sum("cost_nanousd"),
        "latency_ms": _sum("latency_ms"),
        **{f"within_{ms}_ms": Count("id", filter=answered & Q(latency_ms__lte=ms)) for ms in LATENCY_BOUNDS_MS},
        **{name: _sum(name) for name in PARTS},
        "uncached_prefix_tokens": _sum(Greatest(prefix, Value(0))),
        "input_cost_nanousd": _sum("input_cost_nanousd"),
        "output_cost_nanousd": _sum(F("cost_nanousd") - F("input_cost_nanousd")),
    }


def _sum(of: str | Combinable, where: Q | None = None) -> Cast:
    """
    As an integer, as rollups have it: PostgreSQL adds bigints up to a numeric, and a union with those would have every
    row of a rollup made one, which took as long as all the rest.
    """
    return Cast(Coalesce(Sum(of, filter=where), Value(0)), BigIntegerField())


CALL_MEASURES, RUN_MEASURES = tuple(_call_aggregates()), tuple(_run_aggregates())
MEASURES = Sums._fields
COARSE_MEASURES = tuple(field.name for field in CallSums._meta.fields if field.name in MEASURES)
if {*CALL_MEASURES, *RUN_MEASURES} != {*MEASURES}:
    raise TypeError("Sums and its aggregates name other measures.")
