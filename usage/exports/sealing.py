"""
Months that are closed: what their files are is said once, and checked whenever they are written again.

A month is sealed once it is over for a day, no call of it is under way, and all of it is rolled up; one after the
other. What is written later (the end of a call that counted as lost, a correction of a cost) is in the first month that
is open when it is written: that is what "made in" goes by, and no clock has a part in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max

from organizations import audit
from organizations.models import Organization
from organizations.one_at_a_time import one_at_a_time
from organizations.tenancy import EVERY, scope
from usage.audience import shows_managed_usd
from usage.exports import books
from usage.exports.calls import CallsFile
from usage.exports.cells import Piece
from usage.exports.files import Count, File, written
from usage.exports.focus import FocusFile
from usage.exports.models import SealedMonth
from usage.exports.periods import Month, Period
from usage.exports.prices import Prices
from usage.exports.words import Words
from usage.models import InFlightCall, RollupState, UsageEvent
from usage.rollups import not_rolled_up

logger = logging.getLogger(__name__)
LAYOUT = 1
# Calls last for minutes, and are swept as lost soon after; the rest is for a worker or a database that was away.
OPEN_AFTER_ITS_END = timedelta(days=1)
# Beside the names of files: how they are where the installation shows what Managed calls cost.
WITH_MANAGED = "{} with Managed USD"
# Files of apps above, by name: what of a month they hold.
Others = Mapping[str, Callable[[Organization, Period, Words], Iterator[Piece]]]


class SealBroken(Exception):
    """A sealed month is not what it was; the sentence says which."""

    def __init__(self, seal: SealedMonth, name: str, found: Count) -> None:
        rows, digest = seal.file(name) or (0, "")
        super().__init__(
            f"{seal} was sealed on {seal.sealed_at:%Y-%m-%d} with {rows:,} rows in its file {name} (SHA-256 {digest}). "
            f"Now the books come to {found.rows:,} rows ({found.sha256}): do not use them before it is known why. "
            "Somebody may have changed rows in the database, or it was restored from a backup of before."
        )


def seal_of(organization: Organization, period: Period) -> SealedMonth | None:
    if not isinstance(period, Month):
        return None
    with scope(organization, "an export of the organization"):
        return SealedMonth.objects.for_organization(organization).filter(month=period.first).first()


def usage_file(name: str, organization: Organization, period: Period) -> Iterator[Piece]:
    """The file `calls` or `focus`, piece by piece; of a sealed month what it was sealed with. Raises SealBroken."""
    seal = seal_of(organization, period)
    if seal is None:
        shows = shows_managed_usd()
        file = _file(name, Words.of_today(organization), Prices(), period, show_managed_usd=shows)
        return written(file, books.read_events(organization, period))
    sealed_as = name_in(seal, name)
    words, prices = Words.of_seal(seal.pinned["words"]), Prices(seal.pinned["prices"])
    file = _file(name, words, prices, period, show_managed_usd=sealed_as != name)
    return checked(seal, sealed_as, written(file, books.read_events(organization, period)))


def name_in(seal: SealedMonth, name: str) -> str:
    """As what a seal has the file `name` that is shown now: what was sealed without the operator's figures stays so."""
    with_managed = WITH_MANAGED.format(name)
    return with_managed if shows_managed_usd() and with_managed in seal.files else name


def other_file(name: str, organization: Organization, period: Period, *, others: Others) -> Iterator[Piece]:
    """The same of a file of `others`."""
    seal, read = seal_of(organization, period), others[name]
    if seal is None or seal.file(name) is None:
        return read(organization, period, Words.of_today(organization))
    return checked(seal, name, read(organization, period, Words.of_seal(seal.pinned["words"])))


