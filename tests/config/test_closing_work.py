"""Closing an organization ends what it has under way: free of charge, nothing lost, no call begun afterwards."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from billing.ledger import balance
from billing.verification import verify_ledger
from candidates import acceptance
from candidates.acceptance import accept_checks
from candidates.briefings import draft_briefing, request_draft
from candidates.models import Briefing, CandidateCheck
from candidates.worker import run_pending_checks
from config.onboarding import close_organization
from gateway import dispatch
from organizations.invitations import InvitationWithdrawn, digest, find_invitation, invite_member
from organizations.models import AuditEvent, Invitation, Organization
from providers.adapters.secret import Secret
from providers.keys.replacement import replace_provider_key
from providers.keys.validation import request_validation, validate_key
from providers.models import KeyValidation, ProviderKey
from routing.resolve import RouteUnavailable
from tests.builders import (
    NOW,
    connect_key,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from usage.models import InFlightCall, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
Status = CandidateCheck.Status
DJANGO = "Builds Django services on PostgreSQL."
REASON = "The organization was closed before this check was done."


@pytest.fixture(params=["managed", "byok"])
def accepted(request, acme):
    """Three accepted checks of Acme, on managed keys and on its own."""
    if request.param == "managed":
        connect_managed_key()
    else:
        route_to_own_key(acme)
    give_credits(acme, 20)
    accept(acme)
    return acme


def accept(organization: Organization, count: int = 3) -> None:
    briefing = write_briefing(organization, ("Django", "must"))
    people = import_people(organization, *[DJANGO] * count)
    accept_checks(organization=organization, briefing=briefing, candidates=people, actor=None, now=timezone.now())


def close(organization: Organization) -> None:
    close_organization(organization=organization, actor=None, now=NOW)


def test_waiting_checks_fail_free_of_charge_and_their_credits_are_released(accepted, simulator):
    assert balance(organization=accepted).held > 0
    calls = simulator.app.model_calls

    close(accepted)
    run_pending_checks(organization_id=accepted.pk)

    ended = {(check.status, check.why_failed, check.charged) for check in CandidateCheck.objects.all()}
    assert ended == {(Status.FAILED, REASON, 0)}
    now = balance(organization=accepted)
    assert (now.posted, now.held) == (20, 0)
    assert verify_ledger(organization=accepted) == []
    assert simulator.app.model_calls == calls


def test_a_check_under_way_ends_without_another_call_and_is_not_charged(accepted, monkeypatch, settings, simulator):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 1
    calls, send = simulator.app.model_calls, dispatch.send

    async def closed_meanwhile(*arguments):
        outcome = await send(*arguments)
        await sync_to_async(close)(accepted)
        return outcome

    monkeypatch.setattr(dispatch, "send", closed_meanwhile)
    worked = run_pending_checks(organization_id=accepted.pk)

    assert (worked.completed, simulator.app.model_calls) == (0, calls + 1)
    assert set(CandidateCheck.objects.values_list("status", "charged")) == {(Status.FAILED, 0)}
    assert UsageEvent.objects.get().status == "answered", "the call was made, so it is recorded"
    assert not InFlightCall.objects.exists()
    assert balance(organization=accepted).available == 20
    assert verify_ledger(organization=accepted) == []


def test_a_check_claimed_before_the_close_begins_no_call_after_it(accepted, monkeypatch, simulator):
    calls, prepare = simulator.app.model_calls, dispatch.prepare_many

    def closed_first(**arguments):
        Organization.objects.filter(pk=accepted.pk).update(closed_at=NOW)
        return prepare(**arguments)

    monkeypatch.setattr(dispatch, "prepare_many", closed_first)
    run_pending_checks(organization_id=accepted.pk)

    assert simulator.app.model_calls == calls
    assert {(check.status, check.why_failed) for check in CandidateCheck.objects.all()} == {
        (Status.FAILED, "This organization was closed.")
    }
    assert verify_ledger(organization=accepted) == []


def test_nothing_is_accepted_for_an_organization_that_was_closed_meanwhile(acme):
    connect_managed_key()
    give_credits(acme, 20)
    stale = Organization.objects.get(pk=acme.pk)
    close(acme)

    with pytest.raises(RouteUnavailable, match="closed"):
        accept(stale)
    with pytest.raises(RouteUnavailable, match="closed"):
        request_draft(organization=stale, job_description="Must know Django.", actor=None, now=NOW)
    assert not CandidateCheck.objects.exists()
    assert balance(organization=acme).held == 0


def test_a_draft_ends_and_its_late_answer_is_dropped(acme, monkeypatch):
    connect_managed_key()
    briefing = request_draft(organization=acme, job_description="Must know Django.", actor=None, now=NOW)
    send = dispatch.send

    async def closed_meanwhile(*arguments):
        outcome = await send(*arguments)
        await sync_to_async(close)(acme)
        return outcome

    monkeypatch.setattr(dispatch, "send", closed_meanwhile)
    draft_briefing(briefing.pk, now=NOW)

    briefing.refresh_from_db()
    assert (briefing.state, briefing.requirements.count()) == (Briefing.State.FAILED, 0)
    assert "closed" in briefing.why


def test_validations_and_waiting_replacements_go_with_their_keys(acme):
    for label in ("One", "Two", "Three", "Four"):  # in whichever order the rows come
        key = connect_key(acme, label=label)
        pending = replace_provider_key(key=key, secret=Secret("sk-or-v1-simulated-valid-0002"), actor=None, now=NOW)
        waiting = request_validation(key=pending, actor=None, now=NOW)

    close(acme)

    assert not ProviderKey.objects.exists()
    assert not KeyValidation.objects.exists()
    assert validate_key(validation_id=waiting.pk, now=NOW) is None


def test_its_invitations_end_with_it(acme, alice):
    offer = invite_member(organization=acme, email="new@people.example", role="member", actor=alice, now=NOW)

    close_organization(organization=acme, actor=alice, now=NOW)

    assert Invitation.objects.get().revoked_at == NOW
    assert AuditEvent.objects.get(action="invitation.withdrawn").actor == alice
    with pytest.raises(InvitationWithdrawn):
        find_invitation(token_digest=digest(offer.token), now=NOW)


def test_closing_again_ends_what_an_interrupted_close_left(accepted):
    Organization.objects.filter(pk=accepted.pk).update(closed_at=NOW)

    assert not close_organization(organization=accepted, actor=None, now=timezone.now())

    assert set(CandidateCheck.objects.values_list("status", flat=True)) == {Status.FAILED}
    assert balance(organization=accepted).held == 0


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer")
@pytest.mark.django_db(transaction=True)
def test_closing_beside_a_worker_with_calls_in_flight_charges_at_most_what_was_done(
    acme, settings, simulator, monkeypatch
):
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)  # the thread below does the work
    settings.KEYFARE_CHECKS_IN_FLIGHT = 8
    simulator.app.delay_seconds = 0.3
    connect_managed_key()
    give_credits(acme, 160)
    accept(acme, count=40)
    calls = simulator.app.model_calls

    def work() -> None:
        try:
            run_pending_checks(organization_id=acme.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        deadline = time.monotonic() + 30
        while not CandidateCheck.objects.filter(status=Status.COMPLETED).exists():
            assert time.monotonic() < deadline
            assert not worker.done()
            time.sleep(0.01)
        close(acme)
        begun = simulator.app.model_calls
        worker.result(timeout=30)

    rows = CandidateCheck.objects.all()
    done = rows.filter(status=Status.COMPLETED)
    assert rows.filter(status__in=[Status.COMPLETED, Status.FAILED]).count() == 40
    assert rows.filter(status=Status.FAILED).exists()
    assert set(done.values_list("charged", flat=True)) == {4}
    assert set(rows.filter(status=Status.FAILED).values_list("charged", flat=True)) == {0}
    now = balance(organization=acme)
    assert (now.posted, now.held) == (160 - 4 * done.count(), 0)
    assert verify_ledger(organization=acme) == []
    assert not InFlightCall.objects.exists()
    assert UsageEvent.objects.count() == simulator.app.model_calls - calls
    assert simulator.app.model_calls - begun <= 8, "at most those that were admitted before the close"
