"""The ledger against a model of it in plain Python: after any calls, both say the same."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from billing import ledger
from billing.models import LedgerEntry
from billing.verification import verify_ledger
from organizations.models import Organization, User
from tests.billing.conftest import lots

_numbers = itertools.count(1)
amounts = st.integers(min_value=1, max_value=9)


@dataclass
class Lot:
    amount: int
    remaining: int
    held: int = 0

    @property
    def free(self) -> int:
        return self.remaining - self.held


@dataclass
class Hold:
    amount: int
    pins: list[tuple[Lot, int]]
    state: str = "pending"
    captured: int = 0


@dataclass
class Model:
    lots: list[Lot] = field(default_factory=list)
    holds: dict[uuid.UUID, Hold] = field(default_factory=dict)
    entries: int = 0

    @property
    def available(self) -> int:
        return sum(lot.free for lot in self.lots)

    def give(self, amount: int) -> None:
        self.lots.append(Lot(amount, amount))
        self.entries += 1

    def burn(self, amount: int) -> list[tuple[Lot, int]]:
        pins = []
        for lot in self.lots:
            part = min(lot.free, amount)
            if part:
                pins.append((lot, part))
                amount -= part
        return pins

    def hold(self, hold_id: uuid.UUID, amount: int) -> None:
        pins = self.burn(amount)
        for lot, part in pins:
            lot.held += part
        self.holds[hold_id] = Hold(amount, pins)
        self.entries += 1

    def take_back(self, amount: int) -> None:
        for lot, part in self.burn(amount):
            lot.remaining -= part
        self.entries += 1

    def end(self, hold: Hold, state: str, captured: int) -> None:
        hold.state, hold.captured = state, captured
        for lot, part in hold.pins:
            spent = min(captured, part)
            captured -= spent
            lot.held -= part
            lot.remaining -= spent
        self.entries += 1


class LedgerMachine(RuleBasedStateMachine):
    """Every example is an organization of its own; the test's rollback removes them all."""

    holds: Bundle[uuid.UUID] = Bundle("holds")
    calls: Bundle[tuple[Any, dict[str, Any], Any]] = Bundle("calls")

    @initialize()
    def found(self) -> None:
        number = next(_numbers)
        self.organization = Organization.objects.create(name="Modelled", slug=f"modelled-{number}")
        self.actor = User.objects.create_user(f"operator-{number}@keyfare.example")
        self.model = Model()

    def call(self, service: Any, **arguments: Any) -> tuple[Any, dict[str, Any], Any]:
        """A call that succeeds, its arguments and its answer, to be repeated later."""
        return service, arguments, answer_of(service(organization=self.organization, **arguments))

    def refused(self, error: type[Exception] | tuple[type[Exception], ...], service: Any, **arguments: Any) -> None:
        with pytest.raises(error):
            service(organization=self.organization, **arguments)

    @rule(target=calls, amount=amounts)
    def grant(self, amount: int) -> Any:
        self.model.give(amount)
        return self.call(ledger.grant_credits, amount=amount, reason="A grant", idempotency_key=str(uuid.uuid4()))

    @rule(target=holds, amounts=st.lists(amounts, min_size=1, max_size=4))
    def hold_many(self, amounts: list[int]) -> Any:
        requests = [ledger.HoldRequest(uuid.uuid4(), amount, "A check") for amount in amounts]
        if sum(amounts) > self.model.available:
            self.refused(ledger.NotEnoughCredits, ledger.hold_credits, requests=requests)
            return multiple()
        for request in requests:
            self.model.hold(request.id, request.amount)
        made = ledger.hold_credits(organization=self.organization, requests=requests)
        again = ledger.hold_credits(organization=self.organization, requests=requests[::-1])
        assert [hold.id for hold in made] == [hold.id for hold in again[::-1]]
        return multiple(*(request.id for request in requests))

    @rule(target=calls, hold_id=holds, share=st.integers(min_value=0, max_value=4))
    def capture(self, hold_id: uuid.UUID, share: int) -> Any:
        hold = self.model.holds[hold_id]
        amount = hold.amount * share // 4
        if hold.state == "released":
            self.refused(ledger.HoldGone, ledger.capture_hold, hold_id=hold_id, amount=amount)
            return multiple()
        if hold.state == "captured" and amount != hold.captured:
            self.refused(ledger.IdempotencyConflict, ledger.capture_hold, hold_id=hold_id, amount=amount)
            return multiple()
        if hold.state == "pending":
            self.model.end(hold, "captured", amount)
        return self.call(ledger.capture_hold, hold_id=hold_id, amount=amount)

    @rule(wanted=st.lists(holds, unique=True, max_size=4), share=st.integers(min_value=0, max_value=4))
    def capture_many(self, wanted: list[uuid.UUID], share: int) -> None:
        captures = [ledger.Capture(hold_id, self.model.holds[hold_id].amount * share // 4) for hold_id in wanted]
        models = [self.model.holds[hold_id] for hold_id in wanted]
        if any(
            hold.state == "released" or (hold.state == "captured" and hold.captured != capture.amount)
            for hold, capture in zip(models, captures, strict=True)
        ):
            refusals = (ledger.HoldGone, ledger.IdempotencyConflict)
            self.refused(refusals, ledger.capture_holds, captures=captures)
            return
        for hold, capture in zip(models, captures, strict=True):
            if hold.state == "pending":
                self.model.end(hold, "captured", capture.amount)
        made = ledger.capture_holds(organization=self.organization, captures=captures)
        assert [entry.hold_id for entry in made] == wanted
        assert ledger.capture_holds(organization=self.organization, captures=captures[::-1]) == made[::-1]

    @rule(target=calls, hold_id=holds)
    def release(self, hold_id: uuid.UUID) -> Any:
        hold = self.model.holds[hold_id]
        if hold.state == "pending":
            self.model.end(hold, "released", 0)
        call = self.call(ledger.release_hold, hold_id=hold_id)
        assert (call[2] is None) == (hold.state == "captured")
        return call

    @rule(target=calls, amount=st.integers(min_value=-9, max_value=9).filter(bool))
    def adjust(self, amount: int) -> Any:
        arguments = {
            "amount": amount,
            "reason": "Corrected",
            "idempotency_key": str(uuid.uuid4()),
            "actor": self.actor,
        }
        if -amount > self.model.available:
            self.refused(ledger.NotEnoughCredits, ledger.adjust_credits, **arguments)
            return multiple()
        if amount > 0:
            self.model.give(amount)
        else:
            self.model.take_back(-amount)
        return self.call(ledger.adjust_credits, **arguments)

    @rule(call=calls)
    def repeat(self, call: tuple[Any, dict[str, Any], Any]) -> None:
        service, arguments, answer = call
        assert answer_of(service(organization=self.organization, **arguments)) == answer

    @invariant()
    def ledger_and_model_agree(self) -> None:
        balance = ledger.balance(organization=self.organization)
        assert balance.posted == sum(lot.remaining for lot in self.model.lots)
        assert balance.held == sum(hold.amount for hold in self.model.holds.values() if hold.state == "pending")
        assert balance.available == self.model.available
        assert lots(self.organization) == [(lot.amount, lot.remaining, lot.held) for lot in self.model.lots]
        assert LedgerEntry.objects.for_organization(self.organization).count() == self.model.entries
        assert verify_ledger(organization=self.organization) == []


def answer_of(entry: LedgerEntry | None) -> tuple[int, int, int] | None:
    return None if entry is None else (entry.seq, entry.posted_after, entry.held_after)


@pytest.mark.django_db
def test_any_sequence_of_calls_agrees_with_the_model():
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
