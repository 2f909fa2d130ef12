"""
Worker processes killed in the middle of their checks, on PostgreSQL, with real processes and real SIGKILLs.

`make test-security` kills a hundred of them at random points, `make test` five.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Q, Sum

from billing.ledger import balance
from billing.models import LedgerEntry
from billing.verification import verify_ledger
from candidates import acceptance
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck, RequirementVerdict
from candidates.worker import run_pending_checks
from gateway.sweeping import sweep_lost_calls
from organizations import clock
from tests import serving_role
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing
from tests.security.budget import IS_FULL
from usage.models import InFlightCall, UsageEvent

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a second process needs the PostgreSQL pass"),
    pytest.mark.django_db(transaction=True),
]
KILLS = 100 if IS_FULL else 5
CHECKS_A_KILL = 60  # more than are done before it
LONGEST_LIFE_SECONDS = 0.6  # of a worker that has begun
WORKER = """
import sys
import django
django.setup()
from candidates.tasks import run_checks
for line in sys.stdin:
    print("at it", flush=True)
    run_checks()
"""
Status = CandidateCheck.Status


def worker_process() -> subprocess.Popen[str]:
    """One that has started and works once it reads a line."""
    origins = ",".join(f"{name}={url}" for name, url in settings.KEYFARE_PROVIDER_ORIGINS.items())
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": serving_role.database_url(),
        "KEYFARE_PROVIDER_ORIGINS": origins,
        "KEYFARE_CHECKS_IN_FLIGHT": "16",
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=settings.BASE_DIR,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "at it\n"


def kill(worker: subprocess.Popen[str]) -> None:
    worker.send_signal(signal.SIGKILL)
    worker.communicate()


def accept(organization, briefing, people) -> None:
    """Each person once more, of those whose last check has ended."""
    give_credits(organization, len(people))
    accept_checks(organization=organization, briefing=briefing, candidates=people, actor=None, now=clock.now())


def test_workers_killed_at_any_point_lose_no_call_charge_nothing_twice_and_end_every_check(
    acme, simulated_providers, monkeypatch
):
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)  # the processes below do the work
    simulated_providers.app.delay_seconds = 0.02
    route_to_own_key(acme)
    briefing = write_briefing(acme, ("Django", "must"), ("Kafka", "nice"))
    people = import_people(acme, *["Builds Django services."] * CHECKS_A_KILL)
    chance = random.Random(KILLS)

    for _ in range(KILLS):
        accept(acme, briefing, people)
        worker = worker_process()
        begin(worker)
        time.sleep(chance.uniform(0, LONGEST_LIFE_SECONDS))
        kill(worker)

        assert verify_ledger(organization=acme) == []
        CandidateCheck.objects.exclude(lease_until=None).update(
            lease_until=clock.now() - timedelta(seconds=1), attempts=0
        )

    admitted = InFlightCall.objects.count()
    run_pending_checks(organization_id=acme.pk)
    assert InFlightCall.objects.count() == admitted, "the calls of those who were killed, and of nobody else"
    assert sweep_lost_calls(now=clock.now() + timedelta(hours=1)) == admitted

    assert_every_check_ended_and_was_charged_once(acme)
    assert_every_call_is_one_event(admitted)


def assert_every_check_ended_and_was_charged_once(acme) -> None:
    checks = CandidateCheck.objects.all()
    assert set(checks.values_list("status", flat=True)) == {Status.COMPLETED}
    captures = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.CAPTURE)
    charged = checks.filter(charged__gt=0)
    assert captures.count() == charged.count() > 0
    assert captures.aggregate(sum=Sum("d_posted"))["sum"] == -charged.aggregate(sum=Sum("charged"))["sum"]
    assert not checks.exclude(charged=F("price")).exists()
    verdicts = RequirementVerdict.objects.values("check_row").annotate(count=Count("pk"))
    assert verdicts.count() == checks.count()
    assert not verdicts.exclude(count=2).exists()
    assert balance(organization=acme).held == 0
    assert verify_ledger(organization=acme) == []


def assert_every_call_is_one_event(lost: int) -> None:
    events = UsageEvent.objects.all()
    assert not InFlightCall.objects.exists()
    assert not events.values("call_id").annotate(count=Count("pk")).filter(count__gt=1).exists()
    assert events.filter(status=UsageEvent.Status.LOST).count() == lost
    assert not events.filter(~Q(status="lost"), no_price="no_answer").exists()
    answered = events.filter(status=UsageEvent.Status.ANSWERED)
    assert answered.values("run_id").distinct().count() == CandidateCheck.objects.count()
    runs = events.filter(counts_run=True)
    assert runs.count() == runs.values("run_id").distinct().count() == CandidateCheck.objects.count()
