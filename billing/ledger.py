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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction

from billing.models import CreditAccount, CreditHold, LedgerEntry
from billing.postings import (
    LedgerBroken,
    Moved,
    Movement,
    PinnedHold,
    add_lot,
    move,
    pinned_holds,
    take_from_lots,
    write_ends,
    write_entry,
    write_holds,
)
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


@dataclass(frozen=True, slots=True)
class Capture:
    """`amount` of the credits of a hold are spent, 0 to all of them; the rest goes back."""

    hold_id: UUID
    amount: int


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

    known: dict[UUID, CreditHold] = {}
    while True:
        missing = [request for request in requests if request.id not in known]
        try:
            with transaction.atomic():
                made = _write_holds(organization, missing)
        except (IntegrityError, NotEnoughCredits):
            # Perhaps some are held already, or a twin held them while we waited for the account.
            before, known = len(known), _known_holds(organization, requests)
            if len(known) == before:
                raise
            continue
        holds = known | {hold.id: hold for hold in made}
        return [holds[request.id] for request in requests]


def capture_hold(*, organization: Organization, hold_id: UUID, amount: int) -> LedgerEntry:
    """As `capture_holds`, of one."""
    [entry] = capture_holds(organization=organization, captures=[Capture(hold_id, amount)])
    return entry


def capture_holds(*, organization: Organization, captures: Sequence[Capture]) -> list[LedgerEntry]:
    """
    Spend held credits and free the rest, of all these holds or of none; the entries come back in their order.

    A hold that was captured already gives the same entry and moves nothing. Raises HoldGone if a hold was released or
    is not this organization's, ValueError if more is to be spent than was held or a hold is named twice, and
    IdempotencyConflict if another amount was captured before.
    """
    amounts = {capture.hold_id: capture.amount for capture in captures}
    if len(amounts) != len(captures):
        raise ValueError("Each hold can be captured once only.")
    entries = _end_holds(organization, State.CAPTURED, Kind.CAPTURE, amounts)
    return [entries[hold_id] for hold_id in amounts]


def release_hold(*, organization: Organization, hold_id: UUID) -> LedgerEntry | None:
    """As `release_holds`, of one."""
    [entry] = release_holds(organization=organization, hold_ids=[hold_id])
    return entry


def release_holds(*, organization: Organization, hold_ids: Sequence[UUID]) -> list[LedgerEntry | None]:
    """
    Free all credits of all these holds or of none; the entries come back in their order.

    A hold that was released already gives the same entry, and None if it was captured: nothing is left to free.
    Raises HoldGone if a hold is not this organization's, and ValueError if one is named twice.
    """
    amounts = dict.fromkeys(hold_ids, 0)
    if len(amounts) != len(hold_ids):
        raise ValueError("Each hold can be released once only.")
    entries = _end_holds(organization, State.RELEASED, Kind.RELEASE, amounts)
    return [entries.get(hold_id) for hold_id in amounts]


def _once(find: Callable[[], LedgerEntry | None], write: Callable[[], LedgerEntry]) -> LedgerEntry:
    """
    What `find` sees, else what `write` makes, in a transaction or savepoint of its own.

    A twin may commit the same fact while `write` waits for the account. Then `write` fails (on the unique key or on the
    credits the twin took) and leaves nothing behind, and `find` sees what the twin wrote.
    """
    found = find()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return write()
    except (IntegrityError, NotEnoughCredits):
        found = find()
        if found is None:
            raise
        return found


def _recorded(organization: Organization, key: str, digest: str) -> LedgerEntry | None:
    entry = LedgerEntry.objects.for_organization(organization).filter(idempotency_key=key).first()
    if entry is not None and entry.digest != digest:
        raise IdempotencyConflict(key)
    return entry


def _take(organization: Organization, *, d_posted: int = 0, d_held: int = 0, entries: int = 1) -> Moved:
    """As `move`, or NotEnoughCredits with a balance that was really too small at one moment."""
    needed = d_held - d_posted
    while (moved := move(organization, d_posted=d_posted, d_held=d_held, entries=entries)) is None:
        available = balance(organization=organization).available
        if available < needed:
            raise NotEnoughCredits(needed=needed, available=available)
    return moved


def _change_balance(
    organization: Organization, kind: Kind, amount: int, reason: str, key: str, actor: User | None
) -> LedgerEntry:
    digest = _digest(kind, amount, reason)

    def write() -> LedgerEntry:
        open_account(organization=organization)
        moved = _take(organization, d_posted=amount)
        account = moved.account
        lot = add_lot(account, amount=amount, reason=reason) if amount > 0 else None
        if amount < 0:
            take_from_lots(organization, -amount)
        movement = Movement(
            key,
            digest,
            d_posted=amount,
            lot_id=lot.pk if lot else None,
            actor_id=actor.pk if actor else None,
            reason=reason,
        )
        entry = write_entry(moved, kind, movement)
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


