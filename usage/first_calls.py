"""
The first calls of runs, recorded by one statement on PostgreSQL: nearly all calls of checks, and of callers who name no
runs.

Nothing has to be looked up for them: whoever removes the admission of such a call writes its run and its event. The
statement is a transaction by itself, and one trip to the database; on the connection of a writer's own thread it is
planned once. Where one of the runs has begun all the same, or is another call's, it fails as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from uuid import UUID

import psycopg
from django.db import connection, models

from organizations.many_rows import document, selected
from usage.facts import Admission
from usage.models import InFlightCall, UsageEvent, UsageRun
from usage.new_rows import ADMITTED, EVENT, NewEvent, values_of_admission, values_of_event
from usage.runs import NEW_RUN, begin_runs, values_of_run

# Which all writers keep, so that two who begin the same runs wait for one another: that of Python (`usage/runs.py`).
_IN_ORDER = 'ORDER BY given."organization_id", given."run_id", given."action" COLLATE "C"'


def can_be_one_statement(events: Sequence[NewEvent]) -> bool:
    """Outside of a transaction: one that it fails in would be lost."""
    return (
        connection.vendor == "postgresql"
        and not connection.in_atomic_block
        and all(event.iteration == event.attempt == 1 for event in events)
    )


def record_at_once(events: Sequence[NewEvent], admitted: Sequence[Admission]) -> set[UUID]:
    """
    Note the calls that are `admitted`, unless they are; remove the admissions of others and write their `events`, those
    that still had one: their call ids. Raises IntegrityError, and then did nothing.
    """
    runs = begin_runs(events)
    given = [
        document(ADMITTED, map(values_of_admission, admitted)),
        _array(str(each) for each in {event.organization_id for event in events}),
        _array(sorted(event.call_id.hex for event in events)),
        document(NEW_RUN, map(values_of_run, runs)),
        document(EVENT, map(values_of_event, events)),
    ]
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        return {call_id for (call_id,) in cursor.execute(_statement(), given)}


@cache
def _statement() -> str:
    calls = connection.ops.quote_name(InFlightCall._meta.db_table)
    removed = (
        f'DELETE FROM {calls} WHERE "organization_id" = ANY(%s::bigint[]) AND "id" = ANY(%s::uuid[]) RETURNING "id"'  # noqa: S608  # names of ours
    )
    return (
        f"WITH admitted AS ({_insertion(InFlightCall, ADMITTED)} ON CONFLICT DO NOTHING), removed AS ({removed}), "
        f"begun AS ({_insertion(UsageRun, NEW_RUN)} {_among_removed('first_call_id')} {_IN_ORDER}) "
        f'{_insertion(UsageEvent, EVENT)} {_among_removed("call_id")} RETURNING "call_id"'
    )


def _insertion(model: type[models.Model], columns: Sequence[str]) -> str:
    named = ", ".join(connection.ops.quote_name(name) for name in columns)
    into = connection.ops.quote_name(model._meta.db_table)
    return f"INSERT INTO {into} ({named}) SELECT given.* FROM ({selected(model, columns)}) AS given"  # noqa: S608  # names of ours


def _among_removed(column: str) -> str:
    return f'WHERE given."{column}" IN (SELECT "id" FROM removed)'  # noqa: S608  # names of ours


def _array(values: Iterable[str]) -> str:
    """As PostgreSQL reads one; psycopg would look at each value by itself."""
    return "{" + ",".join(values) + "}"
