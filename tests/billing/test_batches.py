"""Many holds ended at once: as if it were one by one, but all or none."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger
from billing.ledger import Balance, Capture, HoldGone, IdempotencyConflict
from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from billing.postings import LedgerBroken, pinned_holds
from organizations.models import Organization
from tests.billing.conftest import grant, hold, lots, rows
from tests.plans import analyze


def spend(organization: Organization, *captures: tuple[CreditHold, int]) -> list[LedgerEntry]:
    wanted = [Capture(held.id, amount) for held, amount in captures]
    return ledger.capture_holds(organization=organization, captures=wanted)


def release(organization: Organization, *holds: CreditHold) -> list[LedgerEntry | None]:
    return ledger.release_holds(organization=organization, hold_ids=[held.id for held in holds])


def told(entries: list[Any]) -> list[tuple[int, int, int, int, int]]:
    return [(each.seq, each.d_posted, each.d_held, each.posted_after, each.held_after) for each in entries]


def stored(entries: list[Any]) -> list[LedgerEntry]:
    return [LedgerEntry.objects.get(pk=each.pk) for each in entries]


def test_captures_of_holds_that_share_lots(acme):
    grant(acme, 5, "one")
    grant(acme, 10, "two")
    grant(acme, 1, "three")
    first, second, third = hold(acme, 3, 10, 3)  # 3 of one; 2 of one and 8 of two; 2 of two and the one of three

    entries = spend(acme, (third, 3), (first, 0), (second, 7))

    assert told(entries) == [(7, -3, -3, 13, 13), (8, 0, -3, 13, 10), (9, -7, -10, 6, 0)]
    assert [each.hold_id for each in entries] == [third.id, first.id, second.id]
    assert lots(acme) == [(5, 3, 0), (10, 3, 0), (1, 0, 0)]
    captured = HoldAllocation.objects.for_organization(acme).order_by("hold__captured", "position")
    assert list(captured.values_list("captured", flat=True)) == [0, 2, 1, 2, 5]
    states = CreditHold.objects.for_organization(acme).values_list("id", "state", "captured")
    assert set(states) == {(first.id, "captured", 0), (second.id, "captured", 7), (third.id, "captured", 3)}
    assert ledger.balance(organization=acme) == Balance(posted=6, held=0, available=6)


def test_entries_and_holds_are_given_as_they_are_stored(acme):
    grant(acme, 10)
    [held] = hold(acme, 4)
    [entry] = spend(acme, (held, 3))

    def values(row: Any) -> dict[str, Any]:
        return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}

    assert values(entry) == values(LedgerEntry.objects.get(pk=entry.pk))
    kept = values(CreditHold.objects.get(pk=held.pk))
    assert values(held) == kept | {"state": "pending", "captured": 0}


def test_what_was_captured_already_gives_its_entry_and_the_others_are_captured(acme):
    grant(acme, 10)
    first, second, third = hold(acme, 2, 3, 4)
    [before] = spend(acme, (second, 1))

    entries = spend(acme, (third, 4), (second, 1), (first, 2))

    assert [each.hold_id for each in entries] == [third.id, second.id, first.id]
    assert entries[1] == before
    assert [each.seq for each in entries] == [6, 5, 7]
    assert ledger.balance(organization=acme) == Balance(posted=3, held=0, available=3)


def test_the_same_captures_again_in_another_order_change_nothing(acme):
    grant(acme, 10)
    first, second = hold(acme, 2, 3)
    entries = spend(acme, (first, 2), (second, 3))
    before = rows()

    assert spend(acme, (second, 3), (first, 2)) == entries[::-1]
    assert rows() == before


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("released", HoldGone),
        ("unknown", HoldGone),
        ("of another organization", HoldGone),
        ("too much", ValueError),
        ("too little", ValueError),
        ("otherwise before", IdempotencyConflict),
    ],
)
def test_one_that_cannot_be_captured_refuses_all_and_changes_nothing(acme, globex, bad, error):
    grant(acme, 20)
    grant(globex, 20)
    good, other, last = hold(acme, 4, 4, 4)
    [theirs] = hold(globex, 4)
    release(acme, other) if bad == "released" else spend(acme, (other, 2))
    wrong = {
        "unknown": Capture(uuid.uuid4(), 4),
        "of another organization": Capture(theirs.id, 4),
        "too much": Capture(last.id, 5),
        "too little": Capture(last.id, -1),
    }.get(bad, Capture(other.id, 4))
    before = rows()

    with transaction.atomic():
        with pytest.raises(error):
            ledger.capture_holds(organization=acme, captures=[Capture(good.id, 4), wrong])
        assert rows() == before  # and the caller's transaction goes on
        spend(acme, (good, 4))

    assert ledger.balance(organization=acme).held == 4


def test_a_hold_named_twice_is_a_mistake(acme):
    grant(acme, 4)
    [held] = hold(acme, 4)

    with pytest.raises(ValueError, match="captured once"):
        spend(acme, (held, 2), (held, 2))
    with pytest.raises(ValueError, match="released once"):
        release(acme, held, held)


def test_no_holds_end_without_a_word(acme):
    assert spend(acme) == release(acme) == []


def test_the_callers_rollback_undoes_a_batch(acme):
    grant(acme, 8)
    first, second = hold(acme, 4, 4)
    before = rows()

    with transaction.atomic():
        spend(acme, (first, 4), (second, 1))
        transaction.set_rollback(True)

    assert rows() == before


def test_many_are_released_and_of_those_captured_nothing_is_left(acme):
    grant(acme, 3, "one")
    grant(acme, 7, "two")
    first, second, third = hold(acme, 2, 3, 4)
    spend(acme, (second, 3))
    [before] = release(acme, third)

    entries = release(acme, third, second, first)

    assert entries[:2] == [before, None]
    assert told(entries[2:]) == [(8, 0, -2, 7, 0)]
    assert lots(acme) == [(3, 2, 0), (7, 5, 0)]


def test_an_unknown_hold_among_many_releases_none(acme):
    grant(acme, 4)
    [held] = hold(acme, 4)

    with pytest.raises(HoldGone):
        ledger.release_holds(organization=acme, hold_ids=[held.id, uuid.uuid4()])

    assert ledger.balance(organization=acme).held == 4


def test_many_captures_cost_a_fixed_number_of_queries(acme, django_assert_max_num_queries):
    grant(acme, 300, "one")
    grant(acme, 300, "two")
    holds = hold(acme, *[2] * 250)

    with django_assert_max_num_queries(12):  # the savepoint, and on SQLite a statement a table
        spend(acme, *((held, number % 3) for number, held in enumerate(holds)))


def overtaken(monkeypatch: pytest.MonkeyPatch, name: str, answer: Any) -> None:
    """The first time, what is read is older than what somebody else has committed since."""
    real, answers = getattr(ledger, name), [answer]
    monkeypatch.setattr(ledger, name, lambda *args, **more: answers.pop() if answers else real(*args, **more))


def test_a_twin_that_captured_first_is_joined(acme, monkeypatch):
    grant(acme, 10)
    first, second = hold(acme, 4, 4)
    as_it_was = pinned_holds(acme, [first.id, second.id])
    [before] = spend(acme, (first, 4))
    overtaken(monkeypatch, "pinned_holds", as_it_was)

    entries = spend(acme, (first, 4), (second, 4))

    assert entries[0] == before
    assert [each.seq for each in entries] == [4, 5]


def test_a_twin_that_released_first_wins(acme, monkeypatch):
    grant(acme, 10)
    first, second = hold(acme, 4, 4)
    as_it_was = pinned_holds(acme, [first.id, second.id])
    release(acme, first)
    before = rows()
    overtaken(monkeypatch, "pinned_holds", as_it_was)

    with pytest.raises(HoldGone):
        spend(acme, (first, 4), (second, 4))

    assert rows() == before


def test_a_twin_that_left_nothing_held_wins(acme, monkeypatch):
    """The account itself refuses then."""
    grant(acme, 4)
    [held] = hold(acme, 4)
    as_it_was = pinned_holds(acme, [held.id])
    [before] = spend(acme, (held, 4))
    overtaken(monkeypatch, "pinned_holds", as_it_was)

    assert release(acme, held) == [None]
    overtaken(monkeypatch, "pinned_holds", as_it_was)
    assert spend(acme, (held, 4)) == [before]


def test_a_twin_that_granted_first_is_joined(acme, monkeypatch):
    entry = grant(acme, 10)
    overtaken(monkeypatch, "_recorded", None)

    assert grant(acme, 10) == entry
    assert ledger.balance(organization=acme).posted == 10


def test_a_twin_that_took_back_first_is_joined(acme, staff, monkeypatch):
    """Its credits are gone, so the second would be refused for want of them."""
    grant(acme, 10)

    def take_back() -> LedgerEntry:
        return ledger.adjust_credits(organization=acme, amount=-10, reason="x", idempotency_key="back", actor=staff)

    entry = take_back()
    overtaken(monkeypatch, "_recorded", None)

    assert take_back() == entry


def test_credits_that_came_since_are_taken(acme, monkeypatch):
    grant(acme, 4)
    overtaken(monkeypatch, "move", None)

    hold(acme, 4)

    assert ledger.balance(organization=acme).held == 4


def test_a_broken_ledger_moves_nothing(acme):
    grant(acme, 10)
    held, other = hold(acme, 4, 4)

    def refuse(work: Any) -> None:
        before = rows()
        with pytest.raises(LedgerBroken):
            work()
        assert rows() == before

    with transaction.atomic():
        HoldAllocation.objects.filter(hold=other).update(amount=3)
        refuse(lambda: spend(acme, (held, 4), (other, 4)))
        refuse(lambda: release(acme, held, other))
        HoldAllocation.objects.filter(hold=other).delete()
        refuse(lambda: spend(acme, (other, 0)))
        CreditAccount.objects.update(held=0)
        refuse(lambda: spend(acme, (held, 4)))
        CreditLot.objects.update(remaining=1, held=0)
        refuse(lambda: hold(acme, 2))
        transaction.set_rollback(True)


def test_many_holds_are_looked_up_by_their_ids_whatever_the_statistics_say(acme, globex):
    """PostgreSQL takes an organization that its statistics do not know for a small one, to be read as a whole."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite looks up one by one")
    grant(globex, 5_000)
    hold(globex, *[1] * 5_000)
    analyze("billing_credithold", "billing_holdallocation")
    grant(acme, 50)
    holds = hold(acme, *[1] * 50)
    plans: dict[str, str] = {}

    def explain(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        if sql.startswith(("SELECT", "WITH")):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}", parameters)
                plans[sql] = "\n".join(line for (line,) in cursor.fetchall())
        return execute(sql, parameters, *rest)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL random_page_cost = 0")  # rows are what counts, not how few pages there are
        cursor.execute("SET LOCAL seq_page_cost = 0")
        with connection.execute_wrapper(explain):
            spend(acme, *((held, 1) for held in holds))

    (read,) = (plan for sql, plan in plans.items() if sql.startswith("SELECT hold."))
    (written,) = (plan for sql, plan in plans.items() if sql.startswith("WITH"))
    assert "Index Cond: (id = (given.value)::uuid)" in read, read
    assert "hold_id = billing_credithold.id" in read, read
    for table in ("credithold", "holdallocation"):
        assert f"on billing_{table}_pkey" in written or f"using billing_{table}_pkey" in written, written
    assert "Seq Scan" not in read + written


