"""
The rollup: each usage event is added to its day, its hour and its labels exactly once, whatever runs at the same time.

A watermark says up to which position events have been added. One transaction locks it, adds what lies
between it and the new watermark, and moves it; a crash undoes all three. Positions (usage/ingest.py) are
such that no event can appear below a watermark later: on PostgreSQL it is the oldest transaction still
running, so that a slow writer delays the rollup and loses nothing; on SQLite, which has one writer at a
time, it is the next row id. Late events (of a day long past) have a new position and go to their own day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Min, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from usage.days import midnight_before, start_of_day
from usage.measures import (
    COARSE_MEASURES,
    MEASURES,
    coarse_rows,
    daily_rows,
    rows_of_other_days,
    sorted_by,
    with_labels,
)
from usage.models import RollupState, UsageByLabel, UsageDaily, UsageEvent, UsageHourly
from usage.querysets import UsageEventQuerySet


class RollupRefused(Exception):
    """The rollup would count wrongly; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class RollUpResult:
    """`rows` is how often a daily row was made or added to, which is once for each part with events of it."""

    events: int
    rows: int


NOTHING = RollUpResult(events=0, rows=0)
EVENTS_AT_ONCE = 250_000
HOURS_KEPT_DAYS = 35
LAST = 2**63 - 1  # position that there can be
Progress = Callable[[int, int], None]  # is told how much is done, and of how much


def roll_up(*, now: datetime, progress: Progress | None = None) -> RollUpResult:
    """
    Add all events that are settled and not yet added.

    Writes nothing when there is nothing to add, and leaves at once while another one is at it.
    Raises RollupRefused on a database that was restored into another PostgreSQL cluster.
    """
    state = RollupState.objects.first() or RollupState()
    _refuse_foreign_positions(state)
    if not events_between(state.position, next_position(), after_id=state.rebuilt_to_id).exists():
        return NOTHING
    with transaction.atomic():
        locked = lock_state(skip_locked=True)
        if locked is None:
            return NOTHING
        until = next_position()
        result = _add(events_between(locked.position, until, after_id=locked.rebuilt_to_id), now, progress)
        if result.events:
            if locked.rolled_up_at is None or hours_kept_from(locked.rolled_up_at) < hours_kept_from(now):  # once a day
                _forget_old_hours(now)
            _move_state(position=until, rolled_up_at=now)
    return result


def rebuild(*, now: datetime, progress: Progress | None = None) -> RollUpResult:
    """
    Derive all sums anew from the events; afterwards `roll_up` goes on from there. Sums of days whose events have left
    (usage/pruning.py) stay, and what is not in them yet is added.

    Also the way back after a restore into another PostgreSQL cluster. Writers wait while it runs.
    """
    with transaction.atomic():
        state = lock_state(skip_locked=False) or RollupState()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {UsageEvent._meta.db_table} IN SHARE MODE")
        until = next_position()
        last_id = UsageEvent.objects.aggregate(last=Max("id"))["last"] or 0
        first = state.derived_from
        if first:
            _add(events_between(state.position, LAST, after_id=state.rebuilt_to_id), now, None)
        for table in (UsageDaily, UsageByLabel):
            table.objects.filter(day__gte=first or date.min).delete()
        UsageHourly.objects.filter(hour__gte=start_of_day(first or date.min)).delete()
        result = _add(UsageEvent.objects.filter(id__lte=last_id), now, progress, first)
        _forget_old_hours(now)
        _move_state(position=until, rebuilt_to_id=last_id, system_identifier=system_identifier(), rolled_up_at=now)
    return result


def not_rolled_up(events: UsageEventQuerySet) -> UsageEventQuerySet:
    """Those of `events` that UsageDaily does not hold yet. In one statement with it, each event is seen once."""
    return _from_position(events, _of_state("position"), after_id=_of_state("rebuilt_to_id"))


def are_rolled_up(events: UsageEventQuerySet, state: RollupState | None = None) -> UsageEventQuerySet:
    """Those of `events` that were added by when `state` was read, now without it: no other one joins them later."""
    position, rebuilt_to_id = (
        (state.position, state.rebuilt_to_id) if state else (_of_state("position"), _of_state("rebuilt_to_id"))
    )
    before = Q(**{f"{position_column()}__lt": position})
    if connection.vendor == "postgresql":
        before |= Q(id__lte=rebuilt_to_id)
    return events.filter(before)


def hours_kept_from(now: datetime) -> datetime:
    """The first hour that UsageHourly has."""
    return midnight_before(now) - timedelta(days=HOURS_KEPT_DAYS)


def _add(
    events: UsageEventQuerySet, now: datetime, progress: Progress | None, first_day: date | None = None
) -> RollUpResult:
    """
    In the database: group the events, add the groups to their days, without looking for rows to add to on days that
    have none yet; then what counts on other days; the same by hours and labels. To days before the first, nothing.

    A part at a time, each of which sorts within memory, in the order of ids and so nearly of days.
    """
    of_runs = events.filter(run_day__gte=first_day) if first_day else events
    events = events.left_on_days(first_day, None)
    found = events.aggregate(
        count=Count("id"), first=Min("id"), last=Max("id"), latest=Max("occurred_at"), of_other_days=Count("run_day")
    )
    if not found["count"] and not first_day:
        return NOTHING
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '64MB'")  # else it sorts on disk: half the speed, measured
    rows, dimensions = 0, UsageDaily.DIMENSIONS
    for start in range(found["first"] or 0, (found["last"] or -1) + 1, EVENTS_AT_ONCE):
        part = events.filter(id__gte=start, id__lt=start + EVENTS_AT_ONCE)
        newest = UsageDaily.objects.order_by("-day").values_list("day", flat=True).first() or date.min
        if newest > date.min:
            rows += _add_to_daily(daily_rows(part.left_on_days(None, newest), *dimensions))
        if found["latest"].date() > newest:
            new_days = daily_rows(part.left_on_days(newest + timedelta(days=1), None), *dimensions)
            rows += _add_to_daily(new_days, are_new=True)
        _add_to_coarse(UsageHourly, part.filter(occurred_at__gte=hours_kept_from(now)))
        _add_to_coarse(UsageByLabel, part)
        if progress:
            progress(
                min(start + EVENTS_AT_ONCE, found["last"] + 1) - found["first"], found["last"] + 1 - found["first"]
            )
    if found["of_other_days"] or first_day:
        rows += _add_to_daily(rows_of_other_days(of_runs, *dimensions))
    return RollUpResult(events=found["count"], rows=rows)


