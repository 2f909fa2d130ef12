"""
Every number on a page that tells what was used and what it cost. Each report is one statement (usage/cells.py).

Days are UTC; a period of n days includes today. What nobody knows is None, never 0, and a sum says how much of it is
not known; USD that the organization is not to see are left out (usage/audience.py says what `show_managed_usd` means),
and where it sees all, `hidden_calls` is 0.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from organizations.models import Organization
from usage import amounts
from usage.audience import sees_usd
from usage.cells import Cell, Grouping, Totals, add_up, first_day, grouped, read_groupings, shown, totals
from usage.charts import Chart, Series, Unit, stacked_bars
from usage.measures import CALL_MEASURES, RUN_MEASURES, Sums
from usage.models import Mode, UsageEvent
from usage.names import provider_name

WEEK, MONTH = 7, 30
USD = Unit("estimated USD", amounts.dollars, amounts.dollar_tick, unknown=amounts.NOT_KNOWN)
SMALL_USD = Unit(
    "estimated USD",
    lambda nanousd: amounts.dollars(nanousd, places=4),
    amounts.dollar_tick,
    unknown=amounts.NOT_KNOWN,
)
TOKENS = Unit("tokens", amounts.count, amounts.count_tick, unknown=amounts.NOT_REPORTED)
ONE_USD = 10**9
MODELS_SHOWN = 10
BY_DAY = Grouping(("day", "provider", "mode"), CALL_MEASURES)
BY_MODEL = Grouping(("provider", "model", "mode"), CALL_MEASURES)
BY_ACTION = Grouping(("action", "mode"), RUN_MEASURES)
BY_ACTION_AND_MODEL = Grouping(("provider", "model", "action", "mode"), RUN_MEASURES)


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
class ActionAverages:
    """
    Per run of one action. The average cost is over `priced_runs`, those with a known and shown price.

    `usd` and `base` are the average cost and what it is an average of, in words.
    """

    runs: int
    priced_runs: int
    average_cost_nanousd: int | None
    average_tokens: int | None
    hidden_runs: int  # Managed runs, whose USD are not shown
    partly_priced_runs: int = 0  # a part of their cost is not known
    own_server_runs: int = 0  # priced runs on a server that charges no tokens
    unreported_calls: int = 0  # whose tokens are not known

    @property
    def charged_runs(self) -> int:
        """Priced runs that somebody charged for: what a run costs where it is not on a server of one's own."""
        return self.priced_runs - self.own_server_runs

    @property
    def average_charge_nanousd(self) -> int | None:
        """The average over `charged_runs` alone."""
        return _mean((self.average_cost_nanousd or 0) * self.priced_runs, self.charged_runs)

    @property
    def usd_runs(self) -> int:
        """Runs whose USD may be shown."""
        return self.runs - self.hidden_runs

    @property
    def is_incomplete(self) -> bool:
        return self.partly_priced_runs > 0

    @property
    def has_no_token_charges(self) -> bool:
        return self.average_cost_nanousd == 0 and self.own_server_runs > 0 and not self.is_incomplete

    @property
    def usd(self) -> str:
        if self.has_no_token_charges:
            return amounts.WITHOUT_CHARGES
        if self.average_cost_nanousd is None and not self.usd_runs:
            return "Managed"
        return amounts.at_least(amounts.dollars(self.average_cost_nanousd, places=4), if_incomplete=self.is_incomplete)

    @property
    def misses_runs(self) -> bool:
        """It is not the average of all that was spent."""
        return self.is_incomplete or self.priced_runs < self.usd_runs

    @property
    def base(self) -> str:
        """Such as "average of 40 priced runs of 43"; "" where all runs are Managed."""
        if not self.priced_runs:
            return f"{self.usd_runs:,} run{'s' if self.usd_runs != 1 else ''} without a price" if self.usd_runs else ""
        if self.priced_runs == self.usd_runs:
            text = f"average of {self.priced_runs:,} run{'s' if self.priced_runs != 1 else ''}"
        else:
            plural = "s" if self.priced_runs != 1 else ""
            text = f"average of {self.priced_runs:,} priced run{plural} of {self.usd_runs:,}"
        if self.own_server_runs and not self.has_no_token_charges:
            text += f", {self.own_server_runs:,} of them on your own server"
        return text

    @property
    def tokens(self) -> str:
        return amounts.at_least(amounts.count(self.average_tokens), if_incomplete=bool(self.unreported_calls))


@dataclass(frozen=True, slots=True)
class RunCost:
    calls: int
    tokens: int
    cost_nanousd: int | None
    unpriced_calls: int
    mode: Mode | None  # None: the run made no call
    is_reported: bool  # every priced call's cost is the provider's own figure, not an estimate
    is_hidden: bool  # a Managed run, whose USD are not shown
    unknown_calls: int = 0  # without an answer; they may have been billed
    unreported_calls: int = 0  # whose tokens are not known
    own_server_calls: int = 0

    @property
    def is_incomplete(self) -> bool:
        return bool(self.unpriced_calls or self.unknown_calls)

    @property
    def has_no_token_charges(self) -> bool:
        return self.cost_nanousd == 0 and self.own_server_calls > 0 and not self.is_incomplete


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


def action_averages(
    *, organization: Organization, today: date, days: int = MONTH, show_managed_usd: bool | None = None
) -> dict[str, ActionAverages]:
    """By action, of the runs that began in the period, with all their calls; an action without runs is not in it."""
    (by_action,) = read_groupings(organization, today, days, BY_ACTION)
    return _averages(by_action, show_managed_usd)