amounts = st.integers(min_value=1, max_value=6)
ends = st.tuples(st.sampled_from(["captured", "released", "left", "captured before"]), st.integers(0, 6))


@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(given_in=st.lists(amounts, min_size=1, max_size=5), wanted=st.lists(st.tuples(amounts, ends), max_size=8))
def test_batches_leave_what_one_by_one_leaves(db, given_in, wanted):
    """Lots of any size, holds that do not all find enough, ended in any way."""
    at_once, single = (
        Organization.objects.create(name=name, slug=f"{name}-{uuid.uuid4().hex[:12]}") for name in ("at-once", "single")
    )
    for organization in (at_once, single):
        for number, amount in enumerate(given_in):
            grant(organization, amount, f"lot {number}")
    fitting, left = [], sum(given_in)
    for amount, end in wanted:
        if amount <= left:
            fitting.append((amount, end))
            left -= amount

    holds = hold(at_once, *(amount for amount, _ in fitting))
    for held, (_, (end, part)) in zip(holds, fitting, strict=True):
        if end == "captured before":
            ledger.capture_hold(organization=at_once, hold_id=held.id, amount=min(part, held.amount))
    to_capture = [(held, min(end[1], held.amount)) for held, (_, end) in zip(holds, fitting, strict=True)]
    is_captured = [end[0].startswith("captured") for _, end in fitting]
    entries = spend(at_once, *(each for each, yes in zip(to_capture, is_captured, strict=True) if yes))
    release(at_once, *(held for held, (_, end) in zip(holds, fitting, strict=True) if end[0] == "released"))

    alone = [held for amount, _ in fitting for held in hold(single, amount)]
    for of in ("captured before", "captured", "released"):
        for held, (_, (end, part)) in zip(alone, fitting, strict=True):
            if end == of == "released":
                ledger.release_hold(organization=single, hold_id=held.id)
            elif end == of:
                ledger.capture_hold(organization=single, hold_id=held.id, amount=min(part, held.amount))

    assert [each.hold_id for each in entries] == [held.id for held, yes in zip(holds, is_captured, strict=True) if yes]
    assert shape(at_once, holds) == shape(single, alone)


def shape(organization: Organization, holds: list[CreditHold]) -> list[Any]:
    """All that is kept of the organization, ids aside: holds by their number, lots by the entry that gave them."""
    number = {held.id: place for place, held in enumerate(holds)}
    entries = LedgerEntry.objects.for_organization(organization).order_by("seq")
    pins = HoldAllocation.objects.for_organization(organization)
    kept = CreditHold.objects.for_organization(organization).values_list("id", "amount", "captured", "state", "purpose")
    return [
        lots(organization),
        list(CreditAccount.objects.for_organization(organization).values_list("posted", "held", "seq")),
        [
            (*values, number.get(hold_id), key.partition(":")[0])
            for hold_id, key, *values in entries.values_list(
                "hold",
                "idempotency_key",
                "kind",
                "d_posted",
                "d_held",
                "posted_after",
                "held_after",
                "digest",
                "reason",
            )
        ],
        sorted((number[pk], *values) for pk, *values in kept),
        sorted(
            (number[hold_id], *values)
            for hold_id, *values in pins.values_list("hold", "lot__created_seq", "position", "amount", "captured")
        ),
    ]
