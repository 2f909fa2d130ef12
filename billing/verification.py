"""
Proves ledgers: account, lots, holds and entries of an organization must all tell the same story.

The entries are added up from the first one. Every number kept elsewhere (the account's balance, what is
left and held of each lot, the state of each hold) must follow from them. The database adds up, many organizations
in one statement; what comes back is a row for each of them, and one for each contradiction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum, Window
from django.db.models.functions import Coalesce, Lag

from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from organizations.models import Organization
from organizations.one_moment import one_moment

Kind = LedgerEntry.Kind
State = CreditHold.State

AT_ONCE = 100  # organizations whose ledgers are read as of one moment
_MADE_A_LOT = Q(d_posted__gt=0) & ~Q(kind=Kind.CAPTURE)


@dataclass(slots=True)
class LedgerReport:
    """What the account of an organization keeps, and all contradictions in its ledger, as sentences."""

    organization: Organization
    entries: int = 0
    posted: int = 0
    held: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Totals:
    """What the entries of an organization add up to."""

    entries: int = 0
    posted: int = 0
    held: int = 0
    captured: int = 0
    adjusted_down: int = 0


def verify_ledger(*, organization: Organization) -> list[str]:
    """All contradictions in the organization's ledger, as sentences; none if it is sound."""
    (report,) = verify_ledgers([organization])
    return report.problems


def verify_ledgers(organizations: Iterable[Organization]) -> Iterator[LedgerReport]:
    """
    A report of each organization, in their order.

    May run while credits are moved: it reads the state of one moment, of some organizations after others. On SQLite
    others wait meanwhile.
    """
    left = iter(organizations)
    while batch := list(islice(left, AT_ONCE)):
        yield from _verify(batch)


def missing_accounts() -> list[str]:
    """Organizations without a credit account, though each begins with one, as a sentence; none if all have theirs."""
    without = Organization.objects.customers().exclude(pk__in=CreditAccount.objects.values("organization"))
    slugs = list(without.order_by("slug").values_list("slug", flat=True))
    return [f"{slug}: There is no credit account, though every organization begins with one." for slug in slugs]


def _verify(organizations: Sequence[Organization]) -> list[LedgerReport]:
    reports = {organization.pk: LedgerReport(organization) for organization in organizations}
    ids = list(reports)
    with one_moment() as is_whole:
        if not is_whole:  # nothing moves while the accounts are locked
            list(CreditAccount.objects.select_for_update().filter(organization__in=ids).order_by("pk"))
        totals = _totals(ids)
        for organization_id, problem in (
            *_check_entries(ids),
            *_check_accounts(reports, totals),
            *_check_lots(ids, totals),
            *_check_holds(ids, totals),
        ):
            reports[organization_id].problems.append(problem)
    return list(reports.values())


def _totals(ids: list[int]) -> dict[int, _Totals]:
    rows = (
        LedgerEntry.objects.filter(organization__in=ids)
        .values("organization_id")
        .annotate(
            entries=Count("id"),
            posted=Sum("d_posted"),
            held=Sum("d_held"),
            captured=-Coalesce(Sum("d_posted", filter=Q(kind=Kind.CAPTURE)), 0),
            adjusted_down=-Coalesce(Sum("d_posted", filter=Q(kind=Kind.ADJUST, d_posted__lte=0)), 0),
        )
    )
    return {
        row["organization_id"]: _Totals(
            entries=row["entries"],
            posted=row["posted"],
            held=row["held"],
            captured=row["captured"],
            adjusted_down=row["adjusted_down"],
        )
        for row in rows
    }


def _check_entries(ids: list[int]) -> Iterator[tuple[int, str]]:
    entries = LedgerEntry.objects.filter(organization__in=ids)
    for entry in _contradicting_the_one_before(entries):
        if entry.seq != entry.seq_before + 1:
            yield (
                entry.organization_id,
                f"Entry {entry.seq} follows entry {entry.seq_before}: entries between them are missing.",
            )
            continue
        posted, held = entry.posted_before + entry.d_posted, entry.held_before + entry.d_held
        yield (
            entry.organization_id,
            f"Entry {entry.seq}: the balance after it is {entry.posted_after} (held {entry.held_after}), "
            f"but {posted} (held {held}) follows from the one before.",
        )
    yield from _of_others(entries.order_by("organization", "seq"), "Entry")