def _forget_old_hours(now: datetime) -> None:
    """By no index (usage/rollup_tables.py says why)."""
    UsageHourly.objects.filter(hour__lt=hours_kept_from(now)).delete()


def _add_to_daily(rows: QuerySet[UsageEvent, Any], *, are_new: bool = False) -> int:
    # A key that was renamed within a part goes by either name until a later part has its calls.
    labelled = rows.annotate(label=Max("key_label"))
    return _insert(UsageDaily, labelled, MEASURES, {"key_label": "excluded.key_label"}, are_new=are_new)


def _add_to_coarse(table: type[UsageHourly] | type[UsageByLabel], events: UsageEventQuerySet) -> None:
    _insert(table, coarse_rows(events, *table.DIMENSIONS), COARSE_MEASURES, {})


def _insert(
    table: type[UsageDaily] | type[UsageHourly] | type[UsageByLabel],
    rows: QuerySet[UsageEvent, Any],
    measures: Sequence[str],
    replaced: dict[str, str],
    *,
    are_new: bool = False,
) -> int:
    """Add `rows`, which have the dimensions, the measures and what is `replaced` in a row that is there."""
    name, dimensions = table._meta.db_table, table.DIMENSIONS
    # In the order of the table's index, which is then filled from one side: a third of the time, measured.
    select, parameters = sorted_by(rows, *dimensions).query.get_compiler(connection=connection).as_sql()
    if "name" in dimensions:
        select = with_labels(select, connection.vendor)
    changed = {measure: f"{name}.{measure} + excluded.{measure}" for measure in measures} | replaced
    conflict = f" ON CONFLICT ({', '.join(dimensions)}) DO UPDATE SET " + ", ".join(
        f"{column} = {value}" for column, value in changed.items()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {name} ({', '.join((*dimensions, *measures, *replaced))}) {select}"
            f"{'' if are_new else conflict}",
            parameters,
        )
        return int(cursor.rowcount)


def events_between(position: int, until: int, *, after_id: int) -> UsageEventQuerySet:
    """Those written from `position` on and before `until`; `after_id` as RollupState.rebuilt_to_id."""
    events = _from_position(UsageEvent.objects.all(), position, after_id=after_id)
    return events.filter(**{f"{position_column()}__lt": until})


def _from_position(
    events: UsageEventQuerySet, position: int | Subquery, *, after_id: int | Subquery
) -> UsageEventQuerySet:
    """
    Those written from `position` on.

    `after_id` leaves out what a rebuild has counted; SQLite has no need of it, its position being the id.
    """
    # Of a range with two ends both databases expect few rows, where they cannot know an end. Of one with one end
    # PostgreSQL expects a third of the table, for which it starts parallel workers and compiles the statement, and
    # SQLite so many that it would read all, in the order of an index by which they are to be grouped.
    if connection.vendor != "postgresql":
        return events.filter(id__range=(position, LAST))
    # ">0" lets the partial indexes serve.
    return events.filter(ingest_position__gt=0, ingest_position__range=(position, LAST), id__gt=after_id)


def position_column() -> str:
    return "ingest_position" if connection.vendor == "postgresql" else "id"


def _of_state(field: str) -> Subquery:
    """
    A number of RollupState, 0 while there is none.

    The zero comes from within the subquery: around it, Coalesce would keep PostgreSQL from asking an index, since it
    takes a condition behind row-level security only if nothing in it could leak a row.
    """
    number = Coalesce(Max(field), Value(0))
    return Subquery(RollupState.objects.values(whole_table=Value(1)).annotate(number=number).values("number"))


def next_position() -> int:
    """Nothing can be written below this position any more."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        else:
            cursor.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {UsageEvent._meta.db_table}")  # noqa: S608
        return int(cursor.fetchone()[0])


def lock_state(*, skip_locked: bool) -> RollupState | None:
    """The one row, locked to the end of the transaction; None while another one holds it."""
    if not RollupState.objects.exists():
        RollupState.objects.bulk_create([RollupState(system_identifier=system_identifier())], ignore_conflicts=True)
    return RollupState.objects.select_for_update(skip_locked=skip_locked).first()


def _move_state(**values: Any) -> None:
    RollupState.objects.update(**values)


def _refuse_foreign_positions(state: RollupState) -> None:
    if state.system_identifier and state.system_identifier != system_identifier():
        raise RollupRefused(
            "This database was restored into another PostgreSQL cluster, whose transaction ids start anew. "
            "Run `manage.py roll_up_usage --rebuild` once."
        )


def system_identifier() -> str:
    """Of the PostgreSQL cluster whose transaction ids positions are; "" on SQLite."""
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        return str(cursor.fetchone()[0])
