"""
The sums that every number on a page is made of, read in one statement: a rollup, and the events of this organization
that are not in it yet. Because it is one, each event is seen exactly once, whatever the rollup does meanwhile.

What nobody knows is None, never 0, and a sum says how much of it is not known; USD that the organization is not to see
are left out (usage/audience.py says what `show_managed_usd` means), and where it sees all, `hidden_calls` is 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

from django.db import connection
from django.db.models import F, Field, Q, QuerySet

from organizations.models import Organization
from usage.audience import sees_usd
from usage.days import end_of_day, first_day, start_of_day
from usage.measures import (
    COARSE_MEASURES,
    MEASURES,
    Sums,
    coarse_rows,
    daily_rows,
    rows_of_other_days,
    with_labels,
)
from usage.models import UsageByLabel, UsageDaily, UsageEvent, UsageHourly
from usage.rollups import not_rolled_up

Key = TypeVar("Key")
STAND_INS = (Organization(pk=-1), date(1, 1, 1), date(1, 1, 2))


class Source(NamedTuple):
    """A rollup: its table, what says when, and how events are summed as it does."""

    table: type[UsageDaily] | type[UsageHourly] | type[UsageByLabel]
    when: str
    rows: Callable[..., QuerySet[UsageEvent, Any]]
    measures: tuple[str, ...]

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(name for name in self.table.DIMENSIONS if name != "organization_id")


DAILY = Source(UsageDaily, "day", daily_rows, MEASURES)
HOURLY = Source(UsageHourly, "hour", coarse_rows, COARSE_MEASURES)
BY_LABEL = Source(UsageByLabel, "day", coarse_rows, COARSE_MEASURES)
Where = Mapping[str, Collection[Any]]


class Grouping(NamedTuple):
    """
    By what to sum up, and what: the sums that a page does not show took as long as those it shows. Where it is not
    `filtered`, it is of everything in the period.
    """

    dimensions: tuple[str, ...]
    measures: tuple[str, ...] = MEASURES
    filtered: bool = True


class Cell(NamedTuple):
    """Sums of one group; dimensions that were not asked for are empty. `name` and `value` are a label's."""

    sums: Sums
    day: date | None = None
    hour: datetime | None = None
    provider: str = ""
    model: str = ""
    action: str = ""
    mode: str = ""
    key_id: UUID | None = None
    token_id: int = 0
    member_id: int = 0
    name: str = ""
    value: str = ""


# What `totals` reads.
TOTALS = (
    *("calls", "failed", "lost", "unpriced_calls", "unknown_calls", "unreported_calls", "own_server_calls"),
    *("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_nanousd"),
)


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
    (cells,) = read_groupings(organization, first_day(today, days), today, Grouping(dimensions))
    return cells


def read_groupings(
    organization: Organization,
    first: date,
    last: date,
    *groupings: Grouping,
    source: Source = DAILY,
    where: Where | None = None,
) -> tuple[list[Cell], ...]:
    """
    The same of the days from `first` to `last`, by each of several `groupings`, from one reading: a page needs few
    cells of each, not all of all.

    `where` keeps those rows whose dimensions have one of these values; without values, any. Measures that a grouping
    does not ask for, or the source does not have, are 0.
    """
    where = {name: values for name, values in (where or {}).items() if values}
    shape = tuple((name, len(values)) for name, values in where.items())
    sql, parameters = _statement(groupings, source, shape)
    meant = dict(zip(_stand_ins(), _as_stored(organization.pk, first, last), strict=True))
    conditions = [
        cast("Field[Any, Any]", source.table._meta.get_field(name)).get_db_prep_value(value, connection)
        for name, values in where.items()
        for value in values
    ]
    dimensions, measures = _dimensions(groupings, source, shape), _measures(groupings, source)
    tables: tuple[list[Cell], ...] = tuple([] for _ in groupings)
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            [
                *(meant.get(parameter, parameter) for parameter in parameters),
                *(value for grouping in groupings if grouping.filtered for value in conditions),
            ],
        )
        for place, *row in cursor.fetchall():
            wanted = groupings[place].dimensions
            of_group = {
                name: _read(name, value) for name, value in zip(dimensions, row, strict=False) if name in wanted
            }
            sums = dict(zip(measures, map(int, row[len(dimensions) :]), strict=True))
            tables[place].append(Cell(Sums(**sums), **of_group))
    return tables


