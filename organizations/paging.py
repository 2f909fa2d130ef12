"""
Pages of a long list that cost the same however far down they are.

A page begins where another one ended: its address (`?after=`, backwards `?before=`) holds the values by which the last
row shown is ordered, and an index leads there. Rows that come, go or move meanwhile shift no page.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Generic, TypeVar

from django.db.models import DateTimeField, Model, Q, QuerySet, UUIDField
from django.http import HttpRequest

from organizations.reading import whole_number

Row = TypeVar("Row", bound=Model)
Value = int | datetime | uuid.UUID
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LAST_MOMENT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class PageOfRows(Generic[Row]):
    """What `_pages.html` needs; `after` and `before` are None where there is no page that way."""

    rows: list[Row]
    before: str | None
    after: str | None

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def page_of_rows(request: HttpRequest, rows: QuerySet[Row], *, by: Sequence[str], size: int) -> PageOfRows[Row]:
    """
    The page of `rows` that the address names, ordered `by` fields of them; the first one for nonsense.

    The fields are whole numbers, moments or UUIDs, never null, and together no two rows have the same. Give them an
    index in this order, behind the organization. No moment is one that the database gives by default: SQLite writes
    those with three decimals, and compares them as text with six.
    """
    if any(_field(rows.model, name.removeprefix("-")).has_db_default() for name in by):
        raise TypeError(f"Rows cannot be paged by moments of the database: {', '.join(by)}")
    ordered = rows.order_by(*by)
    if after := _read(rows, by, request.GET.get("after")):
        found = list(ordered.filter(_beyond(by, after))[: size + 1])
        if found:
            return PageOfRows(found[:size], place_of(found[0], by), _next(found, by, size))
    elif before := _read(rows, by, request.GET.get("before")):
        found = list(ordered.reverse().filter(_beyond(by, before, backwards=True))[: size + 1])
        if len(found) > size:
            shown = found[size - 1 :: -1]
            return PageOfRows(shown, place_of(shown[0], by), place_of(shown[-1], by))
    found = list(ordered[: size + 1])
    return PageOfRows(found[:size], None, _next(found, by, size))


def _next(found: Sequence[Row], by: Sequence[str], size: int) -> str | None:
    return place_of(found[size - 1], by) if len(found) > size else None


def _beyond(by: Sequence[str], values: Sequence[Value], *, backwards: bool = False) -> Q:
    """The rows after the one with `values`."""
    condition = Q()
    for field, value in reversed(list(zip(by, values, strict=True))):
        name, goes_down = field.removeprefix("-"), field.startswith("-") != backwards
        beyond = Q(**{f"{name}__{'lt' if goes_down else 'gt'}": value})
        condition = beyond | Q(**{name: value}) & condition if condition else beyond
    # Said by the "or" already, but of that no index can make use.
    return condition & Q(**{f"{name}__{'lte' if goes_down else 'gte'}": value})


def place_of(row: Model, by: Sequence[str]) -> str:
    """What an address says `after` which row its page begins."""
    values = (attrgetter(field.removeprefix("-"))(row) for field in by)
    return "_".join(str((value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value) for value in values)


def _read(rows: QuerySet[Row], by: Sequence[str], text: str | None) -> list[Value] | None:
    parts = (text or "").split("_")
    values = [_value(_field(rows.model, name.removeprefix("-")), part) for name, part in zip(by, parts, strict=False)]
    known = [value for value in values if value is not None]
    return known if len(known) == len(by) == len(parts) else None


def _value(field: Any, text: str) -> Value | None:
    if isinstance(field, UUIDField):
        try:
            return uuid.UUID(text)
        except ValueError:
            return None
    if isinstance(field, DateTimeField):
        microseconds = whole_number(text, most=_LAST_MOMENT)
        return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
    return whole_number(text)


def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)
