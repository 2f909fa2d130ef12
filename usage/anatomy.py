"""
Cost anatomy: what the input of calls was made of, what each part of it cost, and what a cache could have read of it.

Tokens are those that providers reported, shared out call by call to what was counted of the request. A token costs
about the same within one provider, model, action and payer, so there the cost of input is shared by tokens; those read
from a cache weigh less, as far as the price list tells. Caches are read from the front, where tools and instructions
stand. What was not counted, and costs that are not told apart, have rows of their own: all of them come to the total.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from organizations.models import Organization
from usage import amounts
from usage.cells import Cell, Grouping, Totals, add_up, grouped, read_groupings, shown, totals
from usage.charts import Chart, Series, Unit, share, stacked_bars
from usage.input_parts import shared_out
from usage.measures import CALL_MEASURES, MEASURES, PARTS, Sums, daily_rows
from usage.models import UsageEvent
from usage.price_list import rates_of
from usage.rates import CLASSES, Rate, rounded

NOT_COUNTED = "not_counted"
NAMES = {
    "system_tokens": ("System instructions", "what the model is told before anything else"),
    "tools_tokens": ("Tools", "their definitions, calls and results"),
    "retrieved_tokens": ("Retrieved knowledge", "documents, files, search results, profiles"),
    "history_tokens": ("History", "earlier turns"),
    "user_tokens": ("User input", "the last turn of the user"),
    NOT_COUNTED: ("Not counted", "nobody counted what these requests held"),
}
PREFIX = ("system_tokens", "tools_tokens")
# Below that nobody caches: 1,024 at OpenAI and Anthropic, 1,024 to 4,096 by the model at Google and Anthropic (their
# documentation, 2026-11).
LEAST_CACHED_TOKENS = 1_024
MEASURED = tuple(name for name in (*CALL_MEASURES, "runs") if name != "latency_ms" and not name.startswith("within_"))
DIMENSIONS = ("provider", "model", "action", "mode")
BY_MODEL_AND_ACTION = Grouping(DIMENSIONS, MEASURED, filtered=False)
BY_DAY = Grouping(("day",), (*PARTS, "calls", "uncached_input_tokens", "cache_read_tokens", "cache_write_tokens"))
INPUT_TOKENS = Unit("tokens of input", amounts.count, amounts.count_tick, unknown=amounts.NOT_REPORTED)
MOST_CALLS_OF_A_RUN = 2_000
ITERATIONS_SHOWN = 50


class Part(NamedTuple):
    """`cost_nanousd` None: nobody knows, or not for who reads this. Shares are of all input."""

    slug: str
    name: str
    words: str
    tokens: int
    share: str
    cost_nanousd: int | None
    cost_share: str


class Caching(NamedTuple):
    """
    Of instructions and tools. `unread_tokens` could have been read from a cache at most: in prompts that are long
    enough, `short_tokens` are in others. `saving_nanousd` is what that would save at most at the list's prices; None
    where it has none, or not for who reads this.
    """

    tokens: int
    unread_tokens: int
    short_tokens: int
    saving_nanousd: int | None

    @property
    def unread_share(self) -> str:
        return share(self.unread_tokens, self.tokens)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """`parts` come to all input; input, output and `untold_nanousd` to the USD of `totals`."""

    totals: Totals
    parts: tuple[Part, ...]
    input_nanousd: int | None
    output_nanousd: int | None
    untold_nanousd: int  # of calls whose cost is not told apart, and of corrections
    reasoning_tokens: int
    runs: int
    caching: Caching

    @property
    def input_share(self) -> str:
        return self._share(self.input_nanousd)

    @property
    def output_share(self) -> str:
        return self._share(self.output_nanousd)

    def _share(self, nanousd: int | None) -> str:
        """Of all USD."""
        whole = self.totals.cost_nanousd
        return share(nanousd, whole) if nanousd is not None and whole else ""

    @property
    def counted(self) -> list[Part]:
        """Largest first."""
        told = (part for part in self.parts if part.slug != NOT_COUNTED and part.tokens)
        return sorted(told, key=lambda part: -part.tokens)

    @property
    def not_counted(self) -> Part:
        return self.parts[-1]

    @property
    def rows(self) -> tuple[Part, ...]:
        """`parts` without those that are nothing."""
        return tuple(part for part in self.parts if part.tokens or part.cost_nanousd)

    @property
    def calls_a_run(self) -> str:
        return f"{self.totals.calls / self.runs:.1f}" if self.runs else ""


class OfAction(NamedTuple):
    slug: str
    totals: Totals
    runs: int
    shares: tuple[tuple[str, str], ...]  # name of the part, share of the input

    @property
    def calls_a_run(self) -> str:
        return f"{self.totals.calls / self.runs:.1f}" if self.runs else "–"


@dataclass(frozen=True, slots=True)
class Period:
    """A month or what there is of it; `actions` are all of it, the dearest first, with shares of the same parts."""

    anatomy: Anatomy | None
    actions: tuple[OfAction, ...]
    chart: Chart | None


@dataclass(frozen=True, slots=True)
class Run:
    """`calls` are the first ITERATIONS_SHOWN in their order. `is_cut`: it has more than MOST_CALLS_OF_A_RUN."""

    action: str
    anatomy: Anatomy
    calls: tuple[UsageEvent, ...]
    is_cut: bool


def of_period(
    organization: Organization, first: date, last: date, *, action: str = "", show_managed_usd: bool | None = None
) -> Period:
    """Of the days from `first` to `last`, of one action or all; from one query."""
    where = {"action": [action]} if action else None
    cells, days = read_groupings(organization, first, last, BY_MODEL_AND_ACTION, BY_DAY, where=where)
    cells = [cell for cell in cells if cell.sums.calls]
    asked = [cell for cell in cells if cell.action == action] if action else cells
    return Period(
        anatomy=anatomy_of(asked, last, show_managed_usd) if asked else None,
        actions=_by_action(cells, show_managed_usd),
        chart=_chart(days, first, last),
    )


def of_run(
    organization: Organization, run_id: uuid.UUID, *, today: date, show_managed_usd: bool | None = None
) -> Run | None:
    """None without a call; a cache's prices are those of today."""
    events = UsageEvent.objects.for_organization(organization)
    ids = list(events.filter(run_id=run_id).values_list("pk", flat=True)[: MOST_CALLS_OF_A_RUN + 1])
    if not ids:
        return None
    of_run = events.filter(pk__in=ids[:MOST_CALLS_OF_A_RUN])
    measures = [name for name in MEASURES if name in MEASURED]
    cells = []
    for provider, model, action, mode, *row in daily_rows(of_run, *DIMENSIONS, measures=measures):
        sums = Sums(**dict(zip(measures, map(int, row), strict=True)))
        cells.append(Cell(sums._replace(runs=0), provider=provider, model=model, action=action, mode=mode))
    calls = of_run.filter(revision=0).order_by("iteration", "attempt", "occurred_at", "pk")
    return Run(
        action=cells[0].action,
        anatomy=anatomy_of(cells, today, show_managed_usd),
        calls=tuple(calls[:ITERATIONS_SHOWN]),
        is_cut=len(ids) > MOST_CALLS_OF_A_RUN,
    )


