"""
How movements of credits are written: the account first, then lots, holds and entries together.

The guarded UPDATE of the account row is the only lock. It checks and debits in one statement and holds the row until
the transaction ends; `move` therefore comes first, and everything else that may change is read after it and changed
under it. That is right on SQLite with IMMEDIATE transactions and on PostgreSQL under READ COMMITTED, where every
statement sees what was committed before it, hence also what the previous owner of the lock wrote. For the same reason
`move` is a statement of its own: the rest would see the lots as they were before it waited for the account.

Whoever waits for the account waits for all that is done meanwhile, so that is as few statements as there can be, and
on PostgreSQL without the ORM, which took as long to make them as the database to run them. Only billing/ledger.py
calls this.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, models
from django.db.models import F

from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from organizations.many_rows import Statement, change, insertion, new_ids, write
from organizations.models import Organization

State = CreditHold.State
_Row = TypeVar("_Row", bound=models.Model)


class LedgerBroken(Exception):
    """Account and lots disagree. `manage.py verify_ledger` tells where."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The account after a movement, and the ids for its entries, of which its `seq` is the last."""

    account: CreditAccount
    entry_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Movement:
    """What an entry tells."""

    key: str
    digest: str
    d_posted: int = 0
    d_held: int = 0
    hold_id: UUID | None = None
    lot_id: int | None = None
    actor_id: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """Credits of a lot that a hold has set aside; `id` is that of the allocation."""

    id: int
    lot_id: int
    amount: int


@dataclass(frozen=True, slots=True)
class PinnedHold:
    id: UUID
    amount: int
    purpose: str
    state: str
    pins: list[Pin] = field(default_factory=list)


