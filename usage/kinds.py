"""
The latest calls of some kinds, however rare they are and however many other calls there are.

The kind of a call is all that the usage page can ask for but time and run. An organization makes calls of few kinds,
and the index `usage_event_by_kind` has them kind by kind, the latest first. So its kinds are found in as many steps as
there are kinds, and the latest calls of each without passing a call of another kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from organizations.models import Organization
from usage.models import UsageEvent
from usage.querysets import UsageEventQuerySet

KIND = UsageEvent.KIND
TABLE = UsageEvent._meta.db_table


class Known(NamedTuple):
    """A kind by one call of it."""

    pk: int
    provider: str
    model: str
    action: str


def known_kinds(organization: Organization) -> list[Known]:
    """All kinds of calls that an organization has made."""
    rows = _one_of_each(organization)
    return [Known(*row) for row in rows.values_list(*Known._fields)]


def last_moments(organization: Organization) -> dict[str, datetime]:
    """When the last call of each action left, however long ago: one step into the index for each of its kinds."""
    same_kind = {column: OuterRef(column) for column in KIND}
    of_kind = UsageEvent.objects.for_organization(organization).filter(**same_kind).latest_first()
    kinds = _one_of_each(organization).annotate(last=Subquery(of_kind.values("occurred_at")[:1]))
    moments: dict[str, datetime] = {}
    for action, last in kinds.values_list("action", "last"):
        moments[action] = max(last, moments.get(action, last))
    return moments


def _one_of_each(organization: Organization) -> UsageEventQuerySet:
    """A call of each kind."""
    first = f"SELECT id FROM {TABLE} WHERE organization_id = %s ORDER BY {', '.join(KIND)} LIMIT 1"  # noqa: S608
    following = _following()
    steps = RawSQL(  # noqa: S611  # our names
        f"WITH RECURSIVE step(id) AS (SELECT ({first}) UNION ALL"  # noqa: S608
        f" SELECT ({following}) FROM step JOIN {TABLE} last ON last.id = step.id) SELECT id FROM step",
        [organization.pk] * (1 + following.count("%s")),
    )
    return UsageEvent.objects.for_organization(organization).filter(pk__in=steps)


def _following() -> str:
    """The id of the first call of the kind after that of `last`, in the order of the index."""

    def first_where(condition: str, order: Sequence[str]) -> str:
        by = ", ".join(f"next.{column}" for column in order)
        return f"SELECT next.id FROM {TABLE} next WHERE next.organization_id = %s AND {condition} ORDER BY {by} LIMIT 1"  # noqa: S608

    if connection.vendor == "postgresql":
        of_next, of_last = (", ".join(f"{which}.{column}" for column in KIND) for which in ("next", "last"))
        return first_where(f"({of_next}) > ({of_last})", KIND)
    # SQLite would read all calls of the last kind to compare many columns at once.
    places = []
    for at in reversed(range(len(KIND))):
        same = [f"next.{column} = last.{column}" for column in KIND[:at]]
        places.append(first_where(" AND ".join([*same, f"next.{KIND[at]} > last.{KIND[at]}"]), KIND[at:]))
    return f"COALESCE({', '.join(f'({place})' for place in places)})"


def latest(calls: UsageEventQuerySet, count: int, *, of: UsageEventQuerySet) -> list[UsageEvent]:
    """The latest `count` of `calls` that are of the kinds that the rows of `of` stand for."""
    same_kind = {column: RawSQL(f"kind.{column}", []) for column in KIND}  # noqa: S611  # our names
    try:
        of_one, its_parameters = _sql(calls.filter(**same_kind).latest_first().values("id", "occurred_at")[:count])
        kinds, parameters = _sql(of.order_by().values(*KIND))
    except EmptyResultSet:  # an organization that has made no calls knows no kinds
        return []
    if connection.vendor == "postgresql":
        each = f"CROSS JOIN LATERAL ({of_one}) latest"
    else:
        each = f"JOIN {TABLE} latest ON latest.id IN (SELECT id FROM ({of_one}))"  # noqa: S608
    found = RawSQL(  # noqa: S611
        f"SELECT latest.id FROM ({kinds}) kind {each}"  # noqa: S608
        f" ORDER BY latest.occurred_at DESC, latest.id DESC LIMIT {count:d}",
        (*parameters, *its_parameters),
    )
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It takes a kind of many columns for a rare one, and would rather read and sort all of it.
            cursor.execute("SET LOCAL enable_bitmapscan = off")
        return list(calls.filter(pk__in=found).latest_first())


def _sql(rows: QuerySet[Any, Any]) -> tuple[str, tuple[Any, ...]]:
    sql, parameters = rows.query.get_compiler(connection=connection).as_sql()
    return sql, parameters
