"""
The credit ledger: who owns how many credits, which are set aside, and every movement that led there.

An account holds two numbers, `posted` (credits owned) and `held` (those set aside); the difference is
available. A hold sets credits aside before work starts; a capture spends them with its result, a release
gives them back. Each movement writes one entry. Its idempotency key names the fact ("hold:<id>",
"capture:<id>", a grant's own key), so saying the same thing twice gives the first entry again and moves
nothing.

Every function runs on its own or inside the caller's transaction. The account stays locked until that ends, so a
caller takes its own locks first, in the order of docs/locking.md, and moves credits of one organization only: then no
two transactions wait for each other.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction

from billing.models import CreditAccount, CreditHold, HoldAllocation, LedgerEntry
from billing.postings import FreeLots, LedgerBroken, add_lot, change_lot, move, write_entry
from organizations import audit
from organizations.models import Organization, User

Kind = LedgerEntry.Kind
State = CreditHold.State

MAX_AMOUNT = 1_000_000_000_000
MAX_REASON = 200
MAX_KEY = 120


class NotEnoughCredits(Exception):
    """Nothing was moved: `needed` credits were asked for, `available` were there."""

    def __init__(self, *, needed: int, available: int) -> None:
        self.needed = needed
        self.available = available
        there = {0: "none are", 1: "only 1 is"}.get(available, f"only {available} are")
        super().__init__(
            f"This needs {counted(needed)}, but {there} available. "
            "Choose less, or ask the operator of this installation for more credits."
        )


class HoldGone(Exception):
    """The hold does not exist in this organization, or was ended in another way."""


class IdempotencyConflict(Exception):
    """The key was used before, for something else."""

    def __init__(self, key: str) -> None:
        super().__init__(f"“{key}” was already recorded with other values. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Balance:
    posted: int
    held: int
    available: int


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """
    `id` becomes the hold's; `purpose` says what for, and is kept to its first 200 characters.

    It names a thing by its id, never a person: a digest of it stands in the ledger for good.
    """

    id: UUID
    amount: int
    purpose: str


def counted(credits: int) -> str:
    return "1 credit" if credits == 1 else f"{credits} credits"


def open_account(*, organization: Organization) -> CreditAccount:
    """The organization's account; an empty one is made if there is none."""
    return CreditAccount.objects.get_or_create(organization=organization)[0]


def balance(*, organization: Organization) -> Balance:
    """The credits of now; all zero without an account."""
    account = CreditAccount.objects.for_organization(organization).first()
    if account is None:
        return Balance(posted=0, held=0, available=0)
    return Balance(posted=account.posted, held=account.held, available=account.available)


def grant_credits(
    *, organization: Organization, amount: int, reason: str, idempotency_key: str, actor: User | None = None
) -> LedgerEntry:
    """
    Give `amount` credits as a new lot; `actor` None is the system itself.

    Raises ValueError (with a sentence) on a bad amount, reason or key, and IdempotencyConflict.
    """
    if amount <= 0:
        raise ValueError("The amount must be a whole number above 0.")
    reason = _checked(amount, reason, idempotency_key)
    return _change_balance(organization, Kind.GRANT, amount, reason, idempotency_key, actor)


def adjust_credits(
    *, organization: Organization, amount: int, reason: str, idempotency_key: str, actor: User
) -> LedgerEntry:
    """
    Correct a balance by hand: upwards as a new lot, downwards out of the oldest free credits.

    Raises NotEnoughCredits if fewer are available than taken; ValueError and IdempotencyConflict as a grant.
    """
    if amount == 0:
        raise ValueError("The amount must be a whole number other than 0.")
    reason = _checked(amount, reason, idempotency_key)
    return _change_balance(organization, Kind.ADJUST, amount, reason, idempotency_key, actor)