def averages_with_model(
    *,
    organization: Organization,
    today: date,
    action: str,
    provider: str,
    model: str,
    show_managed_usd: bool | None = None,
) -> ActionAverages | None:
    """`action_averages` of those runs of one action that began with a call of `model`; None without such a run."""
    (cells,) = read_groupings(organization, today, MONTH, BY_ACTION_AND_MODEL)
    of_model = [cell for cell in cells if (cell.action, cell.provider, cell.model) == (action, provider, model)]
    return _averages(of_model, show_managed_usd).get(action)


def _averages(cells: Iterable[Cell], show_managed_usd: bool | None) -> dict[str, ActionAverages]:
    averages = {}
    for action, of_action in grouped(cells, lambda cell: cell.action).items():
        everything, own = add_up(of_action), add_up(shown(of_action, show_managed_usd))
        if not everything.runs:
            continue
        are_tokens_known = everything.run_tokens or not everything.run_unreported_calls
        averages[action] = ActionAverages(
            runs=everything.runs,
            priced_runs=own.priced_runs,
            average_cost_nanousd=_mean(own.run_cost_nanousd, own.priced_runs),
            average_tokens=_mean(everything.run_tokens, everything.runs) if are_tokens_known else None,
            hidden_runs=everything.runs - own.runs,
            partly_priced_runs=own.partly_priced_runs,
            own_server_runs=own.own_server_runs,
            unreported_calls=everything.run_unreported_calls,
        )
    return averages


def run_cost(*, organization: Organization, run_id: uuid.UUID, show_managed_usd: bool | None = None) -> RunCost:
    """One execution of an action, from its events."""
    return run_costs(organization=organization, run_ids=[run_id], show_managed_usd=show_managed_usd)[run_id]


def run_costs(
    *, organization: Organization, run_ids: Iterable[uuid.UUID], show_managed_usd: bool | None = None
) -> dict[uuid.UUID, RunCost]:
    """The same for many runs in one query; a run without calls is in it, too."""
    events: dict[uuid.UUID, list[UsageEvent]] = {run_id: [] for run_id in run_ids}
    for event in UsageEvent.objects.for_organization(organization).filter(run_id__in=list(events)):
        events[event.run_id].append(event)
    return {run_id: _run_cost(of_run, show_managed_usd) for run_id, of_run in events.items()}


def cost_summary(*, organization: Organization, today: date, show_managed_usd: bool | None = None) -> CostSummary:
    """The whole cost panel, from one query."""
    by_day, by_model = read_groupings(organization, today, MONTH, BY_DAY, BY_MODEL)
    return _summary(organization, today, by_day, by_model, show_managed_usd)


def cost_and_averages(
    *, organization: Organization, today: date, show_managed_usd: bool | None = None
) -> tuple[CostSummary, dict[str, ActionAverages]]:
    """`cost_summary` and `action_averages` of its month, from one query."""
    by_day, by_model, by_action = read_groupings(organization, today, MONTH, BY_DAY, BY_MODEL, BY_ACTION)
    return (
        _summary(organization, today, by_day, by_model, show_managed_usd),
        _averages(by_action, show_managed_usd),
    )


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


def _dearest_first(of_row: Totals) -> tuple[int, int]:
    return -(of_row.cost_nanousd or 0), -of_row.tokens


def _payer(cell: Cell, show_managed_usd: bool | None) -> str:
    return "" if sees_usd(Mode.MANAGED, show_managed_usd=show_managed_usd) else cell.mode


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


def _month_chart(cells: Sequence[Cell], today: date, show_managed_usd: bool | None) -> Chart | None:
    """USD where there are any to show, else tokens, so that Managed use is seen as well."""
    series = _daily(
        shown(cells, show_managed_usd),
        today,
        lambda sums: sums.cost_nanousd,
        lambda sums: sums.calls_without_cost,
    )
    total = sum(each.total for each in series)
    unit, title = USD if total >= ONE_USD else SMALL_USD, "Estimated USD a day by provider"
    if not total:
        series = _daily(cells, today, lambda sums: sums.tokens, lambda sums: sums.calls_without_tokens)
        unit, title = TOKENS, "Tokens a day by provider"
    days = [first_day(today, MONTH) + timedelta(days=at) for at in range(MONTH)]
    return stacked_bars(name="month", title=title, days=days, series=series, unit=unit)


def _run_cost(events: Sequence[UsageEvent], show_managed_usd: bool | None) -> RunCost:
    is_managed = any(event.mode == Mode.MANAGED for event in events)
    is_hidden = any(not sees_usd(event.mode, show_managed_usd=show_managed_usd) for event in events)
    priced = [event for event in events if event.cost_nanousd is not None]
    unpriced = sum(event.is_unpriced for event in events)
    unanswered = sum(event.is_unanswered for event in events)
    cost = sum(event.cost_nanousd or 0 for event in priced)
    is_unknown = not priced or (not cost and (unpriced or unanswered))
    charged = [event for event in priced if not event.has_no_token_charges]
    return RunCost(
        calls=sum(event.revision == 0 for event in events),
        tokens=sum(event.total_tokens for event in events),
        cost_nanousd=None if is_unknown or is_hidden else cost,
        unpriced_calls=unpriced,
        mode=(Mode.MANAGED if is_managed else Mode.BYOK) if events else None,
        is_reported=bool(charged) and all(event.price_source == UsageEvent.PriceSource.PROVIDER for event in charged),
        is_hidden=is_hidden,
        unknown_calls=unanswered,
        unreported_calls=sum(event.are_tokens_unknown for event in events),
        own_server_calls=len(priced) - len(charged),
    )


def _mean(total: int, count: int) -> int | None:
    """Rounded half to even; None of nothing."""
    return round(Decimal(total) / count) if count else None
