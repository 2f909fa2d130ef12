"""What *Consumption* reads, from whichever rollup knows: by the day, by the hour, or by the labels of callers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from organizations.models import Organization
from usage.cells import BY_LABEL, HOURLY, Cell, Grouping, read_groupings
from usage.consumption_form import ConsumptionForm
from usage.days import start_of_day
from usage.forms import Label
from usage.measures import COARSE_MEASURES, Sums
from usage.models import Mode
from usage.rollups import HOURS_KEPT_DAYS

HOURS_SHOWN_DAYS = 3
# Of a field of the form, the dimension that it is of, where that has another name.
DIMENSIONS = {"key": "key_id", "token": "token_id", "member": "member_id"}
TO_CHOOSE_FROM = ("provider", "model", "action", "mode", "key", "token", "member")
_FOUND = tuple(
    Grouping(tuple(dict.fromkeys((DIMENSIONS.get(name, name), "mode"))), ("calls",), filtered=False)
    for name in TO_CHOOSE_FROM
)
_LABELS = Grouping(("name", "value"), ("calls",), filtered=False)
Found = dict[str, dict[Any, int | None]]


class Reading:
    """
    The sums of one address of the page.

    Labels are summed apart, so that what has none of a name is all but those that have one.
    """

    def __init__(self, organization: Organization, form: ConsumptionForm, *, now: datetime) -> None:
        self.organization, self.period, self.group, self.now = organization, form.chosen_period, form.chosen_group, now
        self.label: Label | None = form.wanted.get("label")
        self.label_name = form.label_name
        self.where: Mapping[str, Collection[Any]] = {
            DIMENSIONS.get(name, name): [form.wanted[name]] for name in TO_CHOOSE_FROM if name in form.wanted
        }
        self.is_coarse = self.group.is_coarse and not self.label and not self.where.keys() & {*DIMENSIONS.values()}

    # By what, in the period and before it

    def of_period(self, *groupings: Grouping) -> tuple[tuple[list[Cell], ...], Found]:
        """By each of `groupings`, and what else there is to choose from, with its number of calls in the period."""
        first, last = self.period.first, self.period.last
        if self.label_name:
            tables, found = self._of_days(first, last, *groupings), self._read(first, last, *_FOUND)
        else:
            both = self._read(first, last, *groupings, *_FOUND)
            tables, found = both[: len(groupings)], both[len(groupings) :]
        (labels,) = read_groupings(self.organization, first, last, _LABELS, source=BY_LABEL)
        return tables, {
            **{name: _counted(name, cells) for name, cells in zip(TO_CHOOSE_FROM, found, strict=True)},
            "label": {Label(cell.name, cell.value): cell.sums.calls for cell in labels},
        }

    def before(self, grouping: Grouping) -> list[Cell]:
        """Of the period before; of its last day only as much as there is of today, where hours are known."""
        first, last = self.period.before_first, self.period.before_last
        until = self.before_until
        if until is None:
            return self._of_days(first, last, grouping)[0]
        cells = self._of_days(first, last - timedelta(days=1), grouping)[0] if first < last else []
        coarse = Grouping(("hour", *grouping.dimensions), _coarse(grouping.measures))
        (of_hours,) = read_groupings(self.organization, last, last, coarse, source=HOURLY, where=self.where)
        return cells + [cell for cell in of_hours if cell.hour and cell.hour < until]

    @property
    def before_until(self) -> datetime | None:
        """Up to when the last day before is compared with today, to the nearest hour; None: it is as a whole."""
        last = self.period.before_last
        if self.period.is_over or not self.is_coarse or not self._has_hours(last):
            return None
        hours = max(1, self.now.hour + (self.now.minute >= 30))
        return start_of_day(last) + timedelta(hours=hours) if hours < 24 else None

    # By day or hour

    @property
    def is_by_hour(self) -> bool:
        return len(self.period.days) <= HOURS_SHOWN_DAYS and self.is_coarse and self._has_hours(self.period.first)

    @property
    def slots(self) -> list[date] | list[datetime]:
        """What a bar is drawn for."""
        if not self.is_by_hour:
            return self.period.days
        return [start_of_day(day) + timedelta(hours=hour) for day in self.period.days for hour in range(24)]

    def of_slots(self, grouping: Grouping, top: Sequence[tuple[Any, ...]]) -> tuple[list[Cell], bool]:
        """By day or hour as well; and whether of `top` groups alone, which are read so where there are any."""
        first, last = self.period.first, self.period.last
        if self.is_by_hour:
            by_hour = Grouping(("hour", *grouping.dimensions), _coarse(grouping.measures))
            return read_groupings(self.organization, first, last, by_hour, source=HOURLY, where=self.where)[0], False
        by_day = Grouping(("day", *grouping.dimensions), grouping.measures)
        if not top or self.label_name or self.group.dimensions == ("key_id",):
            return self._of_days(first, last, by_day)[0], False
        name = self.group.dimensions[-1]
        where = {**self.where, name: sorted({each[-1] for each in top})}
        return self._read(first, last, by_day, where=where)[0], True

    def _has_hours(self, day: date) -> bool:
        return day > self.now.date() - timedelta(days=HOURS_KEPT_DAYS)

    def _of_days(self, first: date, last: date, *groupings: Grouping) -> tuple[list[Cell], ...]:
        if not self.label_name:
            return self._read(first, last, *groupings)
        where = {
            **self.where,
            "name": [self.label_name],
            "value": [self.label.value] if self.label and self.label.value else [],
        }
        labelled = read_groupings(
            self.organization,
            first,
            last,
            *(Grouping(each.dimensions, _coarse(each.measures)) for each in groupings),
            source=BY_LABEL,
            where=where,
        )
        if self.label and self.label.value:
            return labelled
        unlabelled = [Grouping(tuple(x for x in each.dimensions if x != "value"), each.measures) for each in groupings]
        everything = self._read(first, last, *unlabelled)
        rest = (
            without(cells, these, each.dimensions)
            for cells, these, each in zip(everything, labelled, unlabelled, strict=True)
        )
        if self.label:
            return tuple(rest)
        return tuple(these + others for these, others in zip(labelled, rest, strict=True))

    def _read(
        self, first: date, last: date, *groupings: Grouping, where: Mapping[str, Collection[Any]] | None = None
    ) -> tuple[list[Cell], ...]:
        return read_groupings(self.organization, first, last, *groupings, where=self.where if where is None else where)


def without(cells: Iterable[Cell], these: Iterable[Cell], dimensions: Sequence[str]) -> list[Cell]:
    """`cells` by `dimensions`, less what is in `these`, which may be told apart further."""
    left: dict[tuple[Any, ...], Cell] = {tuple(getattr(cell, name) for name in dimensions): cell for cell in cells}
    for cell in these:
        place = tuple(getattr(cell, name) for name in dimensions)
        if place in left:
            left[place] = left[place]._replace(sums=less(left[place].sums, cell.sums))
    return [cell for cell in left.values() if any(cell.sums)]


def less(sums: Sums, these: Sums) -> Sums:
    return Sums(*(one - other for one, other in zip(sums, these, strict=True)))


def _coarse(measures: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in measures if name in COARSE_MEASURES)


def _counted(field: str, cells: Iterable[Cell]) -> dict[Any, int | None]:
    """Calls by value. The keys of the operator are not told apart."""
    counts: dict[Any, int | None] = {}
    name = DIMENSIONS.get(field, field)
    for cell in cells:
        if cell.sums.calls and not (field == "key" and cell.mode == Mode.MANAGED):
            counts[getattr(cell, name)] = (counts.get(getattr(cell, name)) or 0) + cell.sums.calls
    return counts


def days_in_words(first: date, last: date) -> str:
    """Such as "29 Oct to 27 Nov 2026"."""
    if first == last:
        return f"{first:%-d %b %Y}"
    return f"{first:%-d %b}{f' {first.year}' * (first.year != last.year)} to {last:%-d %b %Y}"
