"""The ledger cannot be rewritten; where triggers are lifted by force, verify_ledger finds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from billing import ledger
from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from billing.verification import verify_ledger, verify_ledgers
from organizations.models import Organization
from tests.billing.conftest import grant, hold, lifted_triggers
from tests.builders import complete
from tests.serving_role import as_owner


@pytest.fixture(autouse=True)
def _every_ledger_is_sound_in_the_end() -> None:
    """Not here: these tests leave broken ones behind."""


@pytest.fixture
def used(acme: Organization) -> Organization:
    """Entries 1, 2: grants; 3 to 5: holds; 6: capture of 4; 7: capture of 2 of 4. One hold is pending."""
    grant(acme, 6, "one")
    grant(acme, 20, "two")
    first, second, _ = hold(acme, 4, 4, 4)
    ledger.capture_hold(organization=acme, hold_id=first.id, amount=4)
    ledger.capture_hold(organization=acme, hold_id=second.id, amount=2)
    return acme


def test_a_sound_ledger_has_no_problems(used, globex):
    assert verify_ledger(organization=used) == []
    assert verify_ledger(organization=globex) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_ledgerentry SET reason = 'other'",
        "DELETE FROM billing_ledgerentry WHERE seq = 7",
    ],
)
def test_the_database_refuses_to_change_or_delete_an_entry(used, statement):
    with refused_by_the_database(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert LedgerEntry.objects.for_organization(used).count() == 7


def test_the_orm_cannot_change_or_delete_an_entry_either(used):
    entries = LedgerEntry.objects.for_organization(used)
    with refused_by_the_database():
        entries.update(d_posted=100)
    with refused_by_the_database():
        entries.filter(seq=7).delete()


def test_postgresql_refuses_to_truncate_the_entries(used):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no TRUNCATE")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with as_owner(), refused_by_the_database(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE billing_ledgerentry CASCADE")


@pytest.mark.parametrize(
    ("seq", "changes", "problem"),
    [
        (1, {"d_posted": 600, "posted_after": 600}, "Entry 2: the balance after it is 26 (held 0)"),
        (6, {"d_posted": -1}, "Entry 6: the balance after it is 22 (held 8), but 25 (held 8) follows"),
        (6, {"posted_after": 24}, "Entry 7: the balance after it is 20 (held 4), but 22 (held 4) follows"),
        (3, {"d_held": 3}, "but its entries tell otherwise"),
        (2, {"seq": 99}, "Entry 3 follows entry 1: entries between them are missing."),
    ],
)
def test_a_changed_entry_is_found(used, seq, changes, problem):
    with lifted_triggers():
        LedgerEntry.objects.for_organization(used).filter(seq=seq).update(**changes)

    assert_found(used, problem)


def test_a_removed_entry_is_found(used):
    with lifted_triggers():
        LedgerEntry.objects.for_organization(used).filter(seq=4).delete()

    assert_found(used, "Entry 5 follows entry 3: entries between them are missing.")


def test_a_cut_off_tail_is_found(used):
    with lifted_triggers():
        LedgerEntry.objects.for_organization(used).filter(seq=7).delete()

    assert_found(used, "Account: the number of entries is kept as 7, but the entries give 6.")
    assert_found(used, "Account: the balance is kept as 20, but the entries give 22.")


def test_a_missing_account_is_found(used):
    CreditAccount.objects.for_organization(used).delete()

    assert_found(used, "There is no account, but there are 7 entries.")


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("posted", "Account: the balance is kept as 21, but the entries give 20."),
        ("held", "Account: the held part is kept as 5, but the entries give 4."),
        ("seq", "Account: the number of entries is kept as 8, but the entries give 7."),
    ],
)
def test_an_account_changed_past_the_ledger_is_found(used, field, problem):
    CreditAccount.objects.for_organization(used).update(**{field: F(field) + 1})

    assert_found(used, problem)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"remaining": 19}, "Lots: 19 credits are remaining, but the entries give 20."),
        ({"held": 3}, "but pending holds pin 4."),
        ({"amount": 21}, "entry 2 did not give them."),
        ({"created_seq": 9}, "Entry 2 gave 20 credits, but their lot is missing."),
    ],
)
def test_a_changed_lot_is_found(used, changes, problem):
    CreditLot.objects.for_organization(used).filter(created_seq=2).update(**changes)

    assert_found(used, problem)


def test_credits_moved_from_lot_to_lot_are_found(used):
    CreditLot.objects.for_organization(used).filter(created_seq=1).update(remaining=6)
    CreditLot.objects.for_organization(used).filter(created_seq=2).update(remaining=14)

    assert_found(used, "0 credits are gone, but holds captured 6 of it.")


@pytest.mark.parametrize(
    ("state", "changes", "problem"),
    [
        ("pending", {"amount": 5}, "Holds: 5 credits are in pending holds, but the entries give 4."),
        ("pending", {"state": "released"}, "but its entries tell otherwise."),
        ("captured", {"captured": 1}, "but its entries tell otherwise."),
    ],
)
def test_a_changed_hold_is_found(used, state, changes, problem):
    CreditHold.objects.for_organization(used).filter(state=state).update(**changes)

    assert_found(used, problem)


def test_a_changed_allocation_is_found(used):
    allocation = HoldAllocation.objects.for_organization(used).filter(hold__state="pending").get()
    HoldAllocation.objects.filter(pk=allocation.pk).update(amount=3)

    assert_found(used, f"Hold {allocation.hold_id} of 4 credits, 0 captured: its lots give 3 and 0.")


def test_a_hold_without_lots_and_entries_is_found(used):
    orphan = CreditHold.objects.create(organization=used, amount=4, purpose="Smuggled in")

    assert_found(used, f"Hold {orphan.pk}: its lots or its entries are missing.")


def test_what_points_into_the_ledger_of_another_organization_is_found(used, globex):
    grant(globex, 20, "theirs")
    theirs = CreditLot.objects.for_organization(globex).get()
    (held,) = CreditHold.objects.for_organization(used).filter(state="captured", captured=4)
    allocation = held.allocations.get()

    CreditHold.objects.filter(pk=held.pk).update(organization=globex)

    assert_found(used, f"Entry 3: its hold {held.pk} belongs to another organization.")
    assert_found(used, f"Entry 6: its hold {held.pk} belongs to another organization.")
    assert_found(used, f"Allocation {allocation.pk}: its hold {held.pk} belongs to another organization.")
    assert_found(globex, f"Hold {held.pk}: its lots or its entries are missing.")
    CreditHold.objects.filter(pk=held.pk).update(organization=used)
    HoldAllocation.objects.filter(pk=allocation.pk).update(lot=theirs)
    assert_found(used, f"Allocation {allocation.pk}: its lot {theirs.pk} belongs to another organization.")
    with lifted_triggers():
        LedgerEntry.objects.for_organization(used).filter(seq=1).update(lot=theirs)
    assert_found(used, f"Entry 1: its lot {theirs.pk} belongs to another organization.")


def test_problems_stand_with_the_organization_they_are_of(used, globex):
    grant(globex, 20, "theirs")
    CreditAccount.objects.for_organization(globex).update(posted=21)

    of_acme, of_globex = verify_ledgers([used, globex])

    assert (of_acme.organization, of_acme.entries, of_acme.posted, of_acme.held, of_acme.problems) == (
        used,
        7,
        20,
        4,
        [],
    )
    assert (of_globex.organization, of_globex.entries) == (globex, 1)
    assert of_globex.problems == ["Account: the balance is kept as 21, but the entries give 20."]


def test_more_organizations_are_no_more_queries(used, globex, django_assert_max_num_queries):
    others = [Organization.objects.create(name=f"Org {n}", slug=f"org-{n}") for n in range(20)]
    for other in others:
        grant(other, 5, "first")
    with CaptureQueriesContext(connection) as of_one:
        verify_ledger(organization=used)

    with django_assert_max_num_queries(len(of_one)):
        reports = list(verify_ledgers([used, globex, *others]))

    assert len(reports) == 22
    assert not any(report.problems for report in reports)


def test_the_command_says_verified_for_all_organizations(used, globex):
    complete(used, globex)
    assert json.loads(run("--json")) == {
        "organizations": 2,
        "entries": 7,
        "problems": [],
        "verified": True,
    }
    assert "verified" in run()


def test_the_command_names_the_problem_and_exits_with_1(used):
    complete(used)
    CreditAccount.objects.for_organization(used).update(posted=21)
    out = StringIO()

    with pytest.raises(SystemExit) as ending:
        call_command("verify_ledger", "--json", stdout=out)

    assert ending.value.code == 1
    answer = json.loads(out.getvalue())
    assert answer["verified"] is False
    assert answer["problems"][0] == "acme: Account: the balance is kept as 21, but the entries give 20."
    with pytest.raises(SystemExit):
        call_command("verify_ledger", stdout=out)
    assert "acme: Account: the balance is kept as 21" in out.getvalue()


def test_the_command_verifies_one_organization(used, globex):
    assert json.loads(run("--json", "--organization", "globex"))["entries"] == 0
    with pytest.raises(CommandError, match="There is no organization “nobody”"):
        run("--organization", "nobody")


@contextmanager
def refused_by_the_database() -> Iterator[None]:
    with pytest.raises(DatabaseError, match="billing_ledgerentry is append-only"), transaction.atomic():
        yield


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("verify_ledger", *arguments, stdout=out)
    return out.getvalue()


def assert_found(organization: Organization, problem: str) -> None:
    found = verify_ledger(organization=organization)
    assert any(problem in each for each in found), found
