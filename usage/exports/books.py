"""
The events that an export is of, a thousand at a time in the order of an index, so that millions take no more memory.

Each reading opens the rows of the organization for itself: what streams a file goes on after the request's scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db import connection
from django.db.models import Q

from organizations.models import Organization
from organizations.tenancy import scope
from usage.days import end_of_day, start_of_day
from usage.exports.models import SealedMonth
from usage.exports.periods import Days, Month, Period, refuse_what_has_left
from usage.models import RollupState, UsageEvent
from usage.querysets import UsageEventQuerySet
from usage.rollups import LAST

AT_ONCE = 1_000
WORK = "books"  # to seal months, and to have their calls leave
Events = Sequence[UsageEvent]


def read_events(organization: Organization, period: Period) -> Iterator[Events]:
    """Raises BadPeriod in the end, if calls of it left meanwhile (usage/pruning.py): what was read is not all."""
    yield from _read_events(organization, period)
    refuse_what_has_left(period)


def _read_events(organization: Organization, period: Period) -> Iterator[Events]:
    if isinstance(period, Days):
        yield from _in_order(organization, _of(organization), period)
        return
    with scope(organization, "an export of the organization"):
        seals = SealedMonth.objects.for_organization(organization)
        own = seals.filter(month=period.first).first()
        latest = seals.filter(month__lt=period.first).order_by("-month").first()
        is_before_all = own is None and seals.filter(month__gt=period.first).exists()
    if is_before_all:  # when the first month was sealed, it had no events: what came later is in later months
        return
    yield from events_of_month(organization, period, before=latest, seal=own)


def events_of_month(
    organization: Organization, month: Month, *, before: SealedMonth | None, seal: SealedMonth | None
) -> Iterator[Events]:
    """
    Those that are in `month` of the books: what was written after the latest seal `before` it about earlier months
    comes first, then its own calls; no more than its `seal` holds, if it has one.
    """
    if before is not None and Month(before.month).next == month:
        yield from _late(organization, month, before, seal)
    events = _of(organization)
    yield from _in_order(organization, events if seal is None else events.filter(_within(seal)), month)


def _of(organization: Organization) -> UsageEventQuerySet:
    return UsageEvent.objects.for_organization(organization)


def _in_order(organization: Organization, events: UsageEventQuerySet, period: Period) -> Iterator[Events]:
    events = events.filter(occurred_at__lte=end_of_day(period.last))
    # One condition says where to begin: of two SQLite may take the earlier one.
    rest = events.filter(occurred_at__gte=start_of_day(period.first))
    while True:
        with scope(organization, "an export of the organization"):
            found = list(rest.order_by("occurred_at", "id")[:AT_ONCE])
        if found:
            yield found
        if len(found) < AT_ONCE:
            return
        last = found[-1]
        same_moment = Q(occurred_at=last.occurred_at, id__gt=last.pk)
        # An index has no use for "or".
        rest = events.filter(Q(occurred_at__gt=last.occurred_at) | same_moment, occurred_at__gte=last.occurred_at)


def _late(organization: Organization, month: Month, before: SealedMonth, seal: SealedMonth | None) -> Iterator[Events]:
    """Few, and found by when they were written, so that nobody looks through all earlier months for them."""
    with scope(organization, "an export of the organization"):
        earlier = _of(organization).filter(occurred_at__lt=month.start)
        if seal is not None:
            earlier = earlier.filter(_within(seal))
        cluster = seal.system_identifier if seal else _cluster()
        found = sorted(
            key
            for part in _written_after(before, earlier, cluster=cluster)
            for key in part.values_list("occurred_at", "id")
        )
    for start in range(0, len(found), AT_ONCE):
        with scope(organization, "an export of the organization"):
            events = _of(organization).in_bulk([pk for _, pk in found[start : start + AT_ONCE]])
        yield [events[pk] for _, pk in found[start : start + AT_ONCE]]


def _within(seal: SealedMonth) -> Q:
    settled = Q(ingest_position__lt=seal.position) | Q(id__lte=seal.rebuilt_to_id)
    return Q(id__lte=seal.last_id) & settled


def _written_after(seal: SealedMonth, events: UsageEventQuerySet, *, cluster: str) -> list[UsageEventQuerySet]:
    """Those of `events` that are not within it, in parts that have none in common."""
    by_id = events.filter(id__range=(seal.last_id + 1, LAST))
    if connection.vendor != "postgresql":
        return [by_id]
    # ">0" lets the partial index serve.
    by_position = events.filter(
        ingest_position__gt=0, ingest_position__range=(seal.position, LAST), id__gt=seal.rebuilt_to_id
    )
    if cluster == seal.system_identifier:  # then nothing written later has a position below
        return [by_position]
    return [by_id, by_position.filter(id__lte=seal.last_id)]


def _cluster() -> str:
    state = RollupState.objects.first()
    return state.system_identifier if state else ""
