"""
Every number on a page that tells what was used and what it cost.

A report is one statement: the daily rollup, and the events of this organization that are not in it yet.
Because it is one, each event is seen exactly once, whatever the rollup does meanwhile. Days are UTC; a
period of n days includes today. What nobody knows is None, never 0; the USD of Managed calls are the
operator's and left out unless `show_managed_usd`, in which case `hidden_calls` is 0.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from django.db.models import Sum

from organizations.models import Organization
from usage import amounts
from usage.charts import Chart, Series, Unit, stacked_bars
from usage.models import Mode, UsageDaily, UsageEvent
from usage.price_list import provider_name
from usage.rollups import MEASURES, daily_rows

WEEK, MONTH = 7, 30
USD = Unit("estimated USD", amounts.dollars, amounts.dollar_tick)
SMALL_USD = Unit("estimated USD", lambda nanousd: amounts.dollars(nanousd, places=4), amounts.dollar_tick)
TOKENS = Unit("tokens", amounts.count, amounts.count_tick)
ONE_USD = 10**9


@dataclass(frozen=True, slots=True)
class Totals:
    """`cost_nanousd` is of the calls whose price is known and may be shown; None if there is none of them."""

    calls: int
    tokens: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int | None
    unpriced_calls: int  # answered, at a cost nobody knows
    failed_calls: int
    lost_calls: int
    hidden_calls: int  # Managed calls, whose USD are not shown


@dataclass(frozen=True, slots=True)
class ProviderUsage:
    provider: str
    name: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class ModelUsage:
    provider: str
    provider_name: str
    model: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class DailySeries:
    """Values of each provider, one a day."""

    days: tuple[date, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class ActionAverages:
    """Per run of one action. The average cost is over `priced_runs`, those with a known and shown price."""

    runs: int
    priced_runs: int
    average_cost_nanousd: int | None
    average_tokens: int | None
    hidden_runs: int  # Managed runs, whose USD are not shown


@dataclass(frozen=True, slots=True)
class RunCost:
    calls: int
    tokens: int
    cost_nanousd: int | None
    unpriced_calls: int
    mode: Mode | None  # None: the run made no call
    is_reported: bool  # every priced call's cost is the provider's own figure, not an estimate
    is_hidden: bool  # a Managed run, whose USD are not shown


@dataclass(frozen=True, slots=True)
class CostSummary:
    """What the cost panel shows (`usage/_cost_summary.html`)."""

    organization: Organization
    week_first_day: date
    month_first_day: date
    today: date
    week: Totals
    month: Totals
    providers: tuple[ProviderUsage, ...]
    models: tuple[ModelUsage, ...]
    chart: Chart | None


def last_days(*, organization: Organization, today: date, show_managed_usd: bool, days: int = WEEK) -> Totals:
    return _totals(_cells(organization, today, days, "mode"), show_managed_usd)


def provider_breakdown(
    *, organization: Organization, today: date, show_managed_usd: bool, days: int = MONTH
) -> tuple[ProviderUsage, ...]:
    """Dearest first."""
    return _by_provider(_cells(organization, today, days, "provider", "mode"), show_managed_usd)


def top_models(
    *, organization: Organization, today: date, show_managed_usd: bool, days: int = MONTH, limit: int = 10
) -> tuple[ModelUsage, ...]:
    """Dearest first, then those with the most tokens."""
    return _by_model(_cells(organization, today, days, "provider", "model", "mode"), show_managed_usd)[:limit]


def daily_cost_series(
    *, organization: Organization, today: date, show_managed_usd: bool, days: int = MONTH
) -> DailySeries:
    """Nano-USD a day and provider, of the calls whose price is known and may be shown."""
    cells = _shown(_cells(organization, today, days, "day", "provider", "mode"), show_managed_usd)
    return _daily(cells, today, days, lambda cell: cell.sums.cost_nanousd)


def action_averages(
    *, organization: Organization, today: date, show_managed_usd: bool, days: int = MONTH
) -> dict[str, ActionAverages]:
    """By action; an action without runs is not in it."""
    averages = {}
    for action, cells in _grouped(
        _cells(organization, today, days, "action", "mode"), lambda cell: cell.action
    ).items():
        everything, shown = _sum(cells), _sum(_shown(cells, show_managed_usd))
        averages[action] = ActionAverages(
            runs=everything.runs,
            priced_runs=shown.priced_runs,
            average_cost_nanousd=_mean(shown.cost_nanousd, shown.priced_runs),
            average_tokens=_mean(everything.tokens, everything.runs),
            hidden_runs=everything.runs - shown.runs,
        )
    return averages


def run_cost(*, organization: Organization, run_id: uuid.UUID, show_managed_usd: bool = False) -> RunCost:
    """One execution of an action, from its events."""
    return run_costs(organization=organization, run_ids=[run_id], show_managed_usd=show_managed_usd)[run_id]


def run_costs(
    *, organization: Organization, run_ids: Iterable[uuid.UUID], show_managed_usd: bool = False
) -> dict[uuid.UUID, RunCost]:
    """The same for many runs in one query; a run without calls is in it, too."""
    events: dict[uuid.UUID, list[UsageEvent]] = {run_id: [] for run_id in run_ids}
    for event in UsageEvent.objects.for_organization(organization).filter(run_id__in=list(events)):
        events[event.run_id].append(event)
    return {run_id: _run_cost(of_run, show_managed_usd) for run_id, of_run in events.items()}


def cost_summary(*, organization: Organization, today: date, show_managed_usd: bool) -> CostSummary:
    """The whole cost panel, from one query."""
    cells = _cells(organization, today, MONTH, "day", "provider", "model", "mode")
    week_first_day = first_day(today, WEEK)
    return CostSummary(
        organization=organization,
        week_first_day=week_first_day,
        month_first_day=first_day(today, MONTH),
        today=today,
        week=_totals([cell for cell in cells if cell.day and cell.day >= week_first_day], show_managed_usd),
        month=_totals(cells, show_managed_usd),
        providers=_by_provider(cells, show_managed_usd),
        models=_by_model(cells, show_managed_usd)[:10],
        chart=_month_chart(cells, today, show_managed_usd),
    )


def first_day(today: date, days: int) -> date:
    """The first of `days` days that end with today."""
    return today - timedelta(days=days - 1)


Key = TypeVar("Key")


class _Sums(NamedTuple):
    """The measures of UsageDaily, in the order of MEASURES."""

    calls: int = 0
    runs: int = 0
    priced_runs: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0
    unpriced_calls: int = 0
    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    latency_ms: int = 0

    @property
    def input_tokens(self) -> int:
        return self.uncached_input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class _Cell(NamedTuple):
    """Sums of one group; dimensions that were not asked for are empty."""

    sums: _Sums
    day: date | None = None
    provider: str = ""
    model: str = ""
    action: str = ""
    mode: str = ""


def _cells(organization: Organization, today: date, days: int, *dimensions: str) -> list[_Cell]:
    period = (first_day(today, days), today)
    daily = UsageDaily.objects.for_organization(organization).filter(day__range=period).order_by()
    rolled_up = daily.values_list(*dimensions).annotate(**{f"sum_{name}": Sum(name) for name in MEASURES})
    tail = UsageEvent.objects.for_organization(organization).not_rolled_up().on_days(*period)
    rows: Iterable[Sequence[Any]] = rolled_up.union(daily_rows(tail, *dimensions), all=True)
    width = len(dimensions)
    return [_Cell(_Sums(*map(int, row[width:])), **dict(zip(dimensions, row[:width], strict=True))) for row in rows]


def _sum(cells: Iterable[_Cell]) -> _Sums:
    columns = zip(*(cell.sums for cell in cells), strict=True)
    return _Sums(*(sum(column) for column in columns))


def _shown(cells: Iterable[_Cell], show_managed_usd: bool) -> list[_Cell]:
    """Those whose USD may be shown."""
    return [cell for cell in cells if show_managed_usd or cell.mode != Mode.MANAGED]


def _grouped(cells: Iterable[_Cell], key: Callable[[_Cell], Key]) -> dict[Key, list[_Cell]]:
    groups: defaultdict[Key, list[_Cell]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    return groups


def _totals(cells: Sequence[_Cell], show_managed_usd: bool) -> Totals:
    everything, shown = _sum(cells), _sum(_shown(cells, show_managed_usd))
    is_known = shown.answered > shown.unpriced_calls or shown.cost_nanousd or not everything.calls
    return Totals(
        calls=everything.calls,
        tokens=everything.tokens,
        input_tokens=everything.input_tokens,
        output_tokens=everything.output_tokens,
        cost_nanousd=shown.cost_nanousd if is_known else None,
        unpriced_calls=shown.unpriced_calls,
        failed_calls=everything.failed,
        lost_calls=everything.lost,
        hidden_calls=everything.calls - shown.calls,
    )


def _dearest_first(totals: Totals) -> tuple[int, int]:
    return -(totals.cost_nanousd or 0), -totals.tokens


def _by_provider(cells: Iterable[_Cell], show_managed_usd: bool) -> tuple[ProviderUsage, ...]:
    rows = [
        ProviderUsage(provider, provider_name(provider), _totals(group, show_managed_usd))
        for provider, group in _grouped(cells, lambda cell: cell.provider).items()
    ]
    return tuple(sorted(rows, key=lambda row: (*_dearest_first(row.totals), row.provider)))


def _by_model(cells: Iterable[_Cell], show_managed_usd: bool) -> tuple[ModelUsage, ...]:
    rows = [
        ModelUsage(provider, provider_name(provider), model, _totals(group, show_managed_usd))
        for (provider, model), group in _grouped(cells, lambda cell: (cell.provider, cell.model)).items()
    ]
    return tuple(sorted(rows, key=lambda row: (*_dearest_first(row.totals), row.provider, row.model)))


def _daily(cells: Iterable[_Cell], today: date, days: int, measure: Callable[[_Cell], int]) -> DailySeries:
    first = first_day(today, days)
    values: defaultdict[str, list[int]] = defaultdict(lambda: [0] * days)
    for cell in cells:
        if cell.day:
            values[cell.provider][(cell.day - first).days] += measure(cell)
    return DailySeries(
        days=tuple(first + timedelta(days=at) for at in range(days)),
        series=tuple(Series(provider_name(name), tuple(values[name])) for name in sorted(values)),
    )


def _month_chart(cells: Sequence[_Cell], today: date, show_managed_usd: bool) -> Chart | None:
    """USD where there are any to show, else tokens, so that Managed use is seen as well."""
    cost = _daily(_shown(cells, show_managed_usd), today, MONTH, lambda cell: cell.sums.cost_nanousd)
    total = sum(each.total for each in cost.series)
    shown, unit, title = cost, USD if total >= ONE_USD else SMALL_USD, "Estimated USD a day by provider"
    if not total:
        shown = _daily(cells, today, MONTH, lambda cell: cell.sums.tokens)
        unit, title = TOKENS, "Tokens a day by provider"
    return stacked_bars(name="month", title=title, days=shown.days, series=shown.series, unit=unit)


def _run_cost(events: Sequence[UsageEvent], show_managed_usd: bool) -> RunCost:
    is_managed = any(event.mode == Mode.MANAGED for event in events)
    is_hidden = is_managed and not show_managed_usd
    priced = [event for event in events if event.cost_nanousd is not None]
    return RunCost(
        calls=len(events),
        tokens=sum(event.total_tokens for event in events),
        cost_nanousd=sum(event.cost_nanousd or 0 for event in priced) if priced and not is_hidden else None,
        unpriced_calls=sum(
            event.status == UsageEvent.Status.ANSWERED and event.cost_nanousd is None for event in events
        ),
        mode=(Mode.MANAGED if is_managed else Mode.BYOK) if events else None,
        is_reported=bool(priced) and all(event.price_source == UsageEvent.PriceSource.PROVIDER for event in priced),
        is_hidden=is_hidden,
    )


def _mean(total: int, count: int) -> int | None:
    """Rounded half to even; None of nothing."""
    return round(Decimal(total) / count) if count else None
