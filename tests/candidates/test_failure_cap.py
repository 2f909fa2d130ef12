"""Managed checks that fail after an answer cost the operator money: how many may on one day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from billing.ledger import balance
from billing.verification import verify_ledger
from candidates.acceptance import accept_checks
from candidates.failure_cap import TooManyFailures, refuse_after_failures
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from providers.models import ProviderKey
from tests.builders import connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing
from usage.models import InFlightCall, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
DJANGO = "Builds Django services."
NONSENSE = "Builds Django services. [[simulate-unparsable]]"


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"))


@pytest.fixture(autouse=True)
def cap_of_two(settings):
    settings.KEYFARE_MANAGED_DAILY_FAILURES = 2
    settings.KEYFARE_CHECKS_IN_FLIGHT = 1


def start(briefing, people, now=None) -> list[CandidateCheck]:
    return accept_checks(
        organization=briefing.organization,
        briefing=briefing,
        candidates=people,
        actor=None,
        now=now or timezone.now(),
    ).checks


def run(briefing, *texts: str) -> list[CandidateCheck]:
    rows = start(briefing, import_people(briefing.organization, *texts))
    run_pending_checks(organization_id=briefing.organization_id)
    return [CandidateCheck.objects.get(pk=row.pk) for row in rows]


def test_after_so_many_answered_failures_no_managed_check_is_accepted_until_the_next_utc_day(acme, globex, briefing):
    connect_managed_key()
    give_credits(acme, 100)
    give_credits(globex, 100)
    run(briefing, NONSENSE, NONSENSE)
    (person,) = import_people(acme, DJANGO)

    with pytest.raises(TooManyFailures, match="2 Managed checks of your organization failed today"):
        start(briefing, [person])

    assert balance(organization=acme).held == 0
    others = write_briefing(globex, ("Django", "must"))
    assert start(others, import_people(globex, DJANGO))
    midnight = datetime.combine(timezone.now().astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
    with pytest.raises(TooManyFailures):
        refuse_after_failures(organization=acme, mode="managed", now=midnight - timedelta(microseconds=1))
    assert start(briefing, [person], now=midnight)


def test_checks_that_wait_when_the_cap_is_reached_fail_uncalled_and_their_holds_are_released(acme, briefing):
    connect_managed_key()
    give_credits(acme, 100)

    rows = run(briefing, *[NONSENSE] * 6)

    called = set(UsageEvent.objects.values_list("run_id", flat=True))
    assert [row.status for row in rows] == ["failed"] * 6
    assert sum(row.run_id in called for row in rows) == 2
    assert sum("2 Managed checks of your organization failed today" in row.why_failed for row in rows) == 4
    assert (balance(organization=acme).held, balance(organization=acme).available) == (0, 100)
    assert verify_ledger(organization=acme) == []
    assert not InFlightCall.objects.exists()


def test_with_many_in_flight_the_cap_is_overshot_by_those_at_most(acme, briefing, settings):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 4
    connect_managed_key()
    give_credits(acme, 200)

    rows = run(briefing, *[NONSENSE] * 20)

    assert 2 <= sum(row.failed_after_answer for row in rows) < 2 + 4


def test_failures_without_an_answer_do_not_count(acme, briefing):
    connect_managed_key()
    give_credits(acme, 100)
    people = import_people(acme, *[DJANGO] * 3)
    start(briefing, people)
    ProviderKey.objects.update(status="invalid")
    run_pending_checks(organization_id=acme.pk)
    assert CandidateCheck.objects.filter(status="failed", failed_after_answer=False).count() == 3
    ProviderKey.objects.update(status="connected")

    assert start(briefing, people)


def test_a_refused_call_does_not_count(acme, briefing):
    connect_managed_key(kind="no-credit")
    give_credits(acme, 100)
    ProviderKey.objects.update(status="connected")

    rows = run(briefing, DJANGO)

    assert [(row.status, row.failed_after_answer) for row in rows] == [("failed", False)]


def test_completed_checks_and_checks_on_own_keys_do_not_count_and_are_not_refused(acme, briefing):
    connect_managed_key()
    give_credits(acme, 100)
    run(briefing, NONSENSE, NONSENSE, DJANGO)
    route_to_own_key(acme)

    rows = run(briefing, *[NONSENSE] * 3, DJANGO)

    assert [row.status for row in rows].count("completed") == 1
    assert all(len(set(UsageEvent.objects.filter(run_id=row.run_id))) >= 1 for row in rows)
    assert CandidateCheck.objects.filter(failed_after_answer=True).count() == 2


def test_pages_api_and_command_say_it(acme, as_bob, briefing, program):
    connect_managed_key()
    give_credits(acme, 100)
    (failed, _) = run(briefing, NONSENSE, NONSENSE)
    (person,) = import_people(acme, DJANGO)
    address = reverse("candidates:run", args=["acme", briefing.pk])

    page = as_bob.get(reverse("candidates:briefing", args=["acme", briefing.pk]) + "?tab=candidates")
    posted = as_bob.post(address, {"candidates": [person.pk], "agreed": "4", "count": "1"})
    again = as_bob.post(reverse("candidates:check-again", args=["acme", failed.pk]), {"agreed": "4"})
    asked = program.ask({"briefingId": briefing.pk, "candidateId": person.pk})
    with pytest.raises(CommandError, match="failed today"):
        call_command("run_checks", organization="acme", briefing=briefing.pk)

    assert [page.status_code, posted.status_code, again.status_code, asked.status_code] == [200, 422, 422, 409]
    for answer in (page, posted, again):
        assert "2 Managed checks of your organization failed today (UTC)" in answer.content.decode()
    assert "2 Managed checks of your organization failed today (UTC)" in asked.json()["error"]
    assert CandidateCheck.objects.count() == 2


def test_an_index_serves_the_count(acme, django_assert_num_queries):
    with django_assert_num_queries(1):
        refuse_after_failures(organization=acme, mode="managed", now=timezone.now())
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, CandidateCheck._meta.db_table)
    assert constraints["check_failed_after_answer"]["columns"] == ["organization_id", "completed_at"]
