"""Credits that come in and are corrected by hand."""

from __future__ import annotations

import pytest

from billing import ledger
from billing.ledger import IdempotencyConflict, NotEnoughCredits
from billing.models import CreditAccount, LedgerEntry
from organizations.models import AuditEvent
from tests.billing.conftest import grant, hold, lots, rows

Kind = LedgerEntry.Kind


def test_a_grant_given_twice_counts_once(acme):
    assert grant(acme, 10) == grant(acme, 10)

    assert ledger.balance(organization=acme).posted == 10
    assert AuditEvent.objects.for_organization(acme).count() == 1


def test_a_key_cannot_name_another_grant(acme):
    grant(acme, 10)
    before = rows()

    with pytest.raises(IdempotencyConflict, match="“first grant” was already recorded with other values"):
        grant(acme, 11)

    assert rows() == before


def test_grants_and_adjustments_are_audited(acme, staff):
    ledger.grant_credits(organization=acme, amount=10, reason=" A new customer ", idempotency_key="a", actor=staff)
    ledger.adjust_credits(organization=acme, amount=-3, reason="Typed too much", idempotency_key="b", actor=staff)

    events = AuditEvent.objects.for_organization(acme).order_by("pk")
    assert [(event.action, event.target, event.actor, event.details) for event in events] == [
        ("credits.granted", "A new customer", staff, {"credits": 10, "available": 10, "entry": 1}),
        ("credits.adjusted", "Typed too much", staff, {"credits": -3, "available": 7, "entry": 2}),
    ]


def test_an_adjustment_downwards_takes_the_oldest_free_credits(acme, staff):
    grant(acme, 5, "one")
    grant(acme, 5, "two")
    hold(acme, 2)

    entry = ledger.adjust_credits(
        organization=acme, amount=-4, reason="Typed too much", idempotency_key="less", actor=staff
    )

    assert (entry.d_posted, entry.posted_after, entry.held_after, entry.lot) == (-4, 6, 2, None)
    assert lots(acme) == [(5, 2, 2), (5, 4, 0)]


def test_an_adjustment_upwards_is_a_new_lot(acme, staff):
    entry = ledger.adjust_credits(organization=acme, amount=7, reason="Made good", idempotency_key="more", actor=staff)

    assert entry.kind == Kind.ADJUST
    assert lots(acme) == [(7, 7, 0)]


def test_held_credits_cannot_be_adjusted_away(acme, staff):
    grant(acme, 5)
    hold(acme, 4)
    before = rows()

    with pytest.raises(NotEnoughCredits) as refusal:
        ledger.adjust_credits(organization=acme, amount=-2, reason="Too much", idempotency_key="less", actor=staff)

    assert (refusal.value.needed, refusal.value.available) == (2, 1)
    assert rows() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"amount": 0}, "above 0"),
        ({"amount": -5}, "above 0"),
        ({"amount": ledger.MAX_AMOUNT + 1}, "at most"),
        ({"reason": "  "}, "Give a reason"),
        ({"reason": "x" * 201}, "Give a reason"),
        ({"idempotency_key": ""}, "idempotency key"),
        ({"idempotency_key": "x" * 121}, "idempotency key"),
    ],
)
def test_a_grant_with_bad_values_says_which(acme, change, sentence):
    values = {"amount": 5, "reason": "Trial", "idempotency_key": "key"} | change

    with pytest.raises(ValueError, match=sentence):
        ledger.grant_credits(organization=acme, **values)

    assert not CreditAccount.objects.for_organization(acme).exists()


def test_an_adjustment_by_nothing_is_a_mistake(acme, staff):
    with pytest.raises(ValueError, match="other than 0"):
        ledger.adjust_credits(organization=acme, amount=0, reason="x", idempotency_key="x", actor=staff)
