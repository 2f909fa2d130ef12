"""The cost panel: what an organization's calls of a week and a month cost, by provider, model and day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from organizations.models import Organization
from usage import amounts
from usage.audience import sees_usd
from usage.averages import BY_ACTION, ActionAverages, averages_of
from usage.cells import TOTALS, Cell, Grouping, Totals, grouped, read_groupings, shown, totals
from usage.charts import Chart, Series, Unit, stacked_bars
from usage.days import MONTH, WEEK, first_day
from usage.measures import Sums
from usage.models import Mode
from usage.names import provider_name

USD = Unit("estimated USD", amounts.dollars, amounts.dollar_tick, unknown=amounts.NOT_KNOWN)
SMALL_USD = Unit(
    "estimated USD",
    lambda nanousd: amounts.dollars(nanousd, places=4),
    amounts.dollar_tick,
    unknown=amounts.NOT_KNOWN,
)
TOKENS = Unit("tokens", amounts.count, amounts.count_tick, unknown=amounts.NOT_REPORTED)
MODELS_SHOWN = 10
BY_DAY = Grouping(("day", "provider", "mode"), TOTALS)
BY_MODEL = Grouping(("provider", "model", "mode"), TOTALS)


@dataclass(frozen=True, slots=True)
class ProviderUsage:
    """Of one provider and one payer: calls that are paid with credits never stand beside USD of others."""

    provider: str
    name: str
    mode: str  # "" where both stand together, because the USD of both are shown
    totals: Totals


@dataclass(frozen=True, slots=True)
class ModelUsage:
    provider: str
    provider_name: str
    model: str
    mode: str
    totals: Totals


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


def cost_summary(*, organization: Organization, today: date, show_managed_usd: bool | None = None) -> CostSummary:
    """The whole cost panel, from one query."""
    return cost_and_cells(organization=organization, today=today, show_managed_usd=show_managed_usd)[0]


def cost_and_cells(
    *, organization: Organization, today: date, also: Sequence[Grouping] = (), show_managed_usd: bool | None = None
) -> tuple[CostSummary, list[list[Cell]]]:
    """`cost_summary` and the cells of its month, by BY_DAY and by each of `also`, from one query."""
    first = first_day(today, MONTH)
    by_day, by_model, *others = read_groupings(organization, first, today, BY_DAY, BY_MODEL, *also)
    return _summary(organization, today, by_day, by_model, show_managed_usd), [by_day, *others]


def cost_and_averages(
    *, organization: Organization, today: date, show_managed_usd: bool | None = None
) -> tuple[CostSummary, dict[str, ActionAverages]]:
    """`cost_summary` and `action_averages` of its month, from one query."""
    cost, (_, by_action) = cost_and_cells(
        organization=organization, today=today, also=[BY_ACTION], show_managed_usd=show_managed_usd
    )
    return cost, averages_of(by_action, show_managed_usd)


def _summary(
    organization: Organization,
    today: date,
    by_day: Sequence[Cell],
    by_model: Sequence[Cell],
    show_managed_usd: bool | None,
) -> CostSummary:
    # A cell of runs alone: that of a run which began before the calls on these days.
    by_day, by_model = ([cell for cell in cells if cell.sums.calls] for cells in (by_day, by_model))
    week_first_day = first_day(today, WEEK)
    return CostSummary(
        organization=organization,
        week_first_day=week_first_day,
        month_first_day=first_day(today, MONTH),
        today=today,
        week=totals([cell for cell in by_day if cell.day and cell.day >= week_first_day], show_managed_usd),
        month=totals(by_day, show_managed_usd),
        providers=_by_provider(by_model, show_managed_usd),
        models=_by_model(by_model, show_managed_usd)[:MODELS_SHOWN],
        chart=_month_chart(by_day, today, show_managed_usd),
    )


def _by_provider(cells: Iterable[Cell], show_managed_usd: bool | None) -> tuple[ProviderUsage, ...]:
    groups = grouped(cells, lambda cell: (cell.provider, _payer(cell, show_managed_usd)))
    rows = [
        ProviderUsage(provider, provider_name(provider), mode, totals(group, show_managed_usd))
        for (provider, mode), group in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (*_dearest_first(row.totals), row.provider, row.mode)))


def _by_model(cells: Iterable[Cell], show_managed_usd: bool | None) -> tuple[ModelUsage, ...]:
    groups = grouped(cells, lambda cell: (cell.provider, cell.model, _payer(cell, show_managed_usd)))
    rows = [
        ModelUsage(provider, provider_name(provider), model, mode, totals(group, show_managed_usd))
        for (provider, model, mode), group in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (*_dearest_first(row.totals), row.provider, row.model, row.mode)))


def _payer(cell: Cell, show_managed_usd: bool | None) -> str:
    return "" if sees_usd(Mode.MANAGED, show_managed_usd=show_managed_usd) else cell.mode


def _dearest_first(of_row: Totals) -> tuple[int, int]:
    return -(of_row.cost_nanousd or 0), -of_row.tokens


def _month_chart(cells: Sequence[Cell], today: date, show_managed_usd: bool | None) -> Chart | None:
    """USD where there are any to show, else tokens, so that Managed use is seen as well."""
    series = _daily(
        shown(cells, show_managed_usd),
        today,
        lambda sums: sums.cost_nanousd,
        lambda sums: sums.calls_without_cost,
    )
    total = sum(each.total for each in series)
    unit, title = USD if total >= amounts.ONE_USD else SMALL_USD, "Estimated USD a day by provider"
    if not total:
        series = _daily(cells, today, lambda sums: sums.tokens, lambda sums: sums.calls_without_tokens)
        unit, title = TOKENS, "Tokens a day by provider"
    days = [first_day(today, MONTH) + timedelta(days=at) for at in range(MONTH)]
    return stacked_bars(name="month", title=title, days=days, series=series, unit=unit)


def _daily(
    cells: Iterable[Cell], today: date, value: Callable[[Sums], int], gap: Callable[[Sums], int]
) -> list[Series]:
    """By provider, one value a day of the month, and the number of calls that it does not cover."""
    first = first_day(today, MONTH)
    values: defaultdict[str, list[int]] = defaultdict(lambda: [0] * MONTH)
    gaps: defaultdict[str, list[int]] = defaultdict(lambda: [0] * MONTH)
    for cell in cells:
        if cell.day:
            at = (cell.day - first).days
            values[cell.provider][at] += value(cell.sums)
            gaps[cell.provider][at] += gap(cell.sums)
    return [Series(provider_name(slug), tuple(values[slug]), tuple(gaps[slug])) for slug in sorted(values)]
