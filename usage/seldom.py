"""
Where calls by a key, a token, a member or a label are, which no index of calls knows.

The rollup knows on which days there were such calls and of which kinds they were, so only those days of those kinds are
gone through, by the index that has kinds and time (usage/kinds.py).
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from operator import or_

from django.db.models import Q

from organizations.models import Organization
from usage.cells import BY_LABEL, DAILY, Cell, Grouping, read_groupings
from usage.days import end_of_day, start_of_day
from usage.forms import CallForm
from usage.models import UsageEvent
from usage.querysets import UsageEventQuerySet

FIRST, LAST = date(2000, 1, 1), date(2200, 1, 1)
WHERE = Grouping(("day", "provider", "model", "action", "mode"), ("calls",))
_BY = ("provider", "model", "action", "mode")
MOST_PARTS = 40  # beyond which it is no seldom thing, and a long condition helps nobody


def narrowed(
    form: CallForm, organization: Organization, calls: UsageEventQuerySet, of_each_kind: UsageEventQuerySet
) -> tuple[UsageEventQuerySet, UsageEventQuerySet]:
    """`calls` that the form asks for by whom they came, and of `of_each_kind` those kinds that they are of."""
    wanted = form.wanted
    where = {f"{name}_id": [wanted[name]] for name in ("key", "token", "member") if name in wanted}
    label = wanted.get("label")
    if not where and not label:
        return calls, of_each_kind
    calls = form.of_origin(calls)
    if label and label.value:
        source, where = BY_LABEL, {"name": [label.name], "value": [label.value]}
    elif where:
        source = DAILY
    else:
        return calls, of_each_kind  # most calls lack a label
    first, last = wanted.get("from_") or FIRST, wanted.get("to") or LAST
    (cells,) = read_groupings(organization, first, last, WHERE, source=source, where=where)
    if not cells:
        return calls.none(), of_each_kind.none()
    return calls.filter(_on_days(cells)), of_each_kind.filter(_of_kinds(cells))


def _on_days(cells: list[Cell]) -> Q:
    days = sorted({cell.day for cell in cells if cell.day})
    spans: list[list[date]] = []
    for day in days:
        if spans and day - spans[-1][1] <= timedelta(days=1):
            spans[-1][1] = day
        else:
            spans.append([day, day])
    whole = Q(occurred_at__range=(start_of_day(days[0]), end_of_day(days[-1])))  # what an index can begin at
    if len(spans) == 1 or len(spans) > MOST_PARTS:
        return whole
    return whole & reduce(or_, (Q(occurred_at__range=(start_of_day(first), end_of_day(last))) for first, last in spans))


def _of_kinds(cells: list[Cell]) -> Q:
    found = {tuple(getattr(cell, name) for name in _BY) for cell in cells}
    if len(found) > MOST_PARTS:
        return Q()
    return reduce(or_, (Q(**dict(zip(_BY, each, strict=True))) for each in sorted(found)))


assert set(_BY) <= set(UsageEvent.KIND)  # noqa: S101  # else it would narrow by what kinds do not know
