"""Rows keep why a check failed as a code and what it names; pages, the API and commands make the sentence."""

from __future__ import annotations

import html
import json
from importlib import import_module
from io import StringIO
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.failures import Failure
from candidates.models import Briefing, CandidateCheck
from candidates.worker import run_pending_checks
from organizations.models import Organization
from providers.adapters.reasons import reason
from providers.models import ProviderKey
from simulator.app import OPENROUTER
from simulator.wires.base import KeyState
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing

pytestmark = pytest.mark.usefixtures("simulated_providers")
BROKEN = (
    "Your OpenRouter key “Main” has the status Invalid. OpenRouter does not accept this key. Check that it was pasted "
    "whole, or make a new one at openrouter.ai/keys and replace it here."
)


def accepted(organization: Organization) -> CandidateCheck:
    give_credits(organization, 1)
    (check,) = accept_checks(
        organization=organization,
        briefing=write_briefing(organization, ("Django", "must")),
        candidates=import_people(organization, "Builds Django services."),
        actor=None,
        now=timezone.now(),
    ).checks
    return check


def failed(organization: Organization, key: ProviderKey) -> CandidateCheck:
    check = accepted(organization)
    refused = reason("invalid", provider="OpenRouter", key_page="openrouter.ai/keys")
    key.set_status(ProviderKey.Status.INVALID, refused)
    key.save()
    run_pending_checks(organization_id=organization.pk)
    check.refresh_from_db()
    return check


@pytest.fixture
def _later(monkeypatch) -> None:
    monkeypatch.setattr("candidates.acceptance.queue_checks", lambda: None)


@pytest.mark.usefixtures("_later")
def test_a_row_keeps_codes_all_the_way_down_and_no_sentence(acme):
    key = route_to_own_key(acme)

    check = failed(acme, key)

    assert check.failure == ""
    assert check.failure_reason == {
        "code": "route.has_status",
        "parameters": {
            "key": {"code": "route.own_key", "parameters": {"label": key.label, "provider": "OpenRouter"}},
            "status": {"code": "key_status.invalid"},
            "detail": {
                "code": "invalid",
                "parameters": {"provider": "OpenRouter", "key_page": "openrouter.ai/keys"},
            },
        },
    }
    assert check.why_failed == BROKEN.replace("Main", key.label)


@pytest.mark.usefixtures("_later")
def test_every_page_shows_it_in_its_present_words(as_alice, as_staff, acme, monkeypatch):
    check = failed(acme, route_to_own_key(acme))
    monkeypatch.setitem(Failure.sentences, "route.has_status", "{key} ist {status}.")

    pages = [
        as_alice.get(f"/o/acme/checks/{check.pk}/").content.decode(),
        as_alice.get("/o/acme/checks/").content.decode(),
        as_staff.get(f"/admin/candidates/candidatecheck/{check.pk}/change/").content.decode(),
        as_alice.get(f"/o/acme/briefings/{check.briefing_id}/").content.decode(),
    ]

    assert all("” ist Invalid." in page for page in pages)


def test_the_command_counts_what_failed_for_the_same_reason(acme, simulator):
    briefing = write_briefing(acme, ("Django", "must"))
    import_people(acme, "Builds Django services.", "Runs PostgreSQL.")
    give_credits(acme, 2)
    route_to_own_key(acme)
    simulator.app.upcoming.extend([OPENROUTER.refusal(KeyState.NO_CREDIT, "")] * 2)
    output = StringIO()

    call_command("run_checks", organization="acme", briefing=briefing.pk, json=True, stdout=output, stderr=StringIO())

    (said, count), *others = json.loads(output.getvalue())["failures"].items()
    assert said.startswith("The OpenRouter account behind this key has no credit left")
    assert (count, others) == (2, [])


@pytest.mark.usefixtures("_later")
def test_rows_from_before_show_the_text_they_hold(as_alice, acme):
    check = failed(acme, route_to_own_key(acme))
    CandidateCheck.objects.filter(pk=check.pk).update(failure_reason=None, failure="As it was said.")

    assert "As it was said." in as_alice.get(f"/o/acme/checks/{check.pk}/").content.decode()


@pytest.mark.usefixtures("_later")
def test_an_earlier_version_finds_the_sentences_as_text(acme):
    check = failed(acme, route_to_own_key(acme))
    back = import_module("candidates.migrations.0016_failures_as_text").write_texts

    back(apps, SimpleNamespace(connection=connection))

    assert CandidateCheck.objects.get().failure == check.why_failed[:300]


@pytest.mark.parametrize(
    "code", ["route.has_status", "answer.too_long", "check.too_many_failures", "of a later version"]
)
def test_a_row_that_lacks_what_its_code_names_breaks_no_page(code):
    assert "{" not in Failure.from_json({"code": code}).sentence


def test_rows_from_before_hold_what_was_wrong_with_an_answer_as_text():
    stored = {"code": "answer.unreadable", "parameters": {"fault": "it is much too long."}}

    assert Failure.from_json(stored).sentence == "The model's answer could not be read, twice: it is much too long."


def test_a_draft_keeps_why_it_failed_as_a_code_and_an_earlier_version_finds_the_sentence(as_alice, acme):
    briefing = write_briefing(acme)
    why = Failure("answer.unreadable", {"fault": Failure("fault.no_object", {})})
    briefing.set_state(Briefing.State.FAILED, why)
    briefing.save()
    back = import_module("candidates.migrations.0019_briefing_reasons_as_text").write_texts

    briefing.refresh_from_db()
    page = as_alice.get(f"/o/acme/briefings/{briefing.pk}/").content.decode()
    back(apps, SimpleNamespace(connection=connection))

    assert briefing.state_detail == ""
    assert briefing.state_reason == why.as_json()
    assert html.escape(why.sentence) in page
    assert Briefing.objects.get().state_detail == why.sentence