def move(organization: Organization, *, d_posted: int = 0, d_held: int = 0, entries: int = 1) -> Moved | None:
    """
    Change the account and count `entries` entries; lock it until the transaction ends.

    None if it would go below zero or does not exist: then nothing is changed and nothing locked.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                'UPDATE "billing_creditaccount" SET "posted" = "posted" + %s, "held" = "held" + %s, "seq" = "seq" + %s '
                'WHERE "organization_id" = %s AND "held" >= %s AND "posted" >= "held" + %s '
                'RETURNING "organization_id", "posted", "held", "seq", '
                "ARRAY(SELECT nextval('billing_ledgerentry_id_seq') FROM generate_series(1, %s))",
                [d_posted, d_held, entries, organization.pk, -d_held, d_held - d_posted, entries],
            )
            rows = cursor.fetchall()
        return Moved(CreditAccount(*rows[0][:-1]), rows[0][-1]) if rows else None
    moved = (
        CreditAccount.objects.for_organization(organization)
        .filter(held__gte=-d_held, posted__gte=F("held") + (d_held - d_posted))
        .update(posted=F("posted") + d_posted, held=F("held") + d_held, seq=F("seq") + entries)
    )
    if not moved:
        return None
    return Moved(CreditAccount.objects.get(organization=organization), new_ids(LedgerEntry, entries))


class FreeLots:
    """The free credits of an organization, oldest lot first. Made after `move`, else it would be stale."""

    def __init__(self, organization: Organization) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                'SELECT "id", "remaining" - "held" FROM "billing_creditlot" '
                'WHERE "organization_id" = %s AND "remaining" > 0 AND "remaining" > "held" ORDER BY "created_seq"',
                [organization.pk],
            )
            self._free: deque[tuple[int, int]] = deque(cursor.fetchall())

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


def add_lot(account: CreditAccount, *, amount: int, reason: str) -> CreditLot:
    return CreditLot.objects.create(
        organization_id=account.pk, amount=amount, remaining=amount, reason=reason, created_seq=account.seq
    )


def take_from_lots(organization: Organization, amount: int) -> None:
    taken = FreeLots(organization).take(amount)
    write(*_change_lots(organization, {lot_id: (-part, 0) for lot_id, part in taken}))


def write_entry(moved: Moved, kind: LedgerEntry.Kind, movement: Movement) -> LedgerEntry:
    entries = _entries(moved, kind, [movement])
    write(_dated(LedgerEntry, _ENTRY, entries))
    [entry] = _as_stored(LedgerEntry, _ENTRY, entries)
    return entry


def write_holds(
    organization: Organization, moved: Moved, requests: Sequence[tuple[UUID, int, str]], movements: Sequence[Movement]
) -> list[CreditHold]:
    """Holds of these ids, amounts and purposes, which pin the oldest free credits; a movement tells of each."""
    free = FreeLots(organization)
    holds, pins = [], []
    held: Counter[int] = Counter()
    for pk, amount, purpose in requests:
        holds.append((pk, organization.pk, amount, 0, State.PENDING.value, purpose))
        for position, (lot_id, part) in enumerate(free.take(amount), start=1):
            pins.append((organization.pk, pk, lot_id, position, part, 0))
            held[lot_id] += part
    write(
        _dated(CreditHold, _HOLD, holds),
        insertion(HoldAllocation, _ALLOCATION, pins),
        *_change_lots(organization, {lot_id: (0, part) for lot_id, part in held.items()}),
        _dated(LedgerEntry, _ENTRY, _entries(moved, LedgerEntry.Kind.HOLD, movements)),
    )
    return _as_stored(CreditHold, _HOLD, holds)


def pinned_holds(organization: Organization, ids: Iterable[UUID]) -> dict[UUID, PinnedHold]:
    """Those there are, with their allocations in burn order. Nothing of a hold changes but its state."""
    holds: dict[UUID, PinnedHold] = {}
    for *values, allocation_id, lot_id, amount in _holds_and_pins(organization, ids):
        hold = holds.setdefault(values[0], PinnedHold(*values))
        if allocation_id:
            hold.pins.append(Pin(allocation_id, lot_id, amount))
    return holds


def _holds_and_pins(organization: Organization, ids: Iterable[UUID]) -> list[tuple[Any, ...]]:
    if connection.vendor != "postgresql":
        holds = CreditHold.objects.for_organization(organization).filter(pk__in=ids).order_by("allocations__position")
        pins = ("allocations__id", "allocations__lot", "allocations__amount")
        return list(holds.values_list("id", "amount", "purpose", "state", *pins))
    with connection.cursor() as cursor:
        # One after the other (OFFSET 0), for the reason given in `organizations.many_rows.rows_with`.
        cursor.execute(
            'SELECT hold."id", hold."amount", hold."purpose", hold."state", pin."id", pin."lot_id", pin."amount" '
            "FROM json_array_elements_text(%s) AS given (value) "
            'CROSS JOIN LATERAL (SELECT * FROM "billing_credithold" '
            'WHERE "id" = given.value::uuid AND ("organization_id" = %s) IS TRUE OFFSET 0) AS hold '
            'LEFT JOIN LATERAL (SELECT * FROM "billing_holdallocation" '
            'WHERE "organization_id" = %s AND "hold_id" = hold."id" OFFSET 0) AS pin ON TRUE '
            'ORDER BY pin."position"',
            [json.dumps(list(map(str, ids))), organization.pk, organization.pk],
        )
        return list(cursor.fetchall())


def write_ends(
    organization: Organization,
    moved: Moved,
    state: CreditHold.State,
    kind: LedgerEntry.Kind,
    holds: Sequence[PinnedHold],
    movements: Sequence[Movement],
) -> list[LedgerEntry] | None:
    """
    Of each hold what the movement tells is spent, the rest is free; the entries in their order. None if one was not
    pending any more: the caller rolls back.
    """
    captured = {hold.id: -movement.d_posted for hold, movement in zip(holds, movements, strict=True)}
    spent: dict[int, int] = {}
    remaining: Counter[int] = Counter()
    held: Counter[int] = Counter()
    for hold in holds:
        left = captured[hold.id]
        for pin in hold.pins:
            part = min(left, pin.amount)
            left -= part
            if part:
                spent[pin.id] = part
            remaining[pin.lot_id] -= part
            held[pin.lot_id] -= pin.amount
        if sum(pin.amount for pin in hold.pins) != hold.amount:
            raise LedgerBroken("A hold has not as many credits pinned as it holds.")
    pending = {"state": State.PENDING.value}
    entries = _entries(moved, kind, movements)
    ended = write(
        change(CreditHold, organization, "captured", captured, also={"state": state.value}, only=pending),
        change(HoldAllocation, organization, "captured", spent),
        *_change_lots(organization, {lot_id: (remaining[lot_id], part) for lot_id, part in held.items()}),
        _dated(LedgerEntry, _ENTRY, entries),
    )
    return _as_stored(LedgerEntry, _ENTRY, entries) if ended == len(holds) else None


def _entries(moved: Moved, kind: LedgerEntry.Kind, movements: Sequence[Movement]) -> list[tuple[Any, ...]]:
    """Their rows; the balances after each follow from that after the last."""
    account = moved.account
    seq = account.seq - len(movements)
    posted = account.posted - sum(each.d_posted for each in movements)
    held = account.held - sum(each.d_held for each in movements)
    rows = []
    for pk, each in zip(moved.entry_ids, movements, strict=True):
        seq, posted, held = seq + 1, posted + each.d_posted, held + each.d_held
        told = (each.hold_id, each.lot_id, each.actor_id, each.reason, each.key, each.digest)
        rows.append((pk, account.pk, seq, kind.value, each.d_posted, each.d_held, posted, held, *told))
    return rows


def _change_lots(organization: Organization, changes: Mapping[int, tuple[int, int]]) -> list[Statement]:
    """Lot id → by how much what remains of it, and what is held of it, changes."""
    sql = (
        'UPDATE "billing_creditlot" SET "remaining" = "remaining" + %s, "held" = "held" + %s '
        'WHERE "organization_id" = %s AND "id" = %s'
    )
    return [Statement(sql, [[*by, organization.pk, lot_id]]) for lot_id, by in changes.items()]


def written_at() -> datetime | None:
    """When holds and entries are written. None: the database's clock says it, but for the demo's history."""
    return None


def _dated(model: type[models.Model], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> Statement:
    if (moment := written_at()) is None:
        return insertion(model, columns, rows)
    return insertion(model, (*columns, "created_at"), [(*row, moment) for row in rows])


def _columns(model: type[models.Model], without: str) -> tuple[str, ...]:
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname != without)


def _as_stored(model: type[_Row], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[_Row]:
    """Rows that are stored, as models; what the database fills in is read when somebody asks for it."""
    database = connection.alias
    return [model.from_db(database, columns, row) for row in rows]


_HOLD = _columns(CreditHold, without="created_at")
_ALLOCATION = _columns(HoldAllocation, without="id")
_ENTRY = _columns(LedgerEntry, without="created_at")
