"""What keeps the credits page quick in a long ledger: which index finds the few rows that it shows."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from billing import statement
from billing.credit_export import credits_file
from billing.models import CreditHold, LedgerEntry
from organizations.models import Organization
from tests.plans import SQLITE_KNOWS, analyze, have_sqlite_know, plans_of_what_is_asked
from usage.exports.periods import Month
from usage.exports.words import Words

CHARGES = 3_000


@pytest.fixture(autouse=True)
def _every_ledger_is_sound_in_the_end() -> None:
    """Not here: only the rows that the page asks for are made."""


@pytest.fixture
def long_ledgers(acme, globex) -> None:
    """Of two organizations, a charge every hour; the figures that the planner goes by are theirs."""
    for organization in (acme, globex):
        charge(organization)
    analyze("billing_ledgerentry", "billing_credithold")
    if connection.vendor == "postgresql":  # rows are what counts, not how few pages a small table has
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL random_page_cost = 0")
            cursor.execute("SET LOCAL seq_page_cost = 0")


def charge(organization: Organization) -> None:
    holds = CreditHold.objects.bulk_create(
        CreditHold(organization=organization, amount=1, captured=1, state="captured", purpose=f"{number}")
        for number in range(CHARGES)
    )
    now = timezone.now()
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            organization=organization,
            seq=number,
            kind="capture",
            d_posted=-1,
            d_held=-1,
            posted_after=CHARGES - number,
            held_after=0,
            hold=held,
            idempotency_key=f"capture:{held.pk}",
            created_at=now - timedelta(hours=CHARGES - number),
        )
        for number, held in enumerate(holds, start=1)
    )


@pytest.mark.parametrize("show", ["all", "spent"])
def test_a_deep_page_of_entries_is_found_by_their_number(long_ledgers, acme, show):
    entries = statement.entries(organization=acme, show=show, today=timezone.now().date())

    plan = plan_of(entries.filter(seq__lt=CHARGES - 500)[:51])

    assert re.search(r"Index Cond: .*organization_id = \S+ AND .*seq < |organization_id=\? AND seq.*<\?", plan), plan
    assert not re.search("Sort|TEMP B-TREE", plan), plan


def test_the_last_page_of_what_was_charged_reads_nothing_older(long_ledgers, acme):
    entries = statement.entries(organization=acme, show="spent", today=timezone.now().date())
    last_before = CHARGES - entries.count() - statement.OVERTAKEN

    plan = plan_of(entries.filter(seq__lt=CHARGES - 700)[:51])

    assert f"seq > {last_before}" in plan or re.search(r"organization_id=\? AND seq>\? AND seq<\?", plan), plan


def test_what_was_spent_is_read_from_an_index_of_charges_alone(long_ledgers, acme):
    with plans_of_what_is_asked() as asked:
        statement.credit_summary(organization=acme, today=timezone.now().date())
    (plan,) = (plan for sql, plan in asked if "SUM" in sql and "created_at" in sql)

    assert "COVERING INDEX entry_spent" in plan or "Index Only Scan using entry_spent" in plan, plan
    assert re.search(r"Index Cond: .*created_at >= |organization_id=\? AND created_at>\?", plan), plan


def test_a_month_to_export_is_read_from_an_index_of_charges_alone(long_ledgers, acme):
    month = Month.of(timezone.now().date())

    with plans_of_what_is_asked() as asked:
        list(credits_file(acme, month, Words.of_today(acme)))
    (plan,) = (plan for sql, plan in asked if 'FROM "billing_ledgerentry"' in sql)

    assert "COVERING INDEX entry_spent" in plan or "Index Only Scan using entry_spent" in plan, plan
    assert re.search(r"Index Cond: .*created_at >= |organization_id=\? AND created_at>\?", plan), plan


@pytest.mark.parametrize("known", SQLITE_KNOWS if connection.vendor == "sqlite" else [""])
def test_few_entries_of_a_kind_are_found_without_passing_others(long_ledgers, acme, known):
    if known:
        have_sqlite_know(known)
    today = timezone.now().date()

    with plans_of_what_is_asked() as asked:
        statement.credit_summary(organization=acme, today=today)
        for show in ("granted", "held"):
            assert not list(statement.entries(organization=acme, show=show, today=today)[:51])
    (total,) = (plan for sql, plan in asked if "SUM" in sql and "created_at" not in sql)
    granted, held = (plan for sql, plan in asked if "SUM" not in sql and 'FROM "billing_ledgerentry"' in sql)

    assert "entry_given" in total, total
    assert "entry_given" in granted, granted
    # Of the entries alone: who made them, PostgreSQL may look up before or after it sorts the few there are.
    in_order = plan_of(statement.entries(organization=acme, show="granted", today=today)[:51])
    assert not re.search("Sort|TEMP B-TREE", in_order), in_order
    assert "hold_pending" in held, held
    assert re.search(r"billing_ledgerentry_hold_id\w+ \(hold_id=\?\)|Index Cond: \(hold_id = ", held), held


def plan_of(rows: QuerySet[Any]) -> str:
    return rows.select_related(None).explain()