def anatomy_of(cells: Sequence[Cell], day: date, show_managed_usd: bool | None = None) -> Anatomy:
    """Of `cells` by DIMENSIONS; a cache's prices are those of `day`."""
    everything, own = add_up(cells), shown(cells, show_managed_usd)
    sums, of_all = add_up(own) if own else Sums(), totals(cells, show_managed_usd)
    costs = [0] * len(NAMES)
    for cell in own:
        costs = [cost + more for cost, more in zip(costs, _input_costs(cell, day), strict=True)]
    is_known = of_all.cost_nanousd is not None
    return Anatomy(
        totals=of_all,
        parts=tuple(
            Part(
                slug,
                *words,
                tokens=tokens,
                share=share(tokens, everything.input_tokens),
                cost_nanousd=cost if is_known else None,
                cost_share=share(cost, sums.cost_nanousd) if is_known and sums.cost_nanousd > 0 else "",
            )
            for (slug, words), tokens, cost in zip(NAMES.items(), _tokens(everything), costs, strict=True)
        ),
        input_nanousd=sums.input_cost_nanousd if is_known else None,
        output_nanousd=sums.output_cost_nanousd if is_known else None,
        untold_nanousd=sums.cost_nanousd - sums.input_cost_nanousd - sums.output_cost_nanousd if is_known else 0,
        reasoning_tokens=everything.reasoning_tokens,
        runs=everything.runs,
        caching=_caching(cells, own, day),
    )


