"""
The daily rollup: each usage event is added to its day exactly once, whatever runs at the same time.

A watermark says up to which position events have been added. One transaction locks it, adds what lies
between it and the new watermark, and moves it; a crash undoes all three. Positions (usage/ingest.py) are
such that no event can appear below a watermark later: on PostgreSQL it is the oldest transaction still
running, so that a slow writer delays the rollup and loses nothing; on SQLite, which has one writer at a
time, it is the next row id. Late events (of a day long past) have a new position and go to their own day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Aggregate, Count, Max, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from usage.models import RollupState, UsageDaily, UsageEvent, UsageEventQuerySet

Status = UsageEvent.Status


class RollupRefused(Exception):
    """The rollup would count wrongly; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class RollUpResult:
    events: int
    rows: int


NOTHING = RollUpResult(events=0, rows=0)


def roll_up(*, now: datetime) -> RollUpResult:
    """
    Add all events that are settled and not yet added; returns how many, and how many daily rows they changed.

    Writes nothing when there is nothing to add, and leaves at once while another one is at it.
    Raises RollupRefused on a database that was restored into another PostgreSQL cluster.
    """
    state = RollupState.objects.first() or RollupState()
    _refuse_foreign_positions(state)
    if not _events_between(state, _next_position()).exists():
        return NOTHING
    with transaction.atomic():
        locked = _lock_state(skip_locked=True)
        if locked is None:
            return NOTHING
        until = _next_position()
        events = _events_between(locked, until)
        count = events.count()
        if not count:
            return NOTHING
        rows = _add_to_daily(events)
        _move_state(position=until, rolled_up_at=now)
    return RollUpResult(events=count, rows=rows)


def rebuild(*, now: datetime) -> RollUpResult:
    """
    Derive all of UsageDaily anew from the events; afterwards `roll_up` goes on from there.

    Also the way back after a restore into another PostgreSQL cluster. Writers wait while it runs.
    """
    with transaction.atomic():
        _lock_state(skip_locked=False)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {UsageEvent._meta.db_table} IN SHARE MODE")
        until = _next_position()
        last_id = UsageEvent.objects.aggregate(last=Max("id"))["last"] or 0
        UsageDaily.objects.all().delete()
        events = UsageEvent.objects.filter(id__lte=last_id)
        count, rows = events.count(), _add_to_daily(events)
        _move_state(position=until, rebuilt_to_id=last_id, system_identifier=_system_identifier(), rolled_up_at=now)
    return RollUpResult(events=count, rows=rows)


def daily_rows(events: UsageEventQuerySet, *dimensions: str) -> QuerySet[UsageEvent, Any]:
    """`events` summed by `dimensions` of UsageDaily: tuples of the dimensions, then MEASURES in order."""
    sums = {f"sum_{name}": aggregate for name, aggregate in _aggregates().items()}
    return events.with_day().order_by().values_list(*dimensions).annotate(**sums)


def _aggregates() -> dict[str, Aggregate | Coalesce]:
    """What UsageDaily sums, over events; one definition for the rollup and for what is not rolled up yet."""
    return {
        "calls": Count("id"),
        "runs": Count("id", filter=Q(iteration=1)),
        "priced_runs": Count("id", filter=Q(cost_nanousd__isnull=False, follows_priced=False)),
        "answered": Count("id", filter=Q(status=Status.ANSWERED)),
        "failed": Count("id", filter=Q(status=Status.FAILED)),
        "lost": Count("id", filter=Q(status=Status.LOST)),
        "unpriced_calls": Count("id", filter=Q(status=Status.ANSWERED, cost_nanousd__isnull=True)),
        "uncached_input_tokens": Sum("uncached_input_tokens"),
        "cache_read_tokens": Sum("cache_read_tokens"),
        "cache_write_tokens": Sum("cache_write_tokens"),
        "output_tokens": Sum("output_tokens"),
        "reasoning_tokens": Sum("reasoning_tokens"),
        "cost_nanousd": Coalesce(Sum("cost_nanousd"), Value(0)),
        "latency_ms": Sum("latency_ms"),
    }


MEASURES = tuple(_aggregates())


def _add_to_daily(events: UsageEventQuerySet) -> int:
    """One statement, in the database: group the events, add the groups to their days."""
    table = UsageDaily._meta.db_table
    dimensions = UsageDaily.DIMENSIONS
    select, parameters = daily_rows(events, *dimensions).query.get_compiler(connection=connection).as_sql()
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in MEASURES)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL work_mem = '64MB'")  # else it sorts on disk: half the speed, measured
        cursor.execute(
            f"INSERT INTO {table} ({', '.join((*dimensions, *MEASURES))}) {select} "
            f"ON CONFLICT ({', '.join(dimensions)}) DO UPDATE SET {added}",
            parameters,
        )
        return int(cursor.rowcount)


def _events_between(state: RollupState, until: int) -> UsageEventQuerySet:
    return UsageEvent.objects.from_position(state.position, until=until, after_id=state.rebuilt_to_id)


def _next_position() -> int:
    """Nothing can be written below this position any more."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        else:
            cursor.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {UsageEvent._meta.db_table}")  # noqa: S608
        return int(cursor.fetchone()[0])


def _lock_state(*, skip_locked: bool) -> RollupState | None:
    """The one row, locked to the end of the transaction; None while another one holds it."""
    if not RollupState.objects.exists():
        RollupState.objects.bulk_create([RollupState(system_identifier=_system_identifier())], ignore_conflicts=True)
    return RollupState.objects.select_for_update(skip_locked=skip_locked).first()


def _move_state(**values: Any) -> None:
    RollupState.objects.update(**values)


def _refuse_foreign_positions(state: RollupState) -> None:
    if state.system_identifier and state.system_identifier != _system_identifier():
        raise RollupRefused(
            "This database was restored into another PostgreSQL cluster, whose transaction ids start anew. "
            "Run `manage.py roll_up_usage --rebuild` once."
        )


def _system_identifier() -> str:
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        return str(cursor.fetchone()[0])
