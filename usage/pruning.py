"""
Calls leave after a time, by whole months; the sums of their days stay, and are then all that is known of them.

What leaves is fixed before anything does: the events of before a month that the rollup has and that are in the books
of a month before it, none of which can be joined by another one later. What was written after its month was sealed is
in the books of a later one (usage/exports/sealing.py), and leaves with that. It may go only if nothing else of then is
under way, and the daily sums say the same of it. From then on those sums are never derived anew (`rebuild`).

It goes in short transactions, beside which everything else goes on. Tables of months could be dropped instead, but that
a statement has to look at each of them made pages slower: planning the sums took 10 ms instead of 2, finding kinds 30
instead of 3 (measured with 19 of them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Sum

from organizations import audit
from organizations.append_only import letting_go
from organizations.models import Organization
from organizations.one_at_a_time import one_at_a_time
from organizations.one_moment import one_moment
from usage import parquet
from usage.days import month_after, start_of_day
from usage.exports import books
from usage.measures import CALL_MEASURES, MEASURES, daily_rows
from usage.models import InFlightCall, RollupState, SealedMonth, UsageDaily, UsageEvent, UsageRun
from usage.querysets import UsageEventQuerySet
from usage.rollups import are_rolled_up, lock_state, not_rolled_up
from usage.runs import PART

FEWEST_MONTHS = 3  # pages compare 30 days with 30 before them, and hours of five weeks
ROWS_AT_ONCE = 10_000
COUNTED = [measure for measure in MEASURES if measure in CALL_MEASURES]
NOTHING = (0,) * len(COUNTED)
Rows = TypeVar("Rows", bound=QuerySet[Any])


class PruneRefused(Exception):
    """Nothing left, or no more than was said before; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """`before` is the first day that stays. `files` are there where Parquet was asked for."""

    before: date
    events: int
    runs: int
    files: tuple[parquet.Written, ...] = ()


def prune_usage(
    *,
    before: date,
    folder: Path | None = None,
    dry_run: bool = False,
    waits: Callable[[], None] | None = None,
) -> Pruned:
    """
    Have the events of before a day leave, which is the first of a month, written to Parquet in `folder` before that.

    As the owner of the tables. A run that was broken off is finished by the next one; while another one is at it, or
    months are sealed, it waits, and says so by `waits`. Raises PruneRefused and ParquetFailed.
    """
    if folder:
        parquet.refuse_without_pyarrow()
    if dry_run:
        return _prune(before, folder, dry_run=True)
    with one_at_a_time(books.WORK, waits=waits or (lambda: None)):
        return _prune(before, folder, dry_run=False)


def _prune(before: date, folder: Path | None, *, dry_run: bool) -> Pruned:
    with one_moment():
        state = RollupState.objects.first() or RollupState()
        old = UsageEvent.objects.filter(occurred_at__lt=start_of_day(before))
        _refuse_what_is_open(before, old)
        rolled_up = are_rolled_up(old, state)
        _refuse_what_is_not_sealed(
            {first: _compared(first, end, rolled_up, state.derived_from) for first, end in _months(rolled_up, before)}
        )
        leaving = rolled_up.filter(_is_in_books_of_before(before))
        counts = _by_organization(leaving)
        runs = _old_runs(before).count()
    if dry_run or not (counts or runs):
        return Pruned(before, counts.total(), runs)
    files = tuple(
        parquet.write(_between(leaving, first, end), f"calls-{first:%Y-%m}", folder)
        for first, end in (_months(leaving, before) if folder else ())
        if folder
    )
    if (written := sum(file.rows for file in files)) != counts.total() and folder:
        raise PruneRefused(f"Parquet got {written:,} usage events of {counts.total():,}, so nothing left.")
    _settle(before, leaving, counts)
    events, runs = _delete(leaving), _delete_runs(before)
    _tidy_up()
    return Pruned(before, events, runs, files)


def _refuse_what_is_open(before: date, old: UsageEventQuerySet) -> None:
    calls = InFlightCall.objects.filter(started_at__lt=start_of_day(before)).count()
    if calls:
        raise PruneRefused(
            f"{calls:,} calls of before {before} are under way, as far as is known. `manage.py sweep_lost_calls` ends "
            "those whose process died."
        )
    if not_rolled_up(old).exists():
        raise PruneRefused(f"Calls of before {before} are not in the daily figures yet. Run `manage.py roll_up_usage`.")


def _refuse_what_is_not_sealed(months: Mapping[date, Counter[int]]) -> None:
    """What the files of a sealed month were is known for good; one that has left would be sealed with nothing in it."""
    sealed_to = _sealed_to()
    for organization, slug, closed_at in Organization.objects.customers().values_list("pk", "slug", "closed_at"):
        for first, counts in months.items():
            is_due = closed_at is None or closed_at >= start_of_day(first)
            if counts[organization] and is_due and first > sealed_to.get(organization, date.min):
                raise PruneRefused(
                    f"{first:%B %Y} of {slug} is not sealed yet. Run `manage.py seal_months`; its log says what is "
                    "wrong with a month that it leaves."
                )


