"""Worked examples, with the figures computed by hand."""

from __future__ import annotations

import uuid

import pytest
from django.db import transaction

from billing import ledger
from billing.ledger import Balance, HoldGone, HoldRequest, IdempotencyConflict, NotEnoughCredits
from billing.models import CreditAccount, CreditHold, HoldAllocation, LedgerEntry
from tests.billing.conftest import grant, hold, lots, request, rows


def movements(organization) -> list[tuple[int, str, int, int, int, int]]:
    entries = LedgerEntry.objects.for_organization(organization).order_by("seq")
    return list(entries.values_list("seq", "kind", "d_posted", "d_held", "posted_after", "held_after"))


def test_a_new_account_is_empty_and_opened_once(acme):
    ledger.open_account(organization=acme)
    ledger.open_account(organization=acme)

    assert CreditAccount.objects.for_organization(acme).count() == 1
    assert ledger.balance(organization=acme) == Balance(posted=0, held=0, available=0)


def test_an_organization_without_account_has_no_credits(acme):
    assert ledger.balance(organization=acme) == Balance(posted=0, held=0, available=0)
    with pytest.raises(NotEnoughCredits):
        hold(acme, 1)


def test_two_grants_three_holds_a_capture_a_partial_capture_and_a_release(acme):
    grant(acme, 5, "one")
    grant(acme, 10, "two")

    first, second, third = hold(acme, 4, 4, 2)

    assert ledger.balance(organization=acme) == Balance(posted=15, held=10, available=5)
    assert lots(acme) == [(5, 5, 5), (10, 10, 5)]
    pinned = HoldAllocation.objects.for_organization(acme).filter(hold=second).order_by("position")
    assert [(each.position, each.amount) for each in pinned] == [(1, 1), (2, 3)]

    ledger.capture_hold(organization=acme, hold_id=first.id, amount=4)
    ledger.capture_hold(organization=acme, hold_id=second.id, amount=2)
    ledger.release_hold(organization=acme, hold_id=third.id)

    assert ledger.balance(organization=acme) == Balance(posted=9, held=0, available=9)
    assert lots(acme) == [(5, 0, 0), (10, 9, 0)]
    assert movements(acme) == [
        (1, "grant", 5, 0, 5, 0),
        (2, "grant", 10, 0, 15, 0),
        (3, "hold", 0, 4, 15, 4),
        (4, "hold", 0, 4, 15, 8),
        (5, "hold", 0, 2, 15, 10),
        (6, "capture", -4, -4, 11, 6),
        (7, "capture", -2, -4, 9, 2),
        (8, "release", 0, -2, 9, 0),
    ]
    states = CreditHold.objects.for_organization(acme).values_list("id", "state", "captured")
    assert set(states) == {(first.id, "captured", 4), (second.id, "captured", 2), (third.id, "released", 0)}


def test_a_released_credit_can_be_held_again(acme):
    grant(acme, 4)
    [first] = hold(acme, 4)
    ledger.release_hold(organization=acme, hold_id=first.id)

    [second] = hold(acme, 4)

    assert second.state == CreditHold.State.PENDING
    assert ledger.balance(organization=acme).available == 0


def test_nothing_of_a_hold_may_be_spent_at_all(acme):
    grant(acme, 4)
    [held] = hold(acme, 4)

    entry = ledger.capture_hold(organization=acme, hold_id=held.id, amount=0)

    assert (entry.d_posted, entry.d_held) == (0, -4)
    assert ledger.balance(organization=acme) == Balance(posted=4, held=0, available=4)


def test_too_few_credits_refuse_all_requests_and_change_nothing(acme):
    grant(acme, 10)
    before = rows()

    with pytest.raises(NotEnoughCredits) as refusal:
        hold(acme, 4, 4, 4)

    assert (refusal.value.needed, refusal.value.available) == (12, 10)
    assert str(refusal.value) == (
        "This needs 12 credits, but only 10 are available. "
        "Choose less, or ask the operator of this installation for more credits."
    )
    assert rows() == before


@pytest.mark.parametrize(
    ("needed", "available", "beginning"),
    [
        (4, 0, "This needs 4 credits, but none are available."),
        (2, 1, "This needs 2 credits, but only 1 is available."),
        (1, 0, "This needs 1 credit, but none are available."),
    ],
)
def test_a_refusal_reads_well(needed, available, beginning):
    assert str(NotEnoughCredits(needed=needed, available=available)).startswith(beginning)


def test_a_refusal_leaves_the_callers_transaction_usable(acme):
    grant(acme, 3)

    with transaction.atomic():
        with pytest.raises(NotEnoughCredits):
            hold(acme, 4)
        hold(acme, 3)

    assert ledger.balance(organization=acme).held == 3


def test_the_callers_rollback_undoes_the_ledger_too(acme):
    grant(acme, 8)
    before = rows()

    with transaction.atomic():
        [held] = hold(acme, 4)
        ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)
        transaction.set_rollback(True)

    assert rows() == before


def test_holds_come_back_in_the_order_of_their_requests(acme):
    grant(acme, 10)
    requests = [request(amount) for amount in (3, 1, 2)]

    holds = ledger.hold_credits(organization=acme, requests=requests)

    assert [(each.id, each.amount) for each in holds] == [(each.id, each.amount) for each in requests]


def test_no_requests_need_no_credits_and_write_nothing(acme):
    assert ledger.hold_credits(organization=acme, requests=[]) == []
    assert not LedgerEntry.objects.for_organization(acme).exists()


