"""How much there is behind each value of a list's filters, from the rollup: of the days that are shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from organizations.models import Organization
from usage.cells import Grouping, read_groupings
from usage.consumption_form import EARLIEST, MOST_DAYS
from usage.consumption_reading import DIMENSIONS, days_in_words
from usage.days import MONTH, first_day
from usage.forms import CallForm
from usage.models import Mode

ALWAYS = ("provider", "model", "action", "mode")


@dataclass(frozen=True, slots=True)
class FilterCounts:
    """By field and value, whatever the other filters are; `days` in words."""

    days: str
    of: dict[str, Counter[Any]]


def filter_counts(organization: Organization, form: CallForm, measure: str, *, today: date) -> FilterCounts:
    """Of 30 days where the form asks for none, of a year at most: of all time, each day there was would be summed."""
    wanted = form.wanted
    day = wanted.get("day")
    last = max(min(day or wanted.get("to") or today, today), EARLIEST)
    first = day or wanted.get("from_") or first_day(last, MONTH)
    first = min(max(first, last - timedelta(days=MOST_DAYS - 1)), last)
    fields = (*ALWAYS, *(name for name in DIMENSIONS if name in wanted))
    dimensions = [DIMENSIONS.get(name, name) for name in fields]
    (cells,) = read_groupings(organization, first, last, Grouping(tuple(dict.fromkeys(dimensions)), (measure,)))
    of: dict[str, Counter[Any]] = {name: Counter() for name in fields}
    for cell in cells:
        for field, dimension in zip(fields, dimensions, strict=True):
            if field != "key" or cell.mode != Mode.MANAGED:  # the keys of the operator are not told apart
                of[field][getattr(cell, dimension)] += getattr(cell.sums, measure)
    return FilterCounts(days_in_words(first, last), of)
