"""
The advisor's figures: checked against the product's own pricing, check by check, and against sums made by hand; and
that it says nothing it does not know.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from candidates import advice_words, advisor
from candidates.advisor import Advice, advise
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from candidates.recency import kind_for
from organizations.models import Organization
from organizations.tenancy import scope
from tests.builders import NOW, connect_managed_key, route_to_own_key
from tests.candidates.test_recency import BAKER, DJANGO, LONG, NURSE
from tests.plans import analyze, plans_of_what_is_asked
from tests.usage.conftest import event
from usage.models import Mode, UsageEvent

DAY = timedelta(days=1)
TEXTS = ("", DJANGO, LONG, DJANGO.replace("two junior", "three junior"), BAKER, NURSE)
Kind = CandidateCheck.Kind


def person(organization: Organization) -> Candidate:
    return Candidate.objects.create(organization=organization, name="Somebody")


def profile(of: Candidate, text: str = DJANGO) -> Profile:
    version = of.profiles.filter(organization=of.organization).count() + 1
    content = {"basics": {"name": "Somebody", "summary": text}}
    return Profile.objects.create(
        organization=of.organization, candidate=of, version=version, content=content, digest=uuid.uuid4().hex
    )


def check(of: Profile, at: datetime, *, took: timedelta = timedelta(seconds=5), **fields: Any) -> CandidateCheck:
    briefing, _ = Briefing.objects.get_or_create(organization=of.organization, title="Engineer")
    values = {"status": "completed", "mode": "managed", "kind": "new", "price": 4, "charged": 4, "is_latest": False}
    return CandidateCheck.objects.create(
        organization=of.organization,
        briefing=briefing,
        candidate=of.candidate,
        profile=of,
        route={},
        accepted_at=at,
        **{"completed_at": at + took, **values, **fields},
    )


def checks(organization: Organization, count: int, at: datetime = NOW - DAY, **fields: Any) -> None:
    """Each of somebody else."""
    for _ in range(count):
        check(profile(person(organization)), at, **fields)


def of_windows(advice: Advice) -> dict[int, tuple[int, int]]:
    return {choice.window: (choice.new, choice.recent) for choice in advice.choices}


# Against the product's own pricing --------------------------------------------------------------------------


def lived(organization: Organization, seed: int) -> None:
    """Some people whose texts change, checked again and again, now and then by two checks at once or in vain."""
    chance = random.Random(seed)
    people = [person(organization) for _ in range(2)]
    texts = {each: profile(each) for each in people}
    at = NOW - 200 * DAY
    while at < NOW - DAY:
        whom = chance.choice(people)
        if chance.random() < 0.6:
            texts[whom] = profile(whom, chance.choice(TEXTS))
        took = chance.choice([timedelta(seconds=5), timedelta(hours=3), 2 * DAY])
        check(texts[whom], at, took=took, status="failed" if chance.random() < 0.15 else "completed")
        at += chance.choice(
            [timedelta(seconds=1), timedelta(hours=1), DAY, 2 * DAY, 5 * DAY, 12 * DAY, 30 * DAY - took]
        )


def priced_one_by_one(organization: Organization, window: int) -> dict[object, str]:
    """Each check as the product prices it when it is accepted, with the database as it was then."""
    Organization.objects.filter(pk=organization.pk).update(recency_window_days=window)
    organization.refresh_from_db()
    rows = list(CandidateCheck.objects.filter(organization=organization).order_by("accepted_at", "completed_at", "pk"))
    texts = list(Profile.objects.filter(organization=organization))
    CandidateCheck.objects.filter(organization=organization).delete()
    kinds: dict[object, str] = {}
    for row in rows:
        known = [
            each for each in rows if each.pk in kinds and each.completed_at and each.completed_at <= row.accepted_at
        ]
        CandidateCheck.objects.bulk_create(known)
        later = [
            each.pk for each in texts if each.candidate_id == row.candidate_id and each.version > row.profile.version
        ]
        Profile.objects.filter(organization=organization, pk__in=later).delete()
        kinds[row.pk] = kind_for(candidates=[row.candidate], organization=organization, now=row.accepted_at)[
            row.candidate_id
        ]
        CandidateCheck.objects.filter(organization=organization).delete()
        Profile.objects.bulk_create(each for each in texts if each.pk in later)
        row.kind = kinds[row.pk]
    CandidateCheck.objects.bulk_create(rows)
    return kinds


@pytest.mark.parametrize("seed", range(6))
def test_each_check_is_priced_as_the_product_would_have_priced_it(acme, globex, seed):
    lived(acme, seed)
    lived(globex, seed + 100)
    told = {days: advise(organization=acme, days=days, now=NOW) for days in advisor.PERIODS}

    for window in advisor.WINDOWS:
        kinds = priced_one_by_one(acme, window)
        for days, advice in told.items():
            since = (NOW - (days - 1) * DAY).replace(hour=0, minute=0, second=0)
            looked_at = CandidateCheck.objects.filter(
                organization=acme, status="completed", completed_at__range=(since, NOW)
            )
            counts = Counter(kinds[pk] for pk in looked_at.values_list("pk", flat=True))
            assert of_windows(advice)[window] == (counts["new"], counts["recent"]), (window, days)


# By hand ------------------------------------------------------------------------------------------------------


def test_a_longer_window_makes_more_checks_recent(acme):
    for days_before in (29, 40, 59, 60, 61, 89, 91):
        text = profile(person(acme))
        check(text, NOW - DAY - days_before * DAY, took=timedelta())
        check(text, NOW - DAY, took=timedelta())

    advice = advise(organization=acme, days=30, now=NOW)

    # In these 30 days: 7 checks of a day ago, and the first of one who was checked 29 days before that is older.
    assert of_windows(advice) == {30: (6, 1), 60: (3, 4), 90: (1, 6)}
    assert [choice.managed for choice in advice.choices] == [26, 20, 16]
    assert [choice.byok for choice in advice.choices] == [6, 3, 1]


def test_the_window_counts_to_the_second(acme):
    for late in (timedelta(), timedelta(seconds=1)):
        text = profile(person(acme))
        check(text, NOW - 60 * DAY, took=timedelta())
        check(text, NOW - 30 * DAY + late, took=29 * DAY)

    assert of_windows(advise(organization=acme, days=30, now=NOW))[30] == (1, 1)


def test_failed_running_and_foreign_checks_do_not_count(acme, globex):
    text = profile(person(acme))
    check(text, NOW - 5 * DAY, status="failed", charged=0)
    check(text, NOW - 4 * DAY, status="pending", completed_at=None, charged=None)
    check(text, NOW - 3 * DAY)
    checks(globex, 3)

    advice = advise(organization=acme, days=30, now=NOW)

    assert (advice.checks, advice.charged, of_windows(advice)[30]) == (1, 4, (1, 0))


def test_only_the_newest_are_looked_at_and_that_is_said(acme, monkeypatch):
    monkeypatch.setattr(advisor, "MOST_CHECKS", 3)
    text = profile(person(acme))
    for days in range(5):
        check(text, NOW - (days + 1) * DAY)

    advice = advise(organization=acme, days=30, now=NOW)

    assert (advice.checks, advice.has_more, of_windows(advice)[30]) == (3, True, (0, 3))


# In words -----------------------------------------------------------------------------------------------------


def test_it_cannot_say_with_few_checks_and_says_how_many_it_takes(as_bob, acme, simulated_providers):
    checks(acme, 19, at=datetime.now(NOW.tzinfo) - timedelta(hours=1))

    connect_managed_key()
    page = as_bob.get("/o/acme/consumption/advisor/").text
    assert "Cannot say: it takes 20 checks completed in the last 30 days, and there were 19." in page
    assert "Go to routing" not in page

    checks(acme, 1, at=datetime.now(NOW.tzinfo) - timedelta(hours=1))
    assert "Cannot say" not in as_bob.get("/o/acme/consumption/advisor/").text


def test_without_checks_on_own_keys_no_usd_are_told(acme):
    checks(acme, 20)
    for _ in range(20):
        event(acme, mode=Mode.MANAGED, cost_nanousd=7_000_000)

    advice = advise(organization=acme, days=30, now=NOW)

    assert (advice.own_nanousd, advice.break_even_nanousd) == (None, None)
    assert advice_words.about_mode(advice, 10**9) == (
        "On your own keys these 20 checks would have cost 20 credits instead of 80: 60 fewer. What your providers "
        "would have billed for them cannot be said: it takes 5 checks completed on your own keys in these days, and "
        "there was none."
    )


@pytest.fixture
def half_own(acme: Organization) -> Organization:
    """20 checks, all new: 10 on own keys for $0.30, and one of those failed."""
    checks(acme, 10)
    checks(acme, 10, mode="byok", price=1, charged=1)
    checks(acme, 1, mode="byok", status="failed", charged=0)
    for _ in range(11):
        event(acme, cost_nanousd=30_000_000, counts_run=True)
    event(acme, action="bot", cost_nanousd=10**12)
    return acme


def test_own_keys_pay_off_from_a_price_of_a_credit_on(half_own):
    advice = advise(organization=half_own, days=30, now=NOW)

    assert (advice.own.checks, advice.own.spent.cost_nanousd) == (10, 330_000_000)
    assert advice.own_nanousd == 660_000_000  # of 20 checks
    assert advice.break_even_nanousd == 11_000_000  # 60 credits
    assert advice_words.about_mode(advice, None).endswith(
        "Your providers would have billed about $0.66 for them. Your own keys are cheaper where a credit costs you "
        "more than about $0.0110, Managed mode where it costs less."
    )
    assert advice_words.about_mode(advice, 10_000_000).endswith(
        "With a credit at $0.0100 that is $0.80 in Managed mode and about $0.86 on your own keys, credits and "
        "providers together: Managed mode is cheaper by about $0.06."
    )
    assert advice_words.about_mode(advice, 100_000_000).endswith("your own keys are cheaper by about $5.34.")
    assert advice_words.about_mode(advice, 11_000_000).endswith("both cost the same.")


@pytest.mark.parametrize("credit", range(0, 30_000_000, 1_700_000))
def test_what_is_called_cheaper_is(half_own, credit):
    advice = advise(organization=half_own, days=30, now=NOW)
    managed, own = 80 * credit, 20 * credit + 660_000_000

    assert (advice.bill(Mode.MANAGED, credit), advice.bill(Mode.BYOK, credit)) == (managed, own)
    said = advice_words.about_mode(advice, credit)
    assert ("your own keys are cheaper" in said, "Managed mode is cheaper" in said) == (own < managed, managed < own)


def test_where_costs_are_not_known_it_does_not_say_that_own_keys_are_cheaper(half_own):
    event(half_own, cost_nanousd=None, output_tokens=3)
    advice = advise(organization=half_own, days=30, now=NOW)

    assert "cannot be said for sure: the cost of some calls is not known (1 unpriced)" in advice_words.about_mode(
        advice, None
    )
    assert "cannot be said for sure" in advice_words.about_mode(advice, 100_000_000)
    assert advice_words.about_mode(advice, 10_000_000).endswith("Managed mode is cheaper by at least $0.06.")


def test_an_own_server_charges_no_tokens(acme):
    checks(acme, 20, mode="byok", price=1, charged=1)
    event(acme, cost_nanousd=0, price_source=UsageEvent.PriceSource.OWN_SERVER)

    assert "charges no tokens" in advice_words.about_mode(advise(organization=acme, days=30, now=NOW), None)


@pytest.mark.parametrize(("window", "said"), [(30, "Choose a recency window of 60 days"), (60, "Keep"), (90, "Keep")])
def test_the_window_to_choose_is_the_cheapest_and_a_tie_changes_nothing(acme, window, said):
    Organization.objects.filter(pk=acme.pk).update(recency_window_days=window)
    acme.refresh_from_db()
    for _ in range(20):
        text = profile(person(acme))
        check(text, NOW - 45 * DAY)
        check(text, NOW - DAY)

    advice = advise(organization=acme, days=30, now=NOW)

    assert advice_words.about_window(advice).startswith(said)
    assert advice.saved_by_window == (40 if window == 30 else 0)
    assert min(choice.managed for choice in advice.choices) == advice.best.managed


def test_savings_are_told_in_the_credits_of_the_mode_of_now(acme, simulated_providers):
    for _ in range(20):
        text = profile(person(acme))
        check(text, NOW - 45 * DAY)
        check(text, NOW - DAY)
    assert "40 credits fewer" in advice_words.about_window(advise(organization=acme, days=30, now=NOW))

    route_to_own_key(acme)

    assert "20 credits fewer" in advice_words.about_window(advise(organization=acme, days=30, now=NOW))


def test_nobody_checked_again_is_no_reason_to_change(acme):
    checks(acme, 20)

    said = advice_words.about_window(advise(organization=acme, days=30, now=NOW))
    assert said.startswith("No recency window would have saved anything")


def test_a_short_history_is_said(acme):
    checks(acme, 20)
    assert "Your first check completed on 2026-11-20." in advice_words.about_history(
        advise(organization=acme, days=30, now=NOW)
    )

    checks(acme, 1, at=NOW - 130 * DAY)
    assert advice_words.about_history(advise(organization=acme, days=30, now=NOW)) == ""


def test_where_nothing_is_managed_it_speaks_of_own_keys_alone(as_bob, acme, simulated_providers):
    checks(acme, 20, at=datetime.now(NOW.tzinfo) - timedelta(hours=1), mode="byok", price=1, charged=1)
    page = "/o/acme/consumption/advisor/"
    assert "Managed" not in as_bob.get(page).text.partition("<main")[2]
    assert "Own keys, credits" in as_bob.get(page).text

    connect_managed_key()
    assert "Managed, credits" in as_bob.get(page).text


@pytest.mark.parametrize("typed", ["abc", "-1", "1e3", "1001", "0.00001"])
def test_a_price_that_is_none_is_said_beside_its_field(as_bob, acme, simulated_providers, typed):
    connect_managed_key()
    response = as_bob.get("/o/acme/consumption/advisor/", {"credit": typed, "days": "60"})

    assert response.status_code == 422
    assert "Enter a number from 0" in response.text
    assert response.context["advice"].days == 60


def test_many_checks_are_read_in_few_statements_by_index(acme, globex):
    for organization in (acme, globex):
        people = Candidate.objects.bulk_create(
            Candidate(organization=organization, name="Somebody") for _ in range(1500)
        )
        texts = Profile.objects.bulk_create(
            Profile(organization=organization, candidate=each, version=version, content={}, digest=f"{version}")
            for each in people
            for version in (1, 2)
        )
        briefing = Briefing.objects.create(organization=organization, title="Engineer")
        CandidateCheck.objects.bulk_create(
            CandidateCheck(
                organization=organization,
                briefing=briefing,
                candidate_id=each.candidate_id,
                profile=each,
                route={},
                status="completed",
                mode="managed",
                kind="new",
                price=4,
                charged=4,
                is_latest=False,
                accepted_at=NOW - DAY + timedelta(seconds=each.version),
                completed_at=NOW - DAY + timedelta(seconds=each.version),
            )
            for each in texts
        )
    analyze("candidates_candidatecheck", "candidates_profile")

    with scope(acme, "as its pages do"), plans_of_what_is_asked() as asked:
        advice = advise(organization=acme, days=30, now=NOW)

    assert (advice.checks, advice.has_more) == (2000, True)
    assert len(asked) <= 25
    plans = [plan for sql, plan in asked if 'FROM "candidates_candidatecheck"' in sql]
    assert any("check_ended" in plan for plan in plans)
    if connection.vendor == "sqlite":
        assert any("check_by_candidate (organization_id=? AND candidate_id=?)" in plan for plan in plans)
        assert not any(line.startswith("SCAN candidates") for plan in plans for line in plan.splitlines())