def _tokens(sums: Sums) -> list[int]:
    """By NAMES."""
    return [*(getattr(sums, name) for name in PARTS), max(sums.input_tokens - sums.parts_tokens, 0)]


def _input_costs(cell: Cell, day: date) -> list[int]:
    """By NAMES; nano-USD."""
    sums = cell.sums
    prefix = sums.system_tokens + sums.tools_tokens
    cached_prefix = prefix - sums.uncached_prefix_tokens
    in_front = _weight(cell, day, prefix, cached_prefix)
    behind = _weight(cell, day, sums.input_tokens - prefix, sums.cache_read_tokens - cached_prefix)
    weights = [
        tokens * (in_front if name in PREFIX else behind) for name, tokens in zip(NAMES, _tokens(sums), strict=True)
    ]
    if not any(weights):
        weights[-1] = 1
    return shared_out(sums.input_cost_nanousd, weights)


def _weight(cell: Cell, day: date, tokens: int, cached: int) -> int:
    """Of a token among `tokens`, of which `cached` were read from a cache; in no unit, but the same for a cell."""
    plain, from_cache = _prices(cell.provider, cell.model, day) or (1, 1)
    return 10**6 * ((tokens - cached) * plain + cached * from_cache) // tokens if tokens else 0


def _prices(provider: str, model: str, day: date) -> tuple[int, int] | None:
    """Of a token of input, and of one that is read from the cache, by the list; in units of `usage.rates.SCALE`."""
    for rate in rates_of(provider, model, "", "", day):
        if isinstance(rate, Rate):
            plain, from_cache = (rate.steps[0].prices[CLASSES.index(name)] for name in ("input", "cache_read"))
            if plain and from_cache is not None:
                return plain, from_cache
    return None


def _caching(cells: Iterable[Cell], own: Iterable[Cell], day: date) -> Caching:
    tokens = unread = short = 0
    for cell in cells:
        prefix = cell.sums.system_tokens + cell.sums.tools_tokens
        tokens += prefix
        if _is_long_enough(cell):
            unread += cell.sums.uncached_prefix_tokens
        else:
            short += prefix
    saved: int | None = None
    for cell in own:
        if _is_long_enough(cell) and (prices := _prices(cell.provider, cell.model, day)) and prices[1] < prices[0]:
            saved = (saved or 0) + cell.sums.uncached_prefix_tokens * (prices[0] - prices[1])
    return Caching(tokens, unread, short, None if saved is None else rounded(saved))


def _is_long_enough(cell: Cell) -> bool:
    """On average; calls without an answer had instructions, too, that nobody reported."""
    sums = cell.sums
    return sums.system_tokens + sums.tools_tokens >= LEAST_CACHED_TOKENS * max(sums.answered, 1)


def _by_action(cells: Iterable[Cell], show_managed_usd: bool | None) -> tuple[OfAction, ...]:
    cells = list(cells)
    used = [bool(tokens) for tokens in _tokens(add_up(cells))] if cells else []
    rows = []
    for slug, of_action in grouped(cells, lambda cell: cell.action).items():
        sums = add_up(of_action)
        shares = tuple(
            (words[0], share(tokens, sums.input_tokens) if tokens else "–")
            for words, tokens, is_used in zip(NAMES.values(), _tokens(sums), used, strict=True)
            if is_used
        )
        rows.append(OfAction(slug, totals(of_action, show_managed_usd), sums.runs, shares))
    return tuple(sorted(rows, key=lambda row: (-(row.totals.cost_nanousd or 0), -row.totals.tokens, row.slug)))


def _chart(cells: Iterable[Cell], first: date, last: date) -> Chart | None:
    """Tokens of input a day, by what they were for."""
    days = [first + timedelta(days=at) for at in range((last - first).days + 1)]
    by_day = {cell.day: _tokens(cell.sums) for cell in cells}
    values = zip(*(by_day.get(day, [0] * len(NAMES)) for day in days), strict=True)
    series = [Series(words[0], of_part) for words, of_part in zip(NAMES.values(), values, strict=True)]
    return stacked_bars(
        name="parts",
        title="Input a day by what it was for",
        days=days,
        series=series,
        unit=INPUT_TOKENS,
        of="Parts of the input",
    )
