"""
How one movement of credits is written: the account first, then lots, then the entry.

The guarded UPDATE of the account row is the only lock. It checks and debits in one statement and holds the
row until the transaction ends; `move` therefore comes first, and everything else is read after it and
changed under it. That is right on SQLite with IMMEDIATE transactions and on PostgreSQL under READ
COMMITTED, where every statement sees what was committed before it, hence also what the previous owner of
the lock wrote. Only billing/ledger.py calls this.
"""

from __future__ import annotations

from collections import deque

from django.db.models import F

from billing.models import CreditAccount, CreditHold, CreditLot, LedgerEntry
from organizations.models import Organization, User


class LedgerBroken(Exception):
    """Account and lots disagree. `manage.py verify_ledger` tells where."""


def move(organization: Organization, *, d_posted: int = 0, d_held: int = 0, entries: int = 1) -> CreditAccount | None:
    """
    Change the account and count `entries` entries; lock it until the transaction ends.

    None if it would go below zero or does not exist: then nothing is changed and nothing locked.
    """
    moved = (
        CreditAccount.objects.for_organization(organization)
        .filter(held__gte=-d_held, posted__gte=F("held") + (d_held - d_posted))
        .update(posted=F("posted") + d_posted, held=F("held") + d_held, seq=F("seq") + entries)
    )
    return CreditAccount.objects.get(organization=organization) if moved else None


class FreeLots:
    """The free credits of an organization, oldest lot first. Made after `move`, else it would be stale."""

    def __init__(self, organization: Organization) -> None:
        lots = (
            CreditLot.objects.for_organization(organization)
            .filter(remaining__gt=0)
            .filter(remaining__gt=F("held"))
            .order_by("created_seq")
        )
        self._free = deque((lot.pk, lot.remaining - lot.held) for lot in lots)

    def take(self, amount: int) -> list[tuple[int, int]]:
        """`amount` credits as `(lot id, credits)`; they are not free any more for the next call."""
        taken: list[tuple[int, int]] = []
        while amount:
            if not self._free:
                raise LedgerBroken("The account has more credits available than its lots.")
            lot_id, free = self._free.popleft()
            part = min(free, amount)
            amount -= part
            taken.append((lot_id, part))
            if part < free:
                self._free.appendleft((lot_id, free - part))
        return taken


def change_lot(organization_id: int, lot_id: int, *, d_remaining: int = 0, d_held: int = 0) -> None:
    lots = CreditLot.objects.filter(organization_id=organization_id, pk=lot_id)
    lots.update(remaining=F("remaining") + d_remaining, held=F("held") + d_held)


def add_lot(account: CreditAccount, *, amount: int, reason: str) -> CreditLot:
    return CreditLot.objects.create(
        organization_id=account.pk, amount=amount, remaining=amount, reason=reason, created_seq=account.seq
    )


def write_entry(
    account: CreditAccount,
    kind: LedgerEntry.Kind,
    *,
    key: str,
    digest: str,
    d_posted: int = 0,
    d_held: int = 0,
    hold: CreditHold | None = None,
    lot: CreditLot | None = None,
    reason: str = "",
    actor: User | None = None,
) -> LedgerEntry:
    """The entry of the last movement of `account`, as `move` returned it."""
    return LedgerEntry.objects.create(
        organization_id=account.pk,
        seq=account.seq,
        kind=kind,
        d_posted=d_posted,
        d_held=d_held,
        posted_after=account.posted,
        held_after=account.held,
        hold=hold,
        lot=lot,
        actor=actor,
        reason=reason,
        idempotency_key=key,
        digest=digest,
    )
