"""Real connections at the same time. On SQLite there is one writer, so nothing can overlap there."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from billing import ledger
from billing.models import CreditHold, LedgerEntry
from billing.verification import verify_ledger
from organizations.models import Organization
from tests.billing.conftest import grant, hold, lots, request

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer"),
    pytest.mark.django_db(transaction=True),
]

THREADS = 32


def at_once(calls: Sequence[Callable[[], Any]], threads: int = THREADS) -> list[Any]:
    """The answer of each call, or the exception it raised. Every thread has a connection of its own."""
    start = threading.Barrier(min(threads, len(calls)), timeout=30)

    def work(share: Sequence[tuple[int, Callable[[], Any]]]) -> list[tuple[int, Any]]:
        answers = []
        try:
            connection.ensure_connection()
            start.wait()
            for index, call in share:
                try:
                    answers.append((index, call()))
                except Exception as error:
                    answers.append((index, error))
        finally:
            connection.close()
        return answers

    numbered = list(enumerate(calls))
    with ThreadPoolExecutor(threads) as pool:
        shares = [numbered[first::threads] for first in range(min(threads, len(calls)))]
        answers = [answer for share in pool.map(work, shares) for answer in share]
    return [answer for _, answer in sorted(answers, key=lambda each: each[0])]


def kinds(answers: list[Any]) -> Counter[str]:
    return Counter(type(answer).__name__ for answer in answers)


def test_at_the_edge_of_the_balance_exactly_what_is_there_is_held(acme):
    for number, amount in enumerate((143, 143, 143, 143, 143, 143, 142)):
        grant(acme, amount, f"lot {number}")

    answers = at_once([lambda: hold(acme, 4)] * 640)

    assert kinds(answers) == {"list": 250, "NotEnoughCredits": 390}
    assert ledger.balance(organization=acme) == ledger.Balance(posted=1000, held=1000, available=0)
    assert all(remaining == held for _, remaining, held in lots(acme))
    assert CreditHold.objects.for_organization(acme).count() == 250


def test_of_capture_and_release_exactly_one_wins(acme):
    grant(acme, 400)
    held = hold(acme, *[4] * 100)
    calls: list[Callable[[], Any]] = []
    for each in held:
        calls += [
            partial(ledger.capture_hold, organization=acme, hold_id=each.id, amount=4),
            partial(ledger.release_hold, organization=acme, hold_id=each.id),
        ]

    answers = at_once(calls)

    captured = 0
    for capture, release in zip(answers[::2], answers[1::2], strict=True):
        if isinstance(capture, LedgerEntry):
            captured += 1
            assert release is None
        else:
            assert isinstance(capture, ledger.HoldGone)
            assert isinstance(release, LedgerEntry)
    balance = ledger.balance(organization=acme)
    assert balance == ledger.Balance(posted=400 - 4 * captured, held=0, available=400 - 4 * captured)


@pytest.mark.parametrize("available", [4, 100])
def test_the_same_hold_from_many_sides_is_held_once(acme, available):
    """With 4 available, the twins that come later are refused by the balance before they meet the key."""
    grant(acme, available)
    wanted = request(4)

    answers = at_once([lambda: ledger.hold_credits(organization=acme, requests=[wanted])] * THREADS)

    assert kinds(answers) == {"list": THREADS}
    assert {answer[0].id for answer in answers} == {wanted.id}
    assert ledger.balance(organization=acme).held == 4


def test_overlapping_requests_hold_each_id_once(acme):
    grant(acme, 100)
    shared, one, other = request(4), request(4), request(4)

    answers = at_once(
        [
            lambda: ledger.hold_credits(organization=acme, requests=[shared, one]),
            lambda: ledger.hold_credits(organization=acme, requests=[other, shared]),
        ]
        * 8
    )

    assert kinds(answers) == {"list": 16}
    assert ledger.balance(organization=acme).held == 12


def test_the_same_capture_from_many_sides_charges_once(acme):
    grant(acme, 100)
    [held] = hold(acme, 4)

    answers = at_once([lambda: ledger.capture_hold(organization=acme, hold_id=held.id, amount=3)] * THREADS)

    assert {answer.pk for answer in answers} == {answers[0].pk}
    assert ledger.balance(organization=acme) == ledger.Balance(posted=97, held=0, available=97)


def test_overlapping_batches_charge_each_hold_once_and_each_batch_wholly_or_not(acme):
    """Batches in opposite orders, some of which want a hold that others release: those are refused as a whole."""
    grant(acme, 150, "one")
    grant(acme, 1000, "two")
    held = [each.id for each in hold(acme, *[3] * 60)]
    contested, shared = held[:20], held[20:]

    def capture(ids: list[uuid.UUID]) -> Callable[[], Any]:
        captures = [ledger.Capture(hold_id, 2) for hold_id in ids]
        return lambda: ledger.capture_holds(organization=acme, captures=captures)

    calls: list[Callable[[], Any]] = []
    for number, contested_id in enumerate(contested):
        some = shared[2 * number : 2 * number + 15]
        calls += [capture([contested_id, *some]), capture([*some[::-1], contested_id]), capture(some)]
        calls.append(partial(ledger.release_holds, organization=acme, hold_ids=[contested_id]))

    answers = at_once(calls, threads=16)

    assert kinds(answers).keys() <= {"list", "HoldGone"}
    states = dict(CreditHold.objects.for_organization(acme).values_list("id", "state"))
    assert {states[hold_id] for hold_id in shared} == {"captured"}
    of_hold: dict[uuid.UUID, set[int]] = {}
    for answer in answers:
        for entry in answer if isinstance(answer, list) else []:
            if entry is not None:
                of_hold.setdefault(entry.hold_id, set()).add(entry.pk)
    assert all(len(entries) == 1 for entries in of_hold.values())
    for number, contested_id in enumerate(contested):
        with_it = [isinstance(answer, list) for answer in answers[4 * number : 4 * number + 2]]
        assert with_it == [states[contested_id] == "captured"] * 2
    spent = 2 * sum(state == "captured" for state in states.values())
    assert ledger.balance(organization=acme) == ledger.Balance(posted=1150 - spent, held=0, available=1150 - spent)
    verify(acme)


def test_the_same_first_grant_from_many_sides_counts_once(acme):
    answers = at_once([lambda: grant(acme, 50)] * THREADS)

    assert {answer.pk for answer in answers} == {answers[0].pk}
    assert ledger.balance(organization=acme).posted == 50


def test_mixed_work_in_any_order_never_deadlocks_and_verifies_meanwhile(acme, staff):
    """Captures of several holds in one transaction, in opposite orders, among everything else."""
    for number in range(5):
        grant(acme, 2000, f"lot {number}")
    held = [each.id for each in hold(acme, *[3] * 120)]

    def capture_many(ids: list[uuid.UUID]) -> Callable[[], None]:
        def work() -> None:
            with transaction.atomic():
                for hold_id in ids:
                    ledger.capture_hold(organization=acme, hold_id=hold_id, amount=2)

        return work

    def adjust(amount: int) -> Callable[[], LedgerEntry]:
        return lambda: ledger.adjust_credits(
            organization=acme, amount=amount, reason="x", idempotency_key=str(uuid.uuid4()), actor=staff
        )

    def capture_at_once(ids: list[uuid.UUID]) -> Callable[[], Any]:
        captures = [ledger.Capture(hold_id, 2) for hold_id in ids]
        return lambda: ledger.capture_holds(organization=acme, captures=captures)

    calls: list[Callable[[], Any]] = []
    for first in range(0, 120, 6):
        ids = held[first : first + 6]
        calls += [capture_many(ids), capture_many(ids[::-1]), capture_at_once(ids[::-1]), capture_at_once(ids)]
    calls += [lambda: hold(acme, 1, 2, 3)] * 40
    calls += [adjust(amount) for amount in (-5, 7, -3, 1) for _ in range(10)]
    calls += [lambda: verify(acme)] * 10
    random.Random(4).shuffle(calls)

    answers = at_once(calls, threads=16)

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert ledger.balance(organization=acme) == ledger.Balance(
        posted=10_000 - 120 * 2 + 10 * (-5 + 7 - 3 + 1), held=40 * 6, available=9_760 - 240
    )


def verify(organization: Organization) -> None:
    assert verify_ledger(organization=organization) == []
