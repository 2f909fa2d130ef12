"""Workers whose own clock is off by an hour: each check is claimed once and costs one call."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from billing.verification import verify_ledger
from candidates import acceptance, briefings
from candidates.acceptance import accept_checks, organizations_with_waiting_checks
from candidates.check_work import OrganizationWork
from candidates.models import Briefing, CandidateCheck
from candidates.worker import run_pending_checks
from gateway.sweeping import sweep_lost_calls
from organizations import clock
from providers.keys.validation import request_validation, requeue_validations
from providers.models import ProviderKey
from tests import serving_role
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing
from usage.models import InFlightCall, UsageEvent

HOUR = timedelta(hours=1)
PEOPLE = 24
DJANGO = "Builds Django services."
AHEAD_AND_BEHIND = pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
WORKER = """
import time, django
from datetime import timedelta
from django.utils import timezone
now, truth = timezone.now, time.time
timezone.now = lambda: now() + timedelta(seconds={off})
time.time = lambda: truth() + {off}
django.setup()
from candidates.tasks import run_checks
run_checks()
"""


@pytest.fixture
def accepted(acme, simulated_providers, monkeypatch) -> list[CandidateCheck]:
    """Checks that wait for a worker."""
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)
    route_to_own_key(acme)
    give_credits(acme, PEOPLE)
    briefing = write_briefing(acme, ("Django", "must"))
    people = import_people(acme, *[DJANGO] * PEOPLE)
    return accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=clock.now()).checks


def be_off(monkeypatch, off: timedelta) -> None:
    truth = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: truth() + off)


def assert_each_was_checked_once(organization) -> None:
    status = CandidateCheck.Status.COMPLETED
    assert CandidateCheck.objects.filter(organization=organization, status=status, attempts=1).count() == PEOPLE
    assert UsageEvent.objects.filter(organization=organization, action="candidate_check").count() == PEOPLE
    assert not InFlightCall.objects.filter(organization=organization).exists()
    assert verify_ledger(organization=organization) == []


@pytest.mark.django_db
@AHEAD_AND_BEHIND
def test_a_worker_whose_clock_is_off_does_the_work_that_waits(acme, accepted, monkeypatch, off):
    be_off(monkeypatch, off)

    run_pending_checks(organization_id=acme.pk)

    assert_each_was_checked_once(acme)
    leaving = UsageEvent.objects.filter(organization=acme).values_list("occurred_at", flat=True)
    assert all(abs(at - clock.now()) < timedelta(minutes=5) for at in leaving)


@pytest.mark.django_db
@AHEAD_AND_BEHIND
def test_what_another_worker_has_in_hand_stays_with_it(acme, accepted, monkeypatch, off):
    worker = OrganizationWork(acme)
    assert len(worker._claim(PEOPLE)) == PEOPLE
    be_off(monkeypatch, off)

    assert OrganizationWork(acme)._claim(PEOPLE) == []
    assert organizations_with_waiting_checks(now=clock.now()) == []


@pytest.mark.django_db
@AHEAD_AND_BEHIND
def test_the_jobs_that_find_what_was_lost_take_nothing_that_goes_on(acme, accepted, monkeypatch, off):
    key = ProviderKey.objects.get(organization=acme)
    monkeypatch.setattr("providers.keys.validation._queue", lambda *_: None)
    monkeypatch.setattr("candidates.briefings.async_task", lambda *_, **__: None)
    request_validation(key=key, actor=None, now=clock.now())
    draft = briefings.request_draft(organization=acme, job_description="Django", actor=None, now=clock.now())
    (claim, *_) = OrganizationWork(acme)._claim(PEOPLE)
    OrganizationWork(acme)._prepare(claim, 2)
    be_off(monkeypatch, off)

    assert requeue_validations(now=clock.now()) == 0
    assert briefings.requeue_drafts(now=clock.now()) == 0
    assert sweep_lost_calls(now=clock.now()) == 0
    assert Briefing.objects.get(pk=draft.pk).state == Briefing.State.DRAFTING


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="two more processes need the PostgreSQL pass")
@pytest.mark.django_db(transaction=True)
@AHEAD_AND_BEHIND
def test_of_two_workers_one_is_an_hour_off_and_each_check_costs_one_call(acme, accepted, simulated_providers, off):
    simulated_providers.app.delay_seconds = 0.3
    origins = ",".join(f"{name}={url}" for name, url in settings.KEYFARE_PROVIDER_ORIGINS.items())
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": serving_role.database_url(),
        "KEYFARE_PROVIDER_ORIGINS": origins,
        "KEYFARE_CHECKS_IN_FLIGHT": "4",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER.format(off=seconds)],
            cwd=settings.BASE_DIR,
            env=environment,
        )
        for seconds in (0, off.total_seconds())
    ]
    assert [worker.wait(timeout=90) for worker in workers] == [0, 0]

    assert_each_was_checked_once(acme)
