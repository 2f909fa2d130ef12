"""
Proves a ledger: account, lots, holds and entries of one organization must all tell the same story.

The entries are added up from the first one. Every number kept elsewhere (the account's balance, what is
left and held of each lot, the state of each hold) must follow from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce

from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from organizations.models import Organization

Kind = LedgerEntry.Kind
State = CreditHold.State


@dataclass(slots=True)
class _Totals:
    """What the entries of an organization add up to."""

    entries: int = 0
    posted: int = 0
    held: int = 0
    captured: int = 0
    adjusted_down: int = 0
    given: dict[int, int] = field(default_factory=dict)  # number of an entry that made a lot: its credits


def verify_ledger(*, organization: Organization) -> list[str]:
    """
    All contradictions in the organization's ledger, as sentences; none if it is sound.

    May run while credits are moved: it reads the state of one moment. On SQLite others wait for it.
    """
    with _one_moment(organization):
        problems: list[str] = []
        totals = _add_up(organization, problems)
        problems += _check_account(organization, totals)
        problems += _check_lots(organization, totals)
        problems += _check_holds(organization, totals)
        return problems


def missing_accounts() -> list[str]:
    """Organizations without a credit account, though each begins with one, as a sentence; none if all have theirs."""
    without = Organization.objects.customers().exclude(pk__in=CreditAccount.objects.values("organization"))
    slugs = list(without.order_by("slug").values_list("slug", flat=True))
    return [f"{slug}: There is no credit account, though every organization begins with one." for slug in slugs]


@contextmanager
def _one_moment(organization: Organization) -> Iterator[None]:
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        else:  # inside a transaction its isolation is given; nothing moves while the account is locked
            CreditAccount.objects.select_for_update().for_organization(organization).first()
        yield


def _add_up(organization: Organization, problems: list[str]) -> _Totals:
    totals = _Totals()
    last_seq = posted = held = 0
    entries = LedgerEntry.objects.for_organization(organization).order_by("seq")
    for entry in entries.only("seq", "kind", "d_posted", "d_held", "posted_after", "held_after").iterator(
        chunk_size=2000
    ):
        if entry.seq != last_seq + 1:
            problems.append(f"Entry {entry.seq} follows entry {last_seq}: entries between them are missing.")
        elif (entry.posted_after, entry.held_after) != (posted + entry.d_posted, held + entry.d_held):
            problems.append(
                f"Entry {entry.seq}: the balance after it is {entry.posted_after} (held {entry.held_after}), "
                f"but {posted + entry.d_posted} (held {held + entry.d_held}) follows from the one before."
            )
        last_seq, posted, held = entry.seq, entry.posted_after, entry.held_after
        totals.entries += 1
        totals.posted += entry.d_posted
        totals.held += entry.d_held
        if entry.kind == Kind.CAPTURE:
            totals.captured -= entry.d_posted
        elif entry.d_posted > 0:
            totals.given[entry.seq] = entry.d_posted
        elif entry.kind == Kind.ADJUST:
            totals.adjusted_down -= entry.d_posted
    return totals


def _check_account(organization: Organization, totals: _Totals) -> Iterator[str]:
    account = CreditAccount.objects.for_organization(organization).first()
    if account is None:
        if totals.entries:
            yield f"There is no account, but there are {totals.entries} entries."
        return
    for name, kept, summed in (
        ("balance", account.posted, totals.posted),
        ("held part", account.held, totals.held),
        ("number of entries", account.seq, totals.entries),
    ):
        if kept != summed:
            yield f"Account: the {name} is kept as {kept}, but the entries give {summed}."


def _check_lots(organization: Organization, totals: _Totals) -> Iterator[str]:
    remaining = held = spent = 0
    allocated = _allocated_by_lot(organization)
    given = dict(totals.given)
    for lot in CreditLot.objects.for_organization(organization).order_by("created_seq").iterator():
        remaining += lot.remaining
        held += lot.held
        spent += lot.amount - lot.remaining
        if given.pop(lot.created_seq, None) != lot.amount:
            yield f"Lot {lot.pk} of {lot.amount} credits: entry {lot.created_seq} did not give them."
        pinned, captured = allocated.pop(lot.pk, (0, 0))
        if lot.held != pinned:
            yield f"Lot {lot.pk}: {lot.held} credits are kept as held, but pending holds pin {pinned}."
        if lot.amount - lot.remaining < captured:
            yield (f"Lot {lot.pk}: {lot.amount - lot.remaining} credits are gone, but holds captured {captured} of it.")
    for seq, amount in given.items():
        yield f"Entry {seq} gave {amount} credits, but their lot is missing."
    for name, kept, summed in (
        ("remaining", remaining, totals.posted),
        ("held", held, totals.held),
        ("spent", spent, totals.captured + totals.adjusted_down),
    ):
        if kept != summed:
            yield f"Lots: {kept} credits are {name}, but the entries give {summed}."


def _allocated_by_lot(organization: Organization) -> dict[int, tuple[int, int]]:
    rows = (
        HoldAllocation.objects.for_organization(organization)
        .values("lot_id")
        .annotate(
            pinned=Coalesce(Sum("amount", filter=Q(hold__state=State.PENDING)), 0),
            taken=Coalesce(Sum("captured"), 0),
        )
    )
    return {row["lot_id"]: (row["pinned"], row["taken"]) for row in rows}


def _check_holds(organization: Organization, totals: _Totals) -> Iterator[str]:
    holds = CreditHold.objects.for_organization(organization)
    pending = holds.filter(state=State.PENDING).aggregate(amount=Coalesce(Sum("amount"), 0))["amount"]
    if pending != totals.held:
        yield f"Holds: {pending} credits are in pending holds, but the entries give {totals.held}."
    unpinned = (
        HoldAllocation.objects.for_organization(organization)
        .values("hold_id", "hold__amount", "hold__captured")
        .annotate(pinned=Sum("amount"), taken=Sum("captured"))
        .filter(~Q(pinned=F("hold__amount"), taken=F("hold__captured")))
    )
    for pins in unpinned:
        yield (
            f"Hold {pins['hold_id']} of {pins['hold__amount']} credits, {pins['hold__captured']} captured: "
            f"its lots give {pins['pinned']} and {pins['taken']}."
        )
    of_kind = {kind: Q(kind=kind) for kind in (Kind.HOLD, Kind.CAPTURE, Kind.RELEASE)}
    as_told = Q(opened=1, held=F("hold__amount")) & (
        Q(hold__state=State.PENDING, captures=0, releases=0)
        | Q(
            hold__state=State.CAPTURED,
            captures=1,
            releases=0,
            freed=F("hold__amount"),
            spent=F("hold__captured"),
        )
        | Q(hold__state=State.RELEASED, captures=0, releases=1, freed=F("hold__amount"), spent=0)
    )
    contradicted = (
        LedgerEntry.objects.for_organization(organization)
        .exclude(hold=None)
        .values("hold_id", "hold__state", "hold__amount", "hold__captured")
        .annotate(
            opened=Count("id", filter=of_kind[Kind.HOLD]),
            held=Coalesce(Sum("d_held", filter=of_kind[Kind.HOLD]), 0),
            captures=Count("id", filter=of_kind[Kind.CAPTURE]),
            releases=Count("id", filter=of_kind[Kind.RELEASE]),
            freed=-Coalesce(Sum("d_held", filter=~of_kind[Kind.HOLD]), 0),
            spent=-Sum("d_posted"),
        )
        .filter(~as_told)
    )
    for told in contradicted:
        yield (
            f"Hold {told['hold_id']} is {told['hold__state']} with {told['hold__captured']} of "
            f"{told['hold__amount']} credits captured, but its entries tell otherwise."
        )
    for hold in holds.filter(Q(allocations=None) | Q(entries=None)).distinct():
        yield f"Hold {hold.pk}: its lots or its entries are missing."
