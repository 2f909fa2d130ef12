"""Work that meets on the same rows from opposite sides never waits in a circle (docs/locking.md)."""

from __future__ import annotations

import uuid
from functools import partial

import pytest
from django.db import connection

from billing.ledger import balance, grant_credits
from billing.verification import verify_ledger
from candidates import acceptance
from candidates.acceptance import accept_checks
from candidates.check_requests import PURPOSE, accept_check
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from organizations.audit_chain import verify_audit
from organizations.models import Organization
from organizations.once import Once
from providers.models import ProviderKey
from routing.actions import CANDIDATE_CHECK
from routing.models import RoutingRule
from tests.billing.test_concurrency import at_once
from tests.builders import NOW, connect_key, give_credits, import_people
from usage.models import InFlightCall, UsageEvent

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("simulated_providers"),
]


@pytest.fixture(autouse=True)
def _no_work_before_it_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)


def grant(organization: Organization) -> None:
    key = str(uuid.uuid4())
    grant_credits(organization=organization, amount=1, reason="Meanwhile", idempotency_key=key)


def test_checks_that_fail_because_their_key_broke_and_grants_never_wait_in_a_circle(acme, briefing):
    key = connect_key(acme, kind="invalid")
    ProviderKey.objects.filter(pk=key.pk).update(status="connected")
    RoutingRule.objects.create(organization=acme, action=CANDIDATE_CHECK.slug, key=key, model="openai/gpt-4.1-mini")
    give_credits(acme, 20)
    people = import_people(acme, *["Five years of Django."] * 20)
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=NOW)

    work = partial(run_pending_checks, organization_id=acme.pk)
    answers = at_once([work, work, *[partial(grant, acme)] * 60], threads=8)

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert set(CandidateCheck.objects.values_list("status", flat=True)) == {"failed"}
    assert UsageEvent.objects.filter(error_kind="invalid").exists()
    assert not InFlightCall.objects.exists()
    assert balance(organization=acme).available == 100 + 20 + 60  # the briefing came with 100
    assert verify_ledger(organization=acme) == []
    assert verify_audit(organization=acme).problem == ""


def test_a_program_and_a_person_who_check_against_one_briefing_never_wait_in_a_circle(acme, briefing, alice):
    key = connect_key(acme)
    RoutingRule.objects.create(organization=acme, action=CANDIDATE_CHECK.slug, key=key, model="openai/gpt-4.1-mini")
    give_credits(acme, 100)
    people = import_people(acme, *["Five years of Django."] * 16)
    asked = {"organization": acme, "briefing": briefing, "actor": alice, "now": NOW}

    answers = at_once(
        [
            call
            for number, person in enumerate(people)
            for call in (
                partial(accept_check, candidate=person, once=Once(PURPOSE, f"key-{number}", "0" * 64), **asked),
                partial(accept_checks, candidates=[person], **asked),
            )
        ],
        threads=16,
    )

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert CandidateCheck.objects.count() == 16