def hold_credits(*, organization: Organization, requests: Sequence[HoldRequest]) -> list[CreditHold]:
    """
    Set credits aside for all requests or for none; the holds come back in the order of the requests.

    A request whose id is held already returns that hold, whatever became of it, and moves nothing. Raises
    NotEnoughCredits, IdempotencyConflict (an id used with another amount or purpose), and ValueError for an
    amount below 1 or an id given twice.
    """
    wanted = {request.id: request for request in requests}
    if len(wanted) != len(requests):
        raise ValueError("Each request for credits needs an id of its own.")
    if any(not 0 < request.amount <= MAX_AMOUNT for request in requests):
        raise ValueError(f"A hold takes 1 to {MAX_AMOUNT} credits.")

    def known() -> dict[UUID, CreditHold]:
        holds = CreditHold.objects.for_organization(organization).in_bulk(list(wanted))
        for hold in holds.values():
            request = wanted[hold.id]
            if (hold.amount, hold.purpose) != (request.amount, _purpose(request)):
                raise IdempotencyConflict(f"hold:{hold.id}")
        return holds

    while True:
        holds = known()
        missing = [request for request in requests if request.id not in holds]
        try:
            with transaction.atomic():
                holds |= _write_holds(organization, missing)
        except (IntegrityError, NotEnoughCredits):
            if len(known()) == len(wanted) - len(missing):
                raise
            continue  # a twin held some of them while we waited for the account
        return [holds[request.id] for request in requests]


def capture_hold(*, organization: Organization, hold_id: UUID, amount: int) -> LedgerEntry:
    """
    Spend `amount` of the held credits (0 to all of them) and free the rest; twice gives the same entry.

    Raises HoldGone if the hold was released or is not this organization's, ValueError if `amount` is more
    than was held, IdempotencyConflict if another amount was captured before.
    """
    hold = _hold(organization, hold_id)
    if not 0 <= amount <= hold.amount:
        raise ValueError(f"{counted(amount)} cannot be captured: {hold.amount} are held.")
    return _end_hold(hold, organization, State.CAPTURED, Kind.CAPTURE, amount)


def release_hold(*, organization: Organization, hold_id: UUID) -> LedgerEntry | None:
    """
    Free all held credits; twice gives the same entry. None if the hold was captured: nothing is left to free.

    Raises HoldGone if the hold is not this organization's.
    """
    hold = _hold(organization, hold_id)
    try:
        return _end_hold(hold, organization, State.RELEASED, Kind.RELEASE, 0)
    except HoldGone:
        return None


def _once(find: Callable[[], LedgerEntry | None], write: Callable[[], LedgerEntry]) -> LedgerEntry:
    """
    What `find` sees, else what `write` makes, in a transaction or savepoint of its own.

    A twin may commit the same fact while `write` waits for the account. Then `write` fails (on the unique key,
    on the credits the twin took, or on the hold it ended) and leaves nothing behind, and `find` sees what the
    twin wrote.
    """
    found = find()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return write()
    except (IntegrityError, NotEnoughCredits, HoldGone):
        found = find()
        if found is None:
            raise
        return found


def _recorded(organization: Organization, key: str, digest: str) -> LedgerEntry | None:
    entry = LedgerEntry.objects.for_organization(organization).filter(idempotency_key=key).first()
    if entry is not None and entry.digest != digest:
        raise IdempotencyConflict(key)
    return entry


def _take(organization: Organization, *, d_posted: int = 0, d_held: int = 0, entries: int = 1) -> CreditAccount:
    """As `move`, or NotEnoughCredits with a balance that was really too small at one moment."""
    needed = d_held - d_posted
    while (account := move(organization, d_posted=d_posted, d_held=d_held, entries=entries)) is None:
        available = balance(organization=organization).available
        if available < needed:
            raise NotEnoughCredits(needed=needed, available=available)
    return account


def _change_balance(
    organization: Organization, kind: Kind, amount: int, reason: str, key: str, actor: User | None
) -> LedgerEntry:
    digest = _digest(kind, amount, reason)

    def write() -> LedgerEntry:
        open_account(organization=organization)
        account = _take(organization, d_posted=amount)
        lot = add_lot(account, amount=amount, reason=reason) if amount > 0 else None
        if amount < 0:
            for lot_id, taken in FreeLots(organization).take(-amount):
                change_lot(organization.pk, lot_id, d_remaining=-taken)
        entry = write_entry(account, kind, key=key, digest=digest, d_posted=amount, lot=lot, reason=reason, actor=actor)
        audit.record(
            organization=organization,
            actor=actor,
            action="credits.granted" if kind == Kind.GRANT else "credits.adjusted",
            target=reason,
            credits=amount,
            available=account.available,
            entry=account.seq,
        )
        return entry

    return _once(lambda: _recorded(organization, key, digest), write)


