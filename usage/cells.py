"""
The sums that every number on a page is made of, read in one statement: the daily rollup, and the events of this
organization that are not in it yet. Because it is one, each event is seen exactly once, whatever the rollup does
meanwhile.

A period of n days includes today. What nobody knows is None, never 0, and a sum says how much of it is not known; USD
that the organization is not to see are left out (usage/audience.py says what `show_managed_usd` means), and where it
sees all, `hidden_calls` is 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import F

from organizations.models import Organization
from usage.audience import sees_usd
from usage.days import first_day
from usage.measures import MEASURES, Sums, daily_rows, rows_of_other_days
from usage.models import UsageDaily, UsageEvent
from usage.rollups import not_rolled_up

Key = TypeVar("Key")
DIMENSIONS = ("day", "provider", "model", "action", "mode")
STAND_INS = (Organization(pk=-1), date(1, 1, 1), date(1, 1, 2))


class Grouping(NamedTuple):
    """By what to sum up, and what: the sums that a page does not show took as long as those it shows."""

    dimensions: tuple[str, ...]
    measures: tuple[str, ...] = MEASURES


class Cell(NamedTuple):
    """Sums of one group; dimensions that were not asked for are empty."""

    sums: Sums
    day: date | None = None
    provider: str = ""
    model: str = ""
    action: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """
    `cost_nanousd` is of the calls whose price is known and may be shown; None if nothing of it is known.

    Sums say how many calls they miss: `unpriced_calls` and `unknown_calls` those of `usd_calls` that the USD do not
    cover, `unreported_calls` those of all calls that the tokens do not.
    """

    calls: int
    tokens: int
    input_tokens: int
    output_tokens: int
    unreported_calls: int  # of which nobody knows the tokens
    usd_calls: int  # whose USD may be shown
    cost_nanousd: int | None
    unpriced_calls: int  # answered, at a cost nobody knows
    unknown_calls: int  # without an answer; they may have been billed
    own_server_calls: int  # to a server that charges no tokens
    failed_calls: int
    lost_calls: int
    hidden_calls: int  # Managed calls, whose USD are not shown

    @property
    def is_incomplete(self) -> bool:
        """The USD do not cover all of `usd_calls`."""
        return bool(self.unpriced_calls or self.unknown_calls)

    @property
    def covered_calls(self) -> int:
        return self.usd_calls - self.unpriced_calls - self.unknown_calls

    @property
    def has_no_token_charges(self) -> bool:
        """Nothing but calls to servers of one's own."""
        return self.cost_nanousd == 0 and self.own_server_calls > 0


def read_cells(organization: Organization, today: date, days: int, *dimensions: str) -> list[Cell]:
    """What was used in the `days` days that end with today, by `dimensions` of UsageDaily."""
    (cells,) = read_groupings(organization, today, days, Grouping(dimensions))
    return cells


def read_groupings(organization: Organization, today: date, days: int, *groupings: Grouping) -> tuple[list[Cell], ...]:
    """
    The same by each of several `groupings`, from one reading: a page needs few cells of each, not all of all.

    Measures that a grouping does not ask for are 0.
    """
    sql, parameters = _statement(groupings)
    meant = dict(zip(_stand_ins(), _as_stored(organization.pk, first_day(today, days), today), strict=True))
    dimensions = _dimensions(groupings)
    tables: tuple[list[Cell], ...] = tuple([] for _ in groupings)
    with connection.cursor() as cursor:
        cursor.execute(sql, [meant.get(parameter, parameter) for parameter in parameters])
        for place, *row in cursor.fetchall():
            wanted = groupings[place].dimensions
            of_group = {name: value for name, value in zip(dimensions, row, strict=False) if name in wanted}
            if isinstance(day := of_group.get("day"), str):
                of_group["day"] = date.fromisoformat(day)
            tables[place].append(Cell(Sums(*map(int, row[len(dimensions) :])), **of_group))
    return tables


def _dimensions(groupings: Sequence[Grouping]) -> list[str]:
    return [name for name in DIMENSIONS if any(name in grouping.dimensions for grouping in groupings)]


@cache
def _statement(groupings: tuple[Grouping, ...]) -> tuple[str, tuple[Any, ...]]:
    """
    What `read_groupings` asks, with `_stand_ins` for the organization and the days.

    Made once, since it is the same for everybody and takes as long to make as to ask.
    """
    nobody, first, last = STAND_INS
    dimensions = _dimensions(groupings)
    daily = UsageDaily.objects.for_organization(nobody).filter(day__range=(first, last)).order_by()
    # Row by row: what is grouped below need not be grouped here, which took a fifth of the time.
    rolled_up = daily.values_list(*dimensions).annotate(**{f"sum_{name}": F(name) for name in MEASURES})
    tail = not_rolled_up(UsageEvent.objects.for_organization(nobody))
    cells = rolled_up.union(
        daily_rows(tail.on_days(first, last), *dimensions),
        rows_of_other_days(tail.filter(run_day__range=(first, last)), *dimensions),
        all=True,
    )
    of_cells, parameters = cells.query.get_compiler(connection=connection).as_sql()
    grouped = " UNION ALL ".join(
        f"SELECT {place}, {', '.join(_selected(grouping, dimensions))} FROM cell "  # noqa: S608  # names of ours
        f"GROUP BY {', '.join(grouping.dimensions)}"
        for place, grouping in enumerate(groupings)
    )
    return f"WITH cell AS ({of_cells}) {grouped}", tuple(parameters)


def _selected(grouping: Grouping, dimensions: Sequence[str]) -> Iterator[str]:
    yield from (name if name in grouping.dimensions else "NULL" for name in dimensions)
    yield from (f"SUM(sum_{name})" if name in grouping.measures else "0" for name in MEASURES)


def _stand_ins() -> tuple[Any, ...]:
    nobody, first, last = STAND_INS
    return _as_stored(nobody.pk, first, last)


def _as_stored(pk: int, *days: date) -> tuple[Any, ...]:
    return pk, *map(connection.ops.adapt_datefield_value, days)


def add_up(cells: Iterable[Cell]) -> Sums:
    columns = zip(*(cell.sums for cell in cells), strict=True)
    return Sums(*(sum(column) for column in columns))


def shown(cells: Iterable[Cell], show_managed_usd: bool | None = None) -> list[Cell]:
    """Those whose USD may be shown."""
    return [cell for cell in cells if sees_usd(cell.mode, show_managed_usd=show_managed_usd)]


def grouped(cells: Iterable[Cell], key: Callable[[Cell], Key]) -> dict[Key, list[Cell]]:
    groups: defaultdict[Key, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    return groups


def totals(cells: Sequence[Cell], show_managed_usd: bool | None = None) -> Totals:
    everything, own = add_up(cells), add_up(shown(cells, show_managed_usd))
    is_unknown = not own.cost_nanousd and (own.calls_without_cost or (everything.calls and not own.calls))
    return Totals(
        calls=everything.calls,
        tokens=everything.tokens,
        input_tokens=everything.input_tokens,
        output_tokens=everything.output_tokens,
        unreported_calls=everything.calls_without_tokens,
        usd_calls=own.calls,
        cost_nanousd=None if is_unknown else own.cost_nanousd,
        unpriced_calls=own.unpriced_calls,
        unknown_calls=own.unknown_calls,
        own_server_calls=own.own_server_calls,
        failed_calls=everything.failed,
        lost_calls=everything.lost,
        hidden_calls=everything.calls - own.calls,
    )