def _contradicting_the_one_before(entries: QuerySet[LedgerEntry]) -> Iterator[Any]:
    def before(name: str) -> Window:
        return Window(Lag(name, default=0), partition_by="organization_id", order_by="seq")

    found = entries.annotate(
        seq_before=before("seq"), posted_before=before("posted_after"), held_before=before("held_after")
    ).filter(
        ~Q(seq=F("seq_before") + 1)
        | ~Q(posted_after=F("posted_before") + F("d_posted"))
        | ~Q(held_after=F("held_before") + F("d_held"))
    )
    return (
        found.order_by("organization", "seq")
        .only("organization_id", "seq", "d_posted", "d_held", "posted_after", "held_after")
        .iterator()
    )


def _check_accounts(reports: dict[int, LedgerReport], totals: dict[int, _Totals]) -> Iterator[tuple[int, str]]:
    accounts = {account.pk: account for account in CreditAccount.objects.filter(organization__in=list(reports))}
    for organization_id, report in reports.items():
        told = totals.get(organization_id, _Totals())
        report.entries = told.entries
        account = accounts.get(organization_id)
        if account is None:
            if told.entries:
                yield organization_id, f"There is no account, but there are {told.entries} entries."
            continue
        report.posted, report.held = account.posted, account.held
        for name, kept, summed in (
            ("balance", account.posted, told.posted),
            ("held part", account.held, told.held),
            ("number of entries", account.seq, told.entries),
        ):
            if kept != summed:
                yield organization_id, f"Account: the {name} is kept as {kept}, but the entries give {summed}."


def _check_lots(ids: list[int], totals: dict[int, _Totals]) -> Iterator[tuple[int, str]]:
    lots = CreditLot.objects.filter(organization__in=ids)
    made = LedgerEntry.objects.filter(_MADE_A_LOT, organization__in=ids)
    giving = made.filter(
        organization=OuterRef("organization"), seq=OuterRef("created_seq"), d_posted=OuterRef("amount")
    )
    for lot in lots.filter(~Exists(giving)).order_by("organization", "created_seq").iterator():
        yield (
            lot.organization_id,
            f"Lot {lot.pk} of {lot.amount} credits: entry {lot.created_seq} did not give them.",
        )
    pinned = lots.annotate(
        pinned=Coalesce(Sum("allocations__amount", filter=Q(allocations__hold__state=State.PENDING)), 0),
        taken=Coalesce(Sum("allocations__captured"), 0),
    )
    for lot in pinned.exclude(held=F("pinned")).order_by("organization", "created_seq").iterator():
        yield (
            lot.organization_id,
            f"Lot {lot.pk}: {lot.held} credits are kept as held, but pending holds pin {lot.pinned}.",
        )
    for lot in pinned.filter(taken__gt=F("amount") - F("remaining")).order_by("organization", "created_seq").iterator():
        yield (
            lot.organization_id,
            f"Lot {lot.pk}: {lot.amount - lot.remaining} credits are gone, but holds captured {lot.taken} of it.",
        )
    made_by = CreditLot.objects.filter(organization=OuterRef("organization"), created_seq=OuterRef("seq"))
    for entry in made.filter(~Exists(made_by)).order_by("organization", "seq").iterator():
        yield entry.organization_id, f"Entry {entry.seq} gave {entry.d_posted} credits, but their lot is missing."
    sums = lots.values_list("organization_id").annotate(
        Sum("remaining"), Sum("held"), spent=Sum(F("amount") - F("remaining"))
    )
    kept_by = {organization_id: kept for organization_id, *kept in sums}
    for organization_id in ids:
        told = totals.get(organization_id, _Totals())
        summed_by_entries = (told.posted, told.held, told.captured + told.adjusted_down)
        for name, kept, summed in zip(
            ("remaining", "held", "spent"), kept_by.get(organization_id, (0, 0, 0)), summed_by_entries, strict=True
        ):
            if kept != summed:
                yield organization_id, f"Lots: {kept} credits are {name}, but the entries give {summed}."