def _sealed_to() -> dict[int, date]:
    """The latest sealed month of each organization; from the first one on there is no gap."""
    return dict(SealedMonth.objects.order_by().values_list("organization").annotate(latest=Max("month")))


def _is_in_books_of_before(before: date) -> Q:
    """A month before has it under its seal; or no month ever will, which is so where none is sealed any more."""
    under_seal = SealedMonth.objects.filter(
        Q(position__gt=OuterRef("ingest_position")) | Q(rebuilt_to_id__gte=OuterRef("id")),
        organization=OuterRef("organization"),
        month__lt=before,
        last_id__gte=OuterRef("id"),
    )
    sealed_to = _sealed_to()
    ended = [
        pk
        for pk, closed_at in Organization.objects.values_list("pk", "closed_at")
        if closed_at and (pk not in sealed_to or closed_at < start_of_day(month_after(sealed_to[pk])))
    ]
    return Q(Exists(under_seal)) | Q(organization__is_platform=True) | Q(organization__in=ended)


def _months(events: UsageEventQuerySet, before: date) -> Iterator[tuple[date, date]]:
    """The months of before that day in which there are events: first day, and that of the next month."""
    end = date.min
    while first := events.filter(occurred_at__gte=start_of_day(end)).aggregate(first=Min("occurred_at"))["first"]:
        month = first.astimezone(UTC).date().replace(day=1)
        end = month_after(month)
        yield month, end


def _between(events: UsageEventQuerySet, first: date, end: date) -> UsageEventQuerySet:
    return events.filter(occurred_at__gte=start_of_day(first), occurred_at__lt=start_of_day(end))


def _by_organization(events: UsageEventQuerySet) -> Counter[int]:
    return Counter(dict(events.order_by().values_list("organization").annotate(count=Count("id"))))


def _compared(first: date, end: date, rolled_up: UsageEventQuerySet, derived_from: date | None) -> Counter[int]:
    """
    How many events of each organization there are of a month. Raises PruneRefused if the daily sums say anything else
    of its calls, on days of which all events are there.
    """
    events = _between(rolled_up, first, end)
    counts = _by_organization(events)
    whole = max(first, derived_from or first)
    rows = daily_rows(_between(rolled_up, whole, end), "organization_id", "day", measures=COUNTED)
    days = UsageDaily.objects.filter(day__gte=whole, day__lt=end).order_by().values_list("organization", "day")
    added_up, held = (
        {(organization, day): tuple(map(int, sums)) for organization, day, *sums in each}
        for each in (rows, days.annotate(**{f"sum_{measure}": Sum(measure) for measure in COUNTED}))
    )
    for organization, day in sorted({*added_up, *held}):
        if added_up.get((organization, day), NOTHING) != held.get((organization, day), NOTHING):
            raise PruneRefused(
                f"The calls of {day} of organization {organization} do not add up to its daily figures, so these would "
                "not hold what leaves. Find out why; `manage.py roll_up_usage --rebuild` derives them anew."
            )
    return counts


def _settle(before: date, leaving: UsageEventQuerySet, counts: Counter[int]) -> None:
    """From now on the daily figures are all there is of these days, and the audit logs say so."""
    latest = leaving.aggregate(last=Max("run_day"))["last"]  # what left may count on a later day, too
    derived_from = max(before, latest + timedelta(days=1)) if latest else before
    with transaction.atomic(), audit.events_last():
        state = lock_state(skip_locked=False)
        if state and (state.derived_from is None or state.derived_from < derived_from):
            RollupState.objects.update(derived_from=derived_from)
        for organization in Organization.objects.filter(pk__in=counts):
            audit.record(
                organization=organization,
                actor=None,
                action="usage.pruned",
                target=f"calls of before {before}",
                calls=counts[organization.pk],
            )


def _delete(leaving: UsageEventQuerySet) -> int:
    left = 0
    for some in _parts(leaving):
        with transaction.atomic(), letting_go(UsageEvent._meta.db_table):
            left += some.delete()[0]
    return left


def _old_runs(before: date) -> QuerySet[UsageRun]:
    """Whose time is over: of what goes on, the beginning is needed to count its days."""
    ended = start_of_day(before) - PART
    later = UsageRun.objects.filter(
        organization=OuterRef("organization"),
        run_id=OuterRef("run_id"),
        action=OuterRef("action"),
        started_at__gte=ended,
    )
    return UsageRun.objects.filter(~Exists(later), started_at__lt=ended)


def _delete_runs(before: date) -> int:
    return sum(some.delete()[0] for some in _parts(_old_runs(before)))


def _parts(rows: Rows) -> Iterator[Rows]:
    """In the order of their ids; each short enough for others to write in between."""
    ends = rows.aggregate(first=Min("id"), last=Max("id"))
    for start in range(ends["first"] or 0, (ends["last"] or -1) + 1, ROWS_AT_ONCE):
        yield rows.filter(id__gte=start, id__lt=start + ROWS_AT_ONCE)


def _tidy_up() -> None:
    """PostgreSQL reads past what was deleted until that is done, which it would leave until much more was."""
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            for model in (UsageEvent, UsageRun):
                cursor.execute(f"VACUUM (ANALYZE) {model._meta.db_table}")
