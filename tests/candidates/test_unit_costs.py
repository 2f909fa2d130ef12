"""What one of each costs, by figures computed by hand; and that the index alone counts the checks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from candidates.ended_checks import Ended, briefings_checked, ended_checks
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from candidates.unit_costs import UnitCost, unit_costs
from organizations.models import Organization
from organizations.tenancy import scope
from tests.plans import SQLITE_KNOWS, analyze, have_sqlite_know, plans_of_what_is_asked
from tests.usage.conftest import NOON, TODAY, event, lost_or_failed
from usage.models import Mode, UsageEvent

FIRST = TODAY - timedelta(days=29)
CHECKS, BRIEFINGS = ("candidate_check",), ("candidate_check", "requirement_generation")


def ended(organization: Organization, count: int = 1, *, title: str = "Engineer", **fields) -> None:
    """Completed checks of the organization, each of somebody else, at `at`."""
    briefing, _ = Briefing.objects.get_or_create(organization=organization, title=title)
    at = fields.pop("at", NOON)
    fields.setdefault("completed_at", at)
    for _ in range(count):
        person = Candidate.objects.create(organization=organization, name="Somebody")
        profile = Profile.objects.create(organization=organization, candidate=person, content={}, digest="d")
        values = {"status": "completed", "category": "none", "mode": "byok", "charged": 1, "price": 4, "kind": "new"}
        CandidateCheck.objects.create(
            organization=organization,
            briefing=briefing,
            candidate=person,
            profile=profile,
            route={},
            accepted_at=at - timedelta(minutes=1),
            **{**values, **fields},
        )


def costs(organization: Organization) -> list[UnitCost]:
    return unit_costs(organization=organization, first=FIRST, last=TODAY)


def test_of_nothing_nothing_is_said(acme, globex):
    ended(globex, 2)
    ended(acme, 2, at=NOON - timedelta(days=30))

    assert costs(acme) == []


def test_usd_are_divided_by_what_came_of_the_own_keys_and_credits_by_everything(acme, globex):
    ended(acme, 3, category="strong")
    ended(acme, 1, title="Nurse")
    ended(acme, 2, mode="managed", charged=4, title="Baker")
    ended(acme, 1, status="failed", charged=0)
    for _ in range(5):
        event(acme, cost_nanousd=4_000_000)
    event(acme, mode=Mode.MANAGED, cost_nanousd=99_000_000_000)
    event(acme, action="requirement_generation", cost_nanousd=8_000_000)
    event(acme, action="support", cost_nanousd=3_000_000)
    event(acme, action="support", cost_nanousd=6_000_000)
    event(acme, action="direct", cost_nanousd=7_000_000)
    event(acme, action="key_validation", cost_nanousd=7_000_000)
    event(globex, cost_nanousd=4_000_000)

    assert costs(acme) == [
        UnitCost("Candidate checked", "$0.0050", "4 checks on your own keys", "2.00", "12 credits, 6 checks", CHECKS),
        UnitCost("Strong fit", "$0.0067", "3 strong fits", "4.00", "12 credits, 3 strong fits", CHECKS),
        UnitCost("Briefing", "$0.0140", "2 briefings on your own keys", "4.00", "12 credits, 3 briefings", BRIEFINGS),
        UnitCost("Agent run", "$0.0045", "average of 2 runs", "–", "agents cost no credits", ()),
    ]


def test_where_the_operator_shows_its_usd_they_are_among_them(acme, settings):
    settings.KEYFARE_SHOW_MANAGED_USD = True
    ended(acme, 1, mode="managed", charged=4)
    event(acme, mode=Mode.MANAGED, cost_nanousd=4_000_000)

    assert costs(acme)[0].usd == "$0.0040"


def test_managed_checks_alone_have_credits_and_no_usd(acme):
    ended(acme, 2, mode="managed", charged=2)
    event(acme, mode=Mode.MANAGED, cost_nanousd=99_000_000_000)

    (checked, briefing) = costs(acme)
    assert (checked.usd, checked.usd_of, checked.credits) == ("–", "none on your own keys", "2.00")
    assert (briefing.usd, briefing.credits) == ("–", "4.00")


def test_what_a_sum_misses_is_said(acme):
    ended(acme, 2)
    event(acme, cost_nanousd=4_000_000)
    event(acme, cost_nanousd=None, output_tokens=3)
    lost_or_failed(acme, UsageEvent.Status.LOST)
    lost_or_failed(acme, UsageEvent.Status.FAILED)  # not billed

    checked = costs(acme)[0]
    assert checked.usd == "at least $0.0020"
    assert checked.usd_of == "2 checks; without 1 unpriced, 1 without an answer"


def test_usd_that_nobody_knows_are_not_known_and_an_own_server_charges_none(acme, globex):
    ended(acme)
    event(acme, cost_nanousd=None, output_tokens=3)
    ended(globex)
    event(globex, cost_nanousd=0, price_source=UsageEvent.PriceSource.OWN_SERVER)

    assert costs(acme)[0].usd == "not known"
    assert costs(globex)[0].usd == "no token charges"


def test_checks_are_counted_by_the_utc_day_on_which_they_ended(acme):
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    ended(acme, 2, at=midnight - timedelta(microseconds=1), category="strong")
    ended(acme, 1, at=midnight)
    ended(acme, 1, at=midnight + timedelta(hours=1), status="failed", charged=0)
    ended(acme, 1, at=midnight + timedelta(hours=2), status="failed", charged=0)
    ended(acme, 1, status="pending", completed_at=None, charged=None)

    found = ended_checks(organization=acme, first=FIRST, last=TODAY, latest_after=midnight + timedelta(hours=1))

    assert sorted(found, key=lambda each: (each.day, each.status)) == [
        Ended(date(2026, 11, 20), "completed", "byok", 2, 2, 2, 0, None),
        Ended(date(2026, 11, 21), "completed", "byok", 1, 0, 1, 0, None),
        Ended(date(2026, 11, 21), "failed", "byok", 2, 0, 0, 1, midnight + timedelta(hours=2)),
    ]


@pytest.mark.parametrize("known", SQLITE_KNOWS if connection.vendor == "sqlite" else ["its tables"])
def test_the_index_alone_counts_them(acme, globex, known):
    for organization in (acme, globex):
        ended(organization)
        (check,) = CandidateCheck.objects.filter(organization=organization)
        CandidateCheck.objects.bulk_create(
            CandidateCheck(
                **{
                    field: getattr(check, field)
                    for field in ("organization_id", "briefing_id", "candidate_id", "profile_id", "route", "price")
                },
                status="completed",
                mode="byok",
                kind="new",
                is_latest=False,
                accepted_at=NOON,
                completed_at=NOON - timedelta(hours=number),
            )
            for number in range(3000)
        )
    analyze("candidates_candidatecheck")
    if connection.vendor == "sqlite":
        have_sqlite_know(known)

    with scope(acme, "as its pages do"), plans_of_what_is_asked() as asked:
        ended_checks(organization=acme, first=TODAY - timedelta(days=7), last=TODAY)
        briefings_checked(organization=acme, first=TODAY - timedelta(days=7), last=TODAY)

    for _, plan in asked:
        assert "check_ended" in plan, plan
        assert "SCAN candidates" not in plan, plan
        if connection.vendor == "postgresql":
            assert "completed_at" in plan.partition("check_ended")[2].partition("Index Cond")[2].splitlines()[0], plan
        else:
            assert "completed_at>?" in plan, plan
