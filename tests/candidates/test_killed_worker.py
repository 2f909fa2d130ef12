"""A worker process killed in the middle of its checks, on PostgreSQL, with a real process and a real SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from billing.ledger import balance
from billing.models import LedgerEntry
from billing.verification import verify_ledger
from candidates import acceptance
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from gateway.sweeping import sweep_lost_calls
from tests import serving_role
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing
from usage.models import InFlightCall, UsageEvent

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a second process needs the PostgreSQL pass"),
    pytest.mark.django_db(transaction=True),
]
PEOPLE = 40
WORKER = """
import django
django.setup()
from candidates.tasks import run_checks
run_checks()
"""


def worker_process() -> subprocess.Popen[bytes]:
    origins = ",".join(f"{name}={url}" for name, url in settings.KEYFARE_PROVIDER_ORIGINS.items())
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": serving_role.database_url(),
        "KEYFARE_PROVIDER_ORIGINS": origins,
        "KEYFARE_CHECKS_IN_FLIGHT": "4",
    }
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=settings.BASE_DIR,
        env=environment,
    )


def test_a_worker_killed_in_the_middle_loses_nothing_and_charges_nothing_twice(acme, simulated_providers, monkeypatch):
    simulated_providers.app.delay_seconds = 0.2
    route_to_own_key(acme)
    give_credits(acme, PEOPLE)
    briefing = write_briefing(acme, ("Django", "must"))
    people = import_people(acme, *["Builds Django services."] * PEOPLE)
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)  # the process below does the work
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    completed = CandidateCheck.objects.filter(status=CandidateCheck.Status.COMPLETED)

    worker = worker_process()
    give_up_at = time.monotonic() + 60
    while completed.count() < 5 and time.monotonic() < give_up_at:
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    assert 5 <= completed.count() < PEOPLE
    assert InFlightCall.objects.exists()
    assert verify_ledger(organization=acme) == []
    in_flight = InFlightCall.objects.count()

    CandidateCheck.objects.exclude(lease_until=None).update(lease_until=timezone.now() - timedelta(seconds=1))
    run_pending_checks(organization_id=acme.pk)
    sweep_lost_calls(now=timezone.now() + timedelta(hours=1))

    assert completed.count() == PEOPLE
    captures = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.CAPTURE)
    assert captures.count() == PEOPLE
    assert captures.aggregate(sum=Sum("d_posted"))["sum"] == -PEOPLE
    assert (balance(organization=acme).available, balance(organization=acme).held) == (0, 0)
    assert verify_ledger(organization=acme) == []
    assert UsageEvent.objects.filter(status=UsageEvent.Status.LOST).count() == in_flight
    assert not InFlightCall.objects.exists()
