from __future__ import annotations

import datetime as dt

import pytest
from django.urls import reverse
from django.utils import timezone

from billing import ledger, statement
from billing.models import LedgerEntry
from billing.templatetags.credit_format import signed
from organizations.models import Organization
from tests.billing.conftest import grant, hold, lifted_triggers
from tests.builders import connect_managed_key

URL = "/o/acme/credits/"


@pytest.fixture
def used(acme):
    """Granted 20; a check charged 4, another freed, a third of 2 still held."""
    grant(acme, 20)
    charged, freed, _ = hold(acme, 4, 4, 2)
    ledger.capture_hold(organization=acme, hold_id=charged.id, amount=4)
    ledger.release_hold(organization=acme, hold_id=freed.id)
    return acme


def test_a_member_sees_the_balance_and_what_each_entry_was_for(used, as_bob, simulated_providers):
    connect_managed_key()
    page = as_bob.get(URL)

    assert page.status_code == 200
    assert reverse("credits", args=["acme"]) == URL
    assert page.context["summary"] == statement.CreditSummary(available=14, held=2, spent=4, granted=20)
    shown = [
        (line.label, line.purpose, signed(line.change), signed(line.held), line.available_after)
        for line in page.context["lines"]
    ]
    assert shown == [
        ("Freed", "Candidate check: Mira Holt", "–", "−4", 14),
        ("Charged", "Candidate check: Mira Holt", "−4", "−4", 10),
        ("Set aside", "Candidate check: Mira Holt", "–", "+2", 10),
        ("Set aside", "Candidate check: Mira Holt", "–", "+4", 12),
        ("Set aside", "Candidate check: Mira Holt", "–", "+4", 16),
        ("Granted", "A promise kept", "+20", "–", 20),
    ]
    html = page.content.decode()
    assert "Candidate check: Mira Holt" in html
    assert "4 credits" in html


def test_an_adjustment_names_who_made_it(acme, as_alice, staff):
    grant(acme, 2_000)
    ledger.adjust_credits(organization=acme, amount=-1_500, reason="Typed too much", idempotency_key="x", actor=staff)

    html = as_alice.get(URL).content.decode()

    assert "Typed too much" in html
    assert "−1,500" in html
    assert "by staff@keyfare.example" in html


def test_an_organization_without_entries_is_told_what_will_stand_here(acme, as_alice):
    page = as_alice.get(URL)

    assert "No credits yet" in page.content.decode()
    assert page.context["summary"] == statement.CreditSummary(available=0, held=0, spent=0, granted=0)


@pytest.mark.parametrize(
    ("show", "kinds"),
    [
        ("spent", ["Charged"]),
        ("held", ["Set aside"]),
        ("granted", ["Granted"]),
        ("nonsense", ["Freed", "Charged", "Set aside", "Set aside", "Set aside", "Granted"]),
    ],
)
def test_each_number_leads_to_the_entries_behind_it(used, as_alice, show, kinds):
    page = as_alice.get(URL, {"show": show})

    assert [line.label for line in page.context["lines"]] == kinds


def test_a_number_without_entries_says_so(acme, as_alice):
    assert "No such entries" in as_alice.get(URL, {"show": "held"}).content.decode()


def test_spent_counts_30_utc_days_with_today(acme):
    today = dt.date(2026, 11, 21)
    grant(acme, 100)
    at = {
        _charge(acme, 1): dt.datetime(2026, 10, 22, 23, 59, 59, tzinfo=dt.UTC),
        _charge(acme, 2): dt.datetime(2026, 10, 23, 0, 0, tzinfo=dt.UTC),
        _charge(acme, 4): dt.datetime(2026, 11, 21, 23, 59, tzinfo=dt.UTC),
    }
    with lifted_triggers():  # the ledger always takes the database's own time
        for entry, created_at in at.items():
            LedgerEntry.objects.filter(pk=entry).update(created_at=created_at)

    assert statement.credit_summary(organization=acme, today=today).spent == 6


def _charge(organization: Organization, credits: int) -> int:
    [held] = hold(organization, credits)
    return ledger.capture_hold(organization=organization, hold_id=held.id, amount=credits).pk


def test_long_ledgers_are_paged_newest_first(acme, as_alice):
    grant(acme, 100)
    hold(acme, *[1] * 60)

    first = as_alice.get(URL)
    second = as_alice.get(URL, {"after": first.context["page"].after})

    assert [line.seq for line in first.context["lines"]] == list(range(61, 11, -1))
    assert [line.seq for line in second.context["lines"]] == list(range(11, 0, -1))
    assert "?after=12" in first.content.decode()
    assert "?before=11" in second.content.decode()


def test_the_pages_of_what_was_charged_follow_each_other(acme, as_alice):
    grant(acme, 100)
    for held in hold(acme, *[1] * 60):
        ledger.capture_hold(organization=acme, hold_id=held.id, amount=1)

    first = as_alice.get(URL, {"show": "spent"})
    second = as_alice.get(URL, {"show": "spent", "after": first.context["page"].after})

    assert [line.seq for page in (first, second) for line in page.context["lines"]] == list(range(121, 61, -1))
    assert [line.label for line in second.context["lines"]] == ["Charged"] * 10


def test_the_number_of_queries_does_not_grow_with_the_ledger(acme, as_alice, staff, django_assert_max_num_queries):
    grant(acme, 100)
    hold(acme, *[1] * 40)
    for number in range(5):
        ledger.adjust_credits(organization=acme, amount=1, reason="x", idempotency_key=f"{number}", actor=staff)
    as_alice.get(URL)

    with django_assert_max_num_queries(13):  # one of them asks the database for the time
        as_alice.get(URL)


def test_a_stranger_finds_nothing(used, as_charlie):
    assert as_charlie.get(URL).status_code == 404


def test_an_entry_of_another_organization_is_not_shown(used, globex, as_alice):
    ledger.grant_credits(organization=globex, amount=7, reason="For Globex only", idempotency_key="g", actor=None)

    assert "For Globex only" not in as_alice.get(URL).content.decode()


def test_visitors_log_in_first(used, client):
    assert client.get(URL).status_code == 302


def test_the_page_is_only_read(used, as_alice):
    assert as_alice.post(URL).status_code == 405


@pytest.mark.parametrize(("credits", "text"), [(0, "–"), (1200, "+1,200"), (-4, "−4")])
def test_changes_carry_their_sign(credits, text):
    assert signed(credits) == text


def test_entries_of_today_are_spent_now(used):
    summary = statement.credit_summary(organization=used, today=timezone.now().date())

    assert summary.spent == 4