def _check_holds(ids: list[int], totals: dict[int, _Totals]) -> Iterator[tuple[int, str]]:
    holds = CreditHold.objects.filter(organization__in=ids)
    sums = holds.filter(state=State.PENDING).values("organization_id").annotate(amount=Sum("amount"))
    pending = {row["organization_id"]: row["amount"] for row in sums}
    for organization_id in ids:
        kept, summed = pending.get(organization_id, 0), totals.get(organization_id, _Totals()).held
        if kept != summed:
            yield (
                organization_id,
                f"Holds: {kept} credits are in pending holds, but the entries give {summed}.",
            )
    lacking = set()
    pins = holds.annotate(
        pins=Count("allocations", filter=Q(allocations__organization=F("organization"))),
        pinned=Sum("allocations__amount"),
        taken=Sum("allocations__captured"),
    )
    sound = Q(pins__gt=0, pinned=F("amount"), taken=F("captured"))
    for hold in pins.exclude(sound).order_by("organization", "id").iterator():
        if not hold.pins:
            lacking.add((hold.organization_id, hold.pk))
            continue
        yield (
            hold.organization_id,
            f"Hold {hold.pk} of {hold.amount} credits, {hold.captured} captured: "
            f"its lots give {hold.pinned} and {hold.taken}.",
        )
    for hold in _told_otherwise(holds):
        if not hold.told:
            lacking.add((hold.organization_id, hold.pk))
            continue
        yield (
            hold.organization_id,
            f"Hold {hold.pk} is {hold.state} with {hold.captured} of {hold.amount} credits captured, "
            "but its entries tell otherwise.",
        )
    for organization_id, pk in sorted(lacking):
        yield organization_id, f"Hold {pk}: its lots or its entries are missing."
    yield from _of_others(
        HoldAllocation.objects.filter(organization__in=ids).order_by("organization", "id"), "Allocation"
    )


def _told_otherwise(holds: QuerySet[CreditHold]) -> Iterator[Any]:
    of_kind = {kind: Q(entries__kind=kind) for kind in (Kind.HOLD, Kind.CAPTURE, Kind.RELEASE)}
    as_told = Q(opened=1, held_first=F("amount")) & (
        Q(state=State.PENDING, captures=0, releases=0)
        | Q(state=State.CAPTURED, captures=1, releases=0, freed=F("amount"), spent=F("captured"))
        | Q(state=State.RELEASED, captures=0, releases=1, freed=F("amount"), spent=0)
    )
    told = holds.annotate(
        told=Count("entries", filter=Q(entries__organization=F("organization"))),
        opened=Count("entries", filter=of_kind[Kind.HOLD]),
        held_first=Coalesce(Sum("entries__d_held", filter=of_kind[Kind.HOLD]), 0),
        captures=Count("entries", filter=of_kind[Kind.CAPTURE]),
        releases=Count("entries", filter=of_kind[Kind.RELEASE]),
        freed=-Coalesce(Sum("entries__d_held", filter=~of_kind[Kind.HOLD]), 0),
        spent=-Sum("entries__d_posted"),
    )
    return told.exclude(as_told, told__gt=0).order_by("organization", "id").iterator()


def _of_others(rows: QuerySet[Any], what: str) -> Iterator[tuple[int, str]]:
    """Of `rows` those that point to a hold or a lot of another organization."""
    for name in ("hold", "lot"):
        ours = Q(**{f"{name}__organization": F("organization")}) | Q(**{name: None})
        for row in rows.exclude(ours).iterator():
            number, other = getattr(row, "seq", row.pk), getattr(row, f"{name}_id")
            yield row.organization_id, f"{what} {number}: its {name} {other} belongs to another organization."
