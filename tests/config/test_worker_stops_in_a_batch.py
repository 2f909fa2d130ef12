"""A worker that is told to stop in the middle of a batch of checks, and the next one."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from billing.verification import verify_ledger
from candidates import acceptance
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing
from tests.config.worker_processes import Database, running, wait_for
from usage.models import InFlightCall, UsageEvent

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a second process needs the PostgreSQL pass"),
    pytest.mark.django_db(transaction=True),
]
PEOPLE = 40
Status = CandidateCheck.Status


def test_calls_under_way_finish_no_check_begins_and_the_next_worker_goes_on(
    acme, simulated_providers, monkeypatch, tmp_path
):
    simulated_providers.app.delay_seconds = 1
    route_to_own_key(acme)
    give_credits(acme, PEOPLE)
    briefing = write_briefing(acme, ("Django", "must"))
    people = import_people(acme, *["Builds Django services."] * PEOPLE)
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)  # the process below does the work
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    completed = CandidateCheck.objects.filter(status=Status.COMPLETED)
    origins = ",".join(f"{name}={url}" for name, url in settings.KEYFARE_PROVIDER_ORIGINS.items())
    environment = {"KEYFARE_PROVIDER_ORIGINS": origins, "KEYFARE_CHECKS_IN_FLIGHT": "4"}
    database = Database(tmp_path)

    with running(database, **environment) as worker:
        database.enqueue("checks", "candidates.tasks.run_checks", acme.pk)
        wait_for(lambda: completed.count() >= 4, "the first checks")
        assert worker.terminate()[0] == 0

    assert 4 <= completed.count() < PEOPLE
    assert not CandidateCheck.objects.filter(status=Status.IN_PROGRESS).exists()
    assert not InFlightCall.objects.exists()
    assert UsageEvent.objects.count() == completed.count()
    simulated_providers.app.delay_seconds = 0
    with running(database, **environment) as next_worker:
        wait_for(lambda: completed.count() == PEOPLE, "the rest of the batch, by the task that the first worker left")
        assert next_worker.terminate()[0] == 0
    assert UsageEvent.objects.count() == PEOPLE
    assert verify_ledger(organization=acme) == []