def test_the_same_requests_again_give_the_same_holds(acme):
    grant(acme, 8)
    requests = [request(4), request(4)]
    first = ledger.hold_credits(organization=acme, requests=requests)
    ledger.capture_hold(organization=acme, hold_id=first[0].id, amount=4)
    before = rows()

    again = ledger.hold_credits(organization=acme, requests=requests)

    assert [each.id for each in again] == [each.id for each in first]
    assert [each.state for each in again] == ["captured", "pending"]
    assert rows() == before


def test_requests_of_which_some_are_held_already_hold_the_others(acme):
    grant(acme, 8)
    known, new = request(4), request(4)
    ledger.hold_credits(organization=acme, requests=[known])

    holds = ledger.hold_credits(organization=acme, requests=[new, known])

    assert [each.id for each in holds] == [new.id, known.id]
    assert ledger.balance(organization=acme).held == 8


@pytest.mark.parametrize("other", [{"amount": 3}, {"purpose": "Something else"}])
def test_an_id_held_before_refuses_another_amount_or_purpose(acme, other):
    grant(acme, 8)
    first = request(4)
    ledger.hold_credits(organization=acme, requests=[first])
    before = rows()
    values = {"id": first.id, "amount": first.amount, "purpose": first.purpose} | other

    with pytest.raises(IdempotencyConflict):
        ledger.hold_credits(organization=acme, requests=[HoldRequest(**values)])

    assert rows() == before


def test_a_long_purpose_is_kept_to_200_characters_and_still_replays(acme):
    grant(acme, 8)
    long = request(4, purpose="x" * 300)

    [first] = ledger.hold_credits(organization=acme, requests=[long])
    [again] = ledger.hold_credits(organization=acme, requests=[long])

    assert first.id == again.id
    assert first.purpose == "x" * 200


@pytest.mark.parametrize("amount", [0, -1])
def test_a_hold_of_no_credits_is_a_mistake(acme, amount):
    with pytest.raises(ValueError, match="A hold takes 1 to"):
        hold(acme, amount)


def test_an_id_given_twice_in_one_call_is_a_mistake(acme):
    twice = request(1)
    with pytest.raises(ValueError, match="an id of its own"):
        ledger.hold_credits(organization=acme, requests=[twice, twice])


def test_capturing_twice_gives_the_same_entry_and_charges_once(acme):
    grant(acme, 10)
    [held] = hold(acme, 4)

    first = ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)
    again = ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)

    assert first == again
    assert first.idempotency_key == f"capture:{held.id}"
    assert ledger.balance(organization=acme).posted == 6


def test_capturing_again_with_another_amount_is_refused(acme):
    grant(acme, 10)
    [held] = hold(acme, 4)
    ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)
    before = rows()

    with pytest.raises(IdempotencyConflict):
        ledger.capture_hold(organization=acme, hold_id=held.id, amount=2)

    assert rows() == before


@pytest.mark.parametrize("amount", [5, -1])
def test_no_more_than_was_held_can_be_captured_and_no_less_than_nothing(acme, amount):
    grant(acme, 10)
    [held] = hold(acme, 4)
    before = rows()

    with pytest.raises(ValueError, match="4 are held"):
        ledger.capture_hold(organization=acme, hold_id=held.id, amount=amount)

    assert rows() == before


def test_a_released_hold_cannot_be_captured(acme):
    grant(acme, 10)
    [held] = hold(acme, 4)
    ledger.release_hold(organization=acme, hold_id=held.id)
    before = rows()

    with pytest.raises(HoldGone, match="4 credits for “Candidate check: Mira Holt” are not held any more"):
        ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)

    assert rows() == before


def test_a_released_hold_cannot_be_captured_while_others_hold_nothing(acme):
    grant(acme, 4)
    [held] = hold(acme, 4)
    ledger.release_hold(organization=acme, hold_id=held.id)
    hold(acme, 4)  # of the same size: the account alone could not tell them apart

    with pytest.raises(HoldGone):
        ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)

    assert ledger.balance(organization=acme) == Balance(posted=4, held=4, available=0)


def test_releasing_twice_gives_the_same_entry(acme):
    grant(acme, 10)
    [held] = hold(acme, 4)

    first = ledger.release_hold(organization=acme, hold_id=held.id)

    assert first is not None
    assert ledger.release_hold(organization=acme, hold_id=held.id) == first


def test_releasing_a_captured_hold_frees_nothing(acme):
    grant(acme, 10)
    [held] = hold(acme, 4)
    ledger.capture_hold(organization=acme, hold_id=held.id, amount=4)
    before = rows()

    assert ledger.release_hold(organization=acme, hold_id=held.id) is None
    assert rows() == before


def test_a_hold_of_another_organization_does_not_exist(acme, globex):
    grant(acme, 10)
    grant(globex, 10)
    [held] = hold(acme, 4)

    with pytest.raises(HoldGone):
        ledger.capture_hold(organization=globex, hold_id=held.id, amount=4)
    with pytest.raises(HoldGone):
        ledger.release_hold(organization=globex, hold_id=held.id)
    with pytest.raises(HoldGone):
        ledger.capture_hold(organization=acme, hold_id=uuid.uuid4(), amount=4)

    assert ledger.balance(organization=globex) == Balance(posted=10, held=0, available=10)


def test_organizations_use_the_same_keys_independently(acme, globex):
    assert grant(acme, 10).seq == grant(globex, 20).seq == 1

    assert ledger.balance(organization=globex).posted == 20


def test_many_holds_cost_a_fixed_number_of_queries(acme, django_assert_max_num_queries):
    grant(acme, 300, "one")
    grant(acme, 300, "two")

    with django_assert_max_num_queries(20):  # savepoints, and SQLite writes in batches
        hold(acme, *[2] * 250)

    assert lots(acme) == [(300, 300, 300), (300, 300, 200)]
