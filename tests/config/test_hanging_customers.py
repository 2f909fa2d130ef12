"""
A worker as `manage.py qcluster` runs it, and customers whose provider takes every call and answers none.

Their calls hang until the test lets go. So whatever another customer gets meanwhile, it gets while they hang.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.db import connection

from candidates.acceptance import accept_checks
from candidates.briefings import request_draft
from candidates.models import Briefing, CandidateCheck
from config.schedules import ensure_schedules
from organizations import clock
from organizations.models import Organization
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.keys.validation import request_validation
from providers.models import KeyValidation
from tests import serving_role
from tests.builders import give_credits, import_people, write_briefing
from tests.stuck_server import STUCK, StuckServer, route_to, stuck_server
from usage.models import InFlightCall

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="needs several processes on one database"),
    pytest.mark.django_db(transaction=True),
]
PATIENCE_SECONDS = 120  # calls hang for longer
DJANGO = "Builds Django services."
Done = KeyValidation.State.DONE


@pytest.fixture
def server(settings, monkeypatch) -> Iterator[StuckServer]:
    monkeypatch.setattr("django_q.conf.Conf.SYNC", False)  # tasks are left to the worker
    with stuck_server() as running:
        settings.KEYFARE_PROVIDER_ORIGINS = running.origins
        yield running


@pytest.fixture
def start_worker(server) -> Iterator[Callable[[], None]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        environment = {
            **os.environ,
            "DATABASE_URL": serving_role.database_url(),
            "KEYFARE_PROVIDER_ORIGINS": ",".join(f"{name}={url}" for name, url in server.origins.items()),
            "KEYFARE_TASKS_INLINE": "0",
            "KEYFARE_CALL_TIMEOUT_SECONDS": "500",
            "KEYFARE_STOP_GRACE_SECONDS": "1",
            "EMAIL_URL": "consolemail://",
        }
        command = [sys.executable, "manage.py", "qcluster"]
        started.append(subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment))

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_for(condition: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, f"Waited in vain for: {what}"
        time.sleep(0.1)


def customer(name: str, *, never_answers: bool) -> Organization:
    organization = Organization.objects.create(name=name, slug=name)
    route_to(organization, never_answers=never_answers)
    give_credits(organization, 1000)
    return organization


def check(organization: Organization, people: int, title: str = "Engineer") -> list[CandidateCheck]:
    return accept_checks(
        organization=organization,
        briefing=write_briefing(organization, ("Django", "must"), title=title),
        candidates=import_people(organization, *[DJANGO] * people),
        actor=None,
        now=clock.now(),
    ).checks


def draft(organization: Organization) -> Briefing:
    return request_draft(organization=organization, job_description="Django", actor=None, now=clock.now())


def validate(organization: Organization, label: str) -> KeyValidation:
    kind = STUCK.decode() if label.startswith("stuck") else "answers"
    key = save_provider_key(
        organization=organization,
        provider="openrouter",
        secret=Secret(f"sk-or-v1-simulated-valid-{kind}-{label}"),
        actor=None,
        now=clock.now(),
        label=label,
    )
    return request_validation(key=key, actor=None, now=clock.now())


@pytest.mark.parametrize("of", [1, 2], ids=["of one customer", "of two customers"])
def test_checks_a_validation_and_a_draft_of_another_customer_are_done_while_two_batches_hang(server, start_worker, of):
    stuck = [customer(f"stuck-{number}", never_answers=True) for number in range(of)]
    acme = customer("acme", never_answers=False)
    ensure_schedules()
    server.is_stuck = True
    for number in range(2):
        check(stuck[number % of], 100, title=f"Batch {number}")
    for organization in stuck:
        for number in range(10):
            validate(organization, f"stuck {number}")
            draft(organization)
    start_worker()
    hanging = InFlightCall.objects.filter(organization__in=stuck)
    wait_for(lambda: server.held >= 64 * of + 2 * of, "calls that hang")
    before = set(hanging.values_list("pk", flat=True))

    (checked,) = check(acme, 1)
    validation, briefing = validate(acme, "answers"), draft(acme)
    waits = {
        "check": lambda: CandidateCheck.objects.filter(pk=checked.pk, status="completed").exists(),
        "validation": lambda: KeyValidation.objects.filter(pk=validation.pk, state=Done, outcome="connected").exists(),
        "draft": lambda: Briefing.objects.filter(pk=briefing.pk, state="review").exists(),
    }
    for what, is_done in waits.items():
        wait_for(is_done, f"the {what} of another customer")

    assert before <= set(hanging.values_list("pk", flat=True))  # none of them has ended
    assert not CandidateCheck.objects.filter(organization__in=stuck, status__in=["completed", "failed"]).exists()