def checked(seal: SealedMonth, name: str, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same pieces. Raises SealBroken in place of the last rows, if they are not what was sealed."""
    count, before = Count(), Piece(b"", 0)
    for piece in pieces:
        count.add(piece)
        if piece.content:
            yield before
            before = piece
    if seal.file(name) != (count.rows, count.sha256):
        broken = SealBroken(seal, name, count)
        logger.error("A seal of organization %s is broken: %s", seal.organization_id, broken)
        _tell_the_organization(seal, name, count)
        raise broken
    yield before


def _tell_the_organization(seal: SealedMonth, name: str, found: Count) -> None:
    with scope(seal.organization_id, "the audit log of the organization"):
        audit.record(
            organization=seal.organization,
            actor=None,
            action="sealed_month.found_changed",
            target=f"{seal}, {name}",
            rows=found.rows,
            sha256=found.sha256,
        )


def seal_due_months(*, now: datetime, others: Others) -> list[SealedMonth]:
    """Every month of every organization that can be sealed and is not yet. Raises AnotherIsAtIt."""
    with scope(EVERY, "the months of every organization are sealed"):
        organizations = list(Organization.objects.customers().order_by("pk"))
    sealed = []
    with one_at_a_time(books.WORK):
        for organization in organizations:
            try:
                while (seal := _seal_next(organization, now=now, others=others)) is not None:
                    sealed.append(seal)
            except Exception:  # it holds up no other
                logger.exception("The months of organization %s could not be sealed.", organization.pk)
    return sealed


def _seal_next(organization: Organization, *, now: datetime, others: Others) -> SealedMonth | None:
    with scope(EVERY, "a boundary is of the events of everybody"):
        before = SealedMonth.objects.for_organization(organization).order_by("-month").first()
        month = _month_after(organization, before)
        if month is None or now < month.end + OPEN_AFTER_ITS_END:
            return None
        if organization.closed_at is not None and organization.closed_at < month.start:
            return None
        if _is_unfinished(organization, month) or (boundary := _boundary()) is None:
            return None
    seal = SealedMonth(organization=organization, month=month.first, layout=LAYOUT, **boundary)
    words, prices = Words.of_today(organization), Prices()
    writers: dict[str, File] = {}
    for name in ("calls", "focus"):
        writers[name] = _file(name, words, prices, month, show_managed_usd=False)
        if shows_managed_usd():
            writers[WITH_MANAGED.format(name)] = _file(name, words, prices, month, show_managed_usd=True)
    counts = {name: Count() for name in (*writers, *others)}
    for name, file in writers.items():
        counts[name].add(file.begin())
    for events in books.events_of_month(organization, month, before=before, seal=seal):
        for name, file in writers.items():
            counts[name].add(file.add(events))
    for name, file in writers.items():
        counts[name].add(file.end())
    for name, read in others.items():
        for piece in read(organization, month, words):
            counts[name].add(piece)
    seal.pinned = {"words": words.pin(), "prices": prices.pin()}
    seal.files = {name: count.as_json() for name, count in counts.items()}
    with scope(organization, "the seal of one of its months"):
        SealedMonth.objects.bulk_create([seal])
        return SealedMonth.objects.for_organization(organization).get(month=month.first)


def _file(name: str, words: Words, prices: Prices, period: Period, *, show_managed_usd: bool) -> File:
    if name == "focus":
        return FocusFile(words, prices, period, show_managed_usd=show_managed_usd)
    return CallsFile(words, show_managed_usd=show_managed_usd)


def _month_after(organization: Organization, before: SealedMonth | None) -> Month | None:
    if before is not None:
        return Month(before.month).next
    events = UsageEvent.objects.for_organization(organization)
    first = events.order_by("occurred_at", "id").values_list("occurred_at", flat=True).first()
    return Month.of(first.date()) if first else None


def _boundary() -> dict[str, Any] | None:
    """Where the rollup stands, None before the first one: to what it has passed nothing comes any more."""
    state = RollupState.objects.first()
    if state is None:
        return None
    return {
        "last_id": UsageEvent.objects.aggregate(last=Max("id"))["last"] or 0,
        "position": state.position,
        "rebuilt_to_id": state.rebuilt_to_id,
        "system_identifier": state.system_identifier,
    }


def _is_unfinished(organization: Organization, month: Month) -> bool:
    # In this order, in which a call that ends meanwhile is seen at least once.
    waiting = InFlightCall.objects.for_organization(organization).filter(started_at__lt=month.end)
    events = UsageEvent.objects.for_organization(organization).filter(occurred_at__lt=month.end)
    return waiting.exists() or not_rolled_up(events).exists()