def _write_holds(organization: Organization, requests: Sequence[HoldRequest]) -> dict[UUID, CreditHold]:
    if not requests:
        return {}
    total = sum(request.amount for request in requests)
    account = _take(organization, d_held=total, entries=len(requests))
    free = FreeLots(organization)
    held_of_lots: Counter[int] = Counter()
    holds, allocations, entries = [], [], []
    seq, held = account.seq - len(requests), account.held - total
    for request in requests:
        seq += 1
        held += request.amount
        hold = CreditHold(id=request.id, organization=organization, amount=request.amount, purpose=_purpose(request))
        holds.append(hold)
        for position, (lot_id, amount) in enumerate(free.take(request.amount), start=1):
            held_of_lots[lot_id] += amount
            allocations.append(
                HoldAllocation(organization=organization, hold=hold, lot_id=lot_id, position=position, amount=amount)
            )
        entries.append(
            LedgerEntry(
                organization=organization,
                seq=seq,
                kind=Kind.HOLD,
                d_posted=0,
                d_held=request.amount,
                posted_after=account.posted,
                held_after=held,
                hold=hold,
                idempotency_key=f"hold:{request.id}",
                digest=_digest(Kind.HOLD, request.amount, hold.purpose),
            )
        )
    for lot_id, amount in held_of_lots.items():
        change_lot(organization.pk, lot_id, d_held=amount)
    CreditHold.objects.bulk_create(holds)
    HoldAllocation.objects.bulk_create(allocations)
    LedgerEntry.objects.bulk_create(entries)
    return {hold.id: hold for hold in holds}


def _hold(organization: Organization, hold_id: UUID) -> CreditHold:
    hold = CreditHold.objects.for_organization(organization).filter(pk=hold_id).first()
    if hold is None:
        raise HoldGone("There is no such hold of credits.")
    return hold


def _end_hold(hold: CreditHold, organization: Organization, state: State, kind: Kind, captured: int) -> LedgerEntry:
    """
    Raises HoldGone if the hold was ended in another way, which is certain only under the account's lock.
    """
    key, digest = f"{kind}:{hold.id}", _digest(kind, captured)

    def write() -> LedgerEntry:
        account = move(organization, d_posted=-captured, d_held=-hold.amount)
        pending = CreditHold.objects.for_organization(organization).filter(pk=hold.pk, state=State.PENDING)
        if account is None or not pending.update(state=state, captured=captured):
            raise HoldGone(f"The {counted(hold.amount)} for “{hold.purpose}” are not held any more.")
        left = captured
        allocations = HoldAllocation.objects.for_organization(organization)
        for allocation in allocations.filter(hold=hold).order_by("position"):
            spent = min(left, allocation.amount)
            left -= spent
            if spent:
                allocations.filter(pk=allocation.pk).update(captured=spent)
            change_lot(organization.pk, allocation.lot_id, d_remaining=-spent, d_held=-allocation.amount)
        if left:
            raise LedgerBroken("A hold has fewer credits pinned than it holds.")
        return write_entry(account, kind, key=key, digest=digest, d_posted=-captured, d_held=-hold.amount, hold=hold)

    return _once(lambda: _recorded(organization, key, digest), write)


def _checked(amount: int, reason: str, key: str) -> str:
    reason = reason.strip()
    if abs(amount) > MAX_AMOUNT:
        raise ValueError(f"The amount may be at most {MAX_AMOUNT}.")
    if not 0 < len(reason) <= MAX_REASON:
        raise ValueError(f"Give a reason, in at most {MAX_REASON} characters.")
    if not 0 < len(key) <= MAX_KEY:
        raise ValueError(f"The idempotency key must have 1 to {MAX_KEY} characters.")
    return reason


def _purpose(request: HoldRequest) -> str:
    return request.purpose[:200]


def _digest(kind: Kind, *arguments: int | str) -> str:
    return hashlib.sha256(json.dumps([kind, *arguments]).encode()).hexdigest()