def _known_holds(organization: Organization, requests: Sequence[HoldRequest]) -> dict[UUID, CreditHold]:
    asked = {request.id: request for request in requests}
    holds = CreditHold.objects.for_organization(organization).in_bulk(list(asked))
    for hold in holds.values():
        request = asked[hold.id]
        if (hold.amount, hold.purpose) != (request.amount, _purpose(request)):
            raise IdempotencyConflict(f"{Kind.HOLD}:{hold.id}")
    return holds


def _write_holds(organization: Organization, requests: Sequence[HoldRequest]) -> list[CreditHold]:
    if not requests:
        return []
    moved = _take(organization, d_held=sum(request.amount for request in requests), entries=len(requests))
    wanted = [(request.id, request.amount, _purpose(request)) for request in requests]
    movements = [
        Movement(f"{Kind.HOLD}:{pk}", _digest(Kind.HOLD, amount, purpose), d_held=amount, hold_id=pk)
        for pk, amount, purpose in wanted
    ]
    return write_holds(organization, moved, wanted, movements)


class _Overtaken(Exception):
    """Somebody else ended a hold while we waited for the account."""


def _end_holds(
    organization: Organization, state: State, kind: Kind, amounts: Mapping[UUID, int]
) -> dict[UUID, LedgerEntry]:
    """
    End all these holds in this way, spending of each what `amounts` says; their entries. A hold that was ended in
    another way is refused if credits were to be spent of it, and left out otherwise.
    """
    overtaken: list[PinnedHold] | None = None
    while True:
        holds = pinned_holds(organization, list(amounts))
        for hold_id, amount in amounts.items():
            if hold_id not in holds:
                raise HoldGone("There is no such hold of credits.")
            if not 0 <= amount <= holds[hold_id].amount:
                raise ValueError(f"{counted(amount)} cannot be captured: {holds[hold_id].amount} are held.")
        pending = [holds[hold_id] for hold_id in amounts if holds[hold_id].state == State.PENDING]
        if pending == overtaken:
            raise LedgerBroken("Holds are pending that the account or the entries know nothing of.")
        ended = [hold for hold in holds.values() if hold.state != State.PENDING]
        entries = _ended_before(organization, kind, amounts, ended)
        try:
            with transaction.atomic():
                entries |= _write_ends(organization, state, kind, pending, amounts)
        except (IntegrityError, _Overtaken):
            overtaken = pending  # fewer are in the next round, and what was made of the others is seen
            continue
        return entries


def _ended_before(
    organization: Organization, kind: Kind, amounts: Mapping[UUID, int], holds: Sequence[PinnedHold]
) -> dict[UUID, LedgerEntry]:
    if not holds:
        return {}
    of_organization = LedgerEntry.objects.for_organization(organization)
    found = of_organization.filter(kind=kind, hold__in=[hold.id for hold in holds])
    entries = {hold_id: entry for entry in found if (hold_id := entry.hold_id)}
    for hold in holds:
        if hold.id in entries:
            if entries[hold.id].digest != _digest(kind, amounts[hold.id]):
                raise IdempotencyConflict(entries[hold.id].idempotency_key)
        elif kind == Kind.CAPTURE:
            raise HoldGone(f"The {counted(hold.amount)} for “{hold.purpose}” are not held any more.")
    return entries


def _write_ends(
    organization: Organization, state: State, kind: Kind, holds: Sequence[PinnedHold], amounts: Mapping[UUID, int]
) -> dict[UUID, LedgerEntry]:
    if not holds:
        return {}
    digests = {amount: _digest(kind, amount) for amount in set(amounts.values())}
    movements = [
        Movement(f"{kind}:{hold.id}", digests[amount], d_posted=-amount, d_held=-hold.amount, hold_id=hold.id)
        for hold, amount in ((hold, amounts[hold.id]) for hold in holds)
    ]
    spent, freed = sum(amounts[hold.id] for hold in holds), sum(hold.amount for hold in holds)
    moved = move(organization, d_posted=-spent, d_held=-freed, entries=len(holds))
    entries = write_ends(organization, moved, state, kind, holds, movements) if moved else None
    if entries is None:
        raise _Overtaken
    return {hold.id: entry for hold, entry in zip(holds, entries, strict=True)}


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