def _read(dimension: str, value: Any) -> Any:
    """As Python has it; SQLite gives text."""
    if isinstance(value, str):
        match dimension:
            case "day":
                return date.fromisoformat(value)
            case "hour":
                return datetime.fromisoformat(value).replace(tzinfo=UTC)
            case "key_id":
                return UUID(value)
    return value


def _dimensions(groupings: Sequence[Grouping], source: Source, where: Sequence[tuple[str, int]] = ()) -> list[str]:
    wanted = {name for grouping in groupings for name in grouping.dimensions} | {name for name, _ in where}
    return [name for name in source.dimensions if name in (wanted or {source.when})]


def _measures(groupings: Sequence[Grouping], source: Source) -> list[str]:
    return [name for name in source.measures if any(name in grouping.measures for grouping in groupings)]


@lru_cache(maxsize=256)
def _statement(
    groupings: tuple[Grouping, ...], source: Source, where: tuple[tuple[str, int], ...]
) -> tuple[str, tuple[Any, ...]]:
    """
    What `read_groupings` asks, with `_stand_ins` for the organization and the days; the values of `where` follow.

    Made once, since it is the same for everybody and takes as long to make as to ask.
    """
    nobody, first, last = STAND_INS
    dimensions, measures = _dimensions(groupings, source, where), _measures(groupings, source)
    table = source.table.objects.for_organization(nobody).filter(_between(source, first, last)).order_by()
    rolled_up = table.values_list(*dimensions).annotate(**{f"sum_{name}": F(name) for name in measures})
    tail = not_rolled_up(UsageEvent.objects.for_organization(nobody))
    rows = [source.rows(tail.on_days(first, last), *dimensions, measures=measures)]
    if source is DAILY:
        rows.append(rows_of_other_days(tail.filter(run_day__range=(first, last)), *dimensions, measures=measures))
    of_cells, parameters = rolled_up.union(*rows, all=True).query.get_compiler(connection=connection).as_sql()
    if source is BY_LABEL:
        of_cells = with_labels(of_cells, connection.vendor)
    if len(groupings) > 2:  # each then passes few rows; for fewer, grouping twice takes longer than it saves
        summed = ", ".join(f"CAST(SUM(sum_{name}) AS bigint) AS sum_{name}" for name in measures)
        by = ", ".join(dimensions)
        of_cells = f"SELECT {by}, {summed} FROM ({of_cells}) AS stored GROUP BY {by}"  # noqa: S608  # names of ours
    conditions = " AND ".join(f"{name} IN ({', '.join(['%s'] * count)})" for name, count in where)
    grouped = " UNION ALL ".join(
        f"SELECT {place}, {', '.join(_selected(grouping, source, dimensions, measures))} FROM cell"  # noqa: S608  # names of ours
        f"{f' WHERE {conditions}' if conditions and grouping.filtered else ''}"
        f" {f'GROUP BY {by}' if (by := ', '.join(grouping.dimensions)) else 'HAVING COUNT(*) > 0'}"
        for place, grouping in enumerate(groupings)
    )
    return f"WITH cell AS ({of_cells}) {grouped}", tuple(parameters)


def _between(source: Source, first: date, last: date) -> Q:
    ends = (first, last) if source.when == "day" else (start_of_day(first), end_of_day(last))
    return Q(**{f"{source.when}__range": ends})


def _selected(grouping: Grouping, source: Source, dimensions: Sequence[str], measures: Sequence[str]) -> Iterator[str]:
    # PostgreSQL takes two bare NULLs for text, with which no id of a third grouping can be in a union.
    yield from (name if name in grouping.dimensions else f"CAST(NULL AS {_type(source, name)})" for name in dimensions)
    yield from (f"SUM(sum_{name})" if name in grouping.measures else "0" for name in measures)


def _type(source: Source, name: str) -> str:
    field = cast("Field[Any, Any]", source.table._meta.get_field(name))
    return str(field.cast_db_type(connection))


def _stand_ins() -> tuple[Any, ...]:
    nobody, first, last = STAND_INS
    return _as_stored(nobody.pk, first, last)


def _as_stored(pk: int, first: date, last: date) -> tuple[Any, ...]:
    days = map(connection.ops.adapt_datefield_value, (first, last))
    return pk, *days, *map(connection.ops.adapt_datetimefield_value, (start_of_day(first), end_of_day(last)))


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
