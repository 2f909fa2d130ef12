"""The page of all checks, and the numbers elsewhere that lead to their rows on it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from tests.builders import (
    checked_before,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)

URL = "/o/acme/checks/"
DJANGO = "Builds Django services on PostgreSQL."
UNREADABLE = "Builds Django services. [[simulate-unparsable]]"
AT = datetime(2026, 11, 3, 12, tzinfo=UTC)
Status = CandidateCheck.Status


def found(client, query: str = "") -> list[str]:
    """The names on the page, in their order."""
    return [check.candidate.name for check in client.get(f"{URL}?{query}").context["page"]]


def links(client, page: str, text: str) -> list[str]:
    """Where the links of a page lead whose words hold `text`."""
    html = client.get(page).content.decode()
    return [
        address.replace("&amp;", "&")
        for address, words in re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', html, re.DOTALL)
        if text in " ".join(re.sub(r"<[^>]+>", " ", words).split())
    ]


@pytest.fixture
def people(acme):
    """Four with one check each, at noon of four days: completed, failed, running, completed for nothing."""
    ada, bea, cy, dan = import_people(acme, DJANGO, DJANGO, DJANGO, DJANGO)
    for person, status, days in ((ada, "completed", 0), (bea, "failed", 1), (cy, "pending", 2), (dan, "completed", 3)):
        checked_before(person, at=AT + timedelta(days=days), status=status)
    CandidateCheck.objects.filter(candidate=ada).update(charged=4, category="strong", score=90)
    CandidateCheck.objects.filter(candidate=dan).update(
        charged=0, category="none", score=0, mode="byok", completed_at=AT + timedelta(days=9)
    )
    return ada, bea, cy, dan


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "4321"),
        ("status=completed", "41"),
        ("status=failed", "2"),
        ("status=running", "3"),
        ("result=strong", "1"),
        ("mode=byok", "4"),
        ("credits=none", "4"),
        ("credits=some", "1"),
        ("person=PERSON2", "2"),
        ("person=people.example PERSON3", "3"),
        ("person=erson3", ""),
        ("from=2026-11-04&to=2026-11-05", "32"),
        ("by=finished&from=2026-11-10", "4"),
        ("by=finished&to=2026-11-03", "1"),
        ("status=completed&from=2026-11-04", "4"),
        ("person=nobody", ""),
    ],
)
def test_filters_narrow_to_what_they_say(as_bob, people, query, expected):
    assert found(as_bob, query) == [f"Person{number}" for number in expected]


def test_a_briefing_is_chosen_by_its_name(as_bob, acme, people):
    other = write_briefing(acme, ("Django", "must"), title="Somebody else")
    CandidateCheck.objects.filter(candidate=people[0]).update(briefing=other)

    assert found(as_bob, f"briefing={other.pk}") == ["Person1"]
    assert (
        f'<option value="{other.pk}" selected>Somebody else</option>'
        in as_bob.get(f"{URL}?briefing={other.pk}").content.decode()
    )


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("from=2026-11-05&to=2026-11-01", "From: 2026-11-05 is after 2026-11-01, the day in To. Swap them."),
        ("from=soon", "From: Enter a day as YYYY-MM-DD."),
        ("briefing=999999", "Briefing: There is no such briefing. Choose one from the list."),
        ("briefing=9999999999999999999999", "Briefing: There is no such briefing."),
        ("status=great", "Status: Select a valid choice."),
        ("person=%00", "Name, headline or e-mail: Null characters are not allowed."),
    ],
)
def test_a_filter_that_cannot_be_read_is_named_and_not_applied(as_bob, people, query, sentence):
    answer = as_bob.get(f"{URL}?{query}")

    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert len(answer.context["page"]) == 4


def test_an_organization_without_checks_reads_what_one_is(as_bob):
    assert "No checks yet" in as_bob.get(URL).content.decode()
    assert "No checks match" in as_bob.get(f"{URL}?status=failed").content.decode()


def test_a_failed_check_says_why_and_is_no_dash(as_bob, acme, people):
    CandidateCheck.objects.filter(candidate=people[1]).update(failure="The provider was away.")

    html = as_bob.get(f"{URL}?status=failed").content.decode()

    assert "The provider was away." in html
    assert ">Failed</span>" in html


@pytest.fixture
def checked(acme, simulated_providers):
    """Three people checked by the simulator now: two Completed, one Failed."""
    connect_managed_key()
    give_credits(acme, 50)
    briefing = write_briefing(acme, ("Django", "must"))
    accept_checks(
        organization=acme,
        briefing=briefing,
        candidates=import_people(acme, DJANGO, DJANGO, UNREADABLE),
        actor=None,
        now=timezone.now(),
    )
    run_pending_checks(organization_id=acme.pk)
    return briefing


def test_numbers_of_checks_lead_to_as_many_rows(as_bob, acme, checked):
    (of_week,) = links(as_bob, "/o/acme/", "Last 7 days: checks")
    (completed,) = links(as_bob, "/o/acme/briefings/", "2 completed")
    (failed,) = links(as_bob, "/o/acme/briefings/", "1 failed")
    (runs,) = links(as_bob, "/o/acme/settings", "runs of Candidate check")

    for address, count in ((of_week, 2), (completed, 2), (failed, 1), (runs, 3)):
        assert address.startswith(URL), address
        assert len(as_bob.get(address).context["page"]) == count, address


def test_usage_rows_and_credit_entries_lead_to_their_check(as_bob, acme, checked):
    for check in CandidateCheck.objects.filter(organization=acme):
        for page in ("calls", "credits"):
            of_check = links(as_bob, reverse(page, args=["acme"]), f"Check of {check.candidate.name}")
            assert set(of_check) == {reverse("candidates:check", args=["acme", check.pk])}, page


def test_checks_that_cost_nothing_are_all_there(as_bob, acme, people, monkeypatch):
    monkeypatch.setattr("config.views.FREE_CHECKS_SHOWN", 0)

    (address,) = links(as_bob, "/o/acme/credits/", "All 1")

    assert [check.candidate.name for check in as_bob.get(address).context["page"]] == ["Person4"]


def test_own_key_runs_lead_to_checks_too(as_bob, acme, simulated_providers):
    route_to_own_key(acme)
    give_credits(acme, 10)
    briefing = write_briefing(acme, ("Django", "must"))
    now = timezone.now()
    accept_checks(organization=acme, briefing=briefing, candidates=import_people(acme, DJANGO), actor=None, now=now)
    run_pending_checks(organization_id=acme.pk)

    (runs,) = links(as_bob, "/o/acme/settings", "runs of Candidate check")
    assert len(as_bob.get(runs).context["page"]) == 1
    assert not as_bob.get(f"{URL}?by=run&to={now - timedelta(days=2):%Y-%m-%d}").context["page"]
