"""The JSON API of candidate checks, as a program meets it."""

from __future__ import annotations

import json
import uuid

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from billing.ledger import balance
from candidates.models import Candidate, CandidateCheck, Profile
from organizations.models import ApiToken, AuditEvent
from tests.candidates.api_program import RESUME, URL

# What a program is told ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_check_is_asked_for_and_then_read_with_its_result(acme, alice, program, briefing, maya):
    accepted = program.ask({"candidateId": maya.pk, "briefingId": briefing.pk})
    found = program.read(accepted.json()["candidateCheckId"])

    check = CandidateCheck.objects.get()
    assert accepted.status_code == found.status_code == 200
    assert accepted.json() == {
        "candidateCheckId": str(check.pk),
        "resultUrl": f"http://localhost:8000/o/acme/checks/{check.pk}/",
    }
    told = found.json()
    assert (told["status"], told["charged"], told["failure"]) == ("Completed", 4, None)
    assert told["result"]["category"] in ("strong", "possible", "none")
    assert [each["requirement"] for each in told["result"]["verdicts"]] == ["Django", "Kubernetes"]
    assert told["result"]["verdicts"][0]["verdict"] == "met"
    assert (check.created_by, balance(organization=acme).available) == (alice, 96)


def test_a_check_that_still_runs_says_so_and_has_no_result(program, briefing, maya, waiting):
    accepted = program.ask({"candidateId": maya.pk, "briefingId": briefing.pk}).json()

    told = program.read(accepted["candidateCheckId"]).json()

    assert (told["status"], told["result"], told["charged"], told["price"]) == ("Pending", None, None, 4)


@pytest.mark.django_db(transaction=True)
def test_a_check_that_failed_says_why_and_cost_nothing(acme, program, briefing):
    profile = {"basics": {"name": "Nils", "summary": "[[simulate-unparsable]]"}}

    accepted = program.ask({"profile": profile, "briefingId": briefing.pk}).json()

    told = program.read(accepted["candidateCheckId"]).json()
    assert (told["status"], told["charged"], told["result"]) == ("Failed", 0, None)
    assert "could not be read" in told["failure"]


@pytest.mark.django_db(transaction=True)
def test_the_api_works_over_asgi(program, briefing, maya):
    accepted = async_to_sync(AsyncClient().post)(
        URL,
        json.dumps({"candidateId": maya.pk, "briefingId": briefing.pk}),
        content_type="application/json",
        headers=program.headers,
    )

    found = async_to_sync(AsyncClient().get)(f"{URL}/{accepted.json()['candidateCheckId']}", headers=program.headers)
    assert found.json()["status"] == "Completed"


# Whom to check ----------------------------------------------------------------------------------------------


def test_a_person_is_found_by_any_spelling_of_the_profile_link(acme, program, briefing, maya, waiting):
    Candidate.objects.filter(pk=maya.pk).update(link="https://linkedin.com/in/maya-lind")

    response = program.ask(
        {"linkedinProfileLink": "http://de.linkedin.com/in/Maya-Lind/?trk=x", "briefingId": briefing.pk}
    )

    assert response.status_code == 200
    assert CandidateCheck.objects.get().candidate == maya


def test_a_link_that_nobody_imported_says_what_to_do(acme, globex, program, briefing, maya):
    Candidate.objects.create(organization=globex, name="Theirs", link="https://linkedin.com/in/theirs")

    theirs, nobodys = (
        program.ask({"linkedinProfileLink": f"https://linkedin.com/in/{name}", "briefingId": briefing.pk})
        for name in ("theirs", "nobodys")
    )

    assert theirs.status_code == nobodys.status_code == 404
    assert "send `profile`" in theirs.json()["error"]
    assert theirs.content == nobodys.content


def test_an_inline_profile_is_imported_once_and_checked(acme, alice, program, briefing, waiting):
    body = {"profile": RESUME, "briefingId": briefing.pk}

    first, again = program.ask(body), program.ask(body)

    person = Candidate.objects.get()
    assert (person.name, person.email) == ("Maya Lind", "maya@people.example")
    assert CandidateCheck.objects.get().candidate == person
    assert first.json() == again.json()
    assert AuditEvent.objects.get(action="profiles.imported").actor == alice


def test_an_inline_profile_of_a_known_person_becomes_their_newest_version(program, briefing, maya, waiting):
    changed = {"basics": {"name": maya.name, "email": maya.email, "summary": "Runs Kubernetes now."}}

    program.ask({"profile": changed, "briefingId": briefing.pk})

    assert CandidateCheck.objects.get().candidate == maya
    assert CandidateCheck.objects.get().profile.version == 2
    assert Profile.objects.count() == 2


def test_a_profile_without_any_key_is_found_again_by_its_content(program, briefing, waiting):
    response = program.ask({"profile": {"basics": {"name": "Nils"}}, "briefingId": briefing.pk})

    assert response.status_code == 200
    assert CandidateCheck.objects.get().candidate.name == "Nils"


# What the API is not -----------------------------------------------------------------------------------------------


def test_a_session_is_no_way_in(as_alice, alice, acme, briefing, maya):
    for response in (
        as_alice.post(URL, json.dumps({"candidateId": maya.pk, "briefingId": briefing.pk}), "application/json"),
        as_alice.get(f"{URL}/{uuid.uuid4()}"),
    ):
        assert response.status_code == 401
    assert not CandidateCheck.objects.exists()


def test_the_api_sets_no_cookie_and_keeps_no_session(program, briefing, maya, waiting):
    response = program.ask({"candidateId": maya.pk, "briefingId": briefing.pk})

    assert not response.cookies
    assert "no-store" in response["Cache-Control"]


def test_the_description_names_every_operation_and_how_to_prove_who_asks(client, db):
    described = client.get("/api/v1/openapi.json").json()

    operations = [operation for path in described["paths"].values() for operation in path.values()]
    assert set(described["paths"]) == {
        "/api/v1/candidate-check",
        "/api/v1/candidate-check/{check_id}",
        "/api/v1/calls/{call_id}",
        "/api/v1/exports/{format}",
    }
    assert all(operation["security"] == [{"TokenAuth": []}] for operation in operations)
    assert set(operations[0]["responses"]) == {"200", "400", "401", "402", "403", "404", "409", "413"}
    assert described["components"]["securitySchemes"]["TokenAuth"] == {"type": "http", "scheme": "bearer"}


def test_an_address_that_leads_nowhere_answers_in_json(client, db):
    for path in ("/api/v1/", "/api/v1/nothing", "/api/v2/candidate-check", "/api/v1/candidate-check/"):
        response = client.get(path)

        assert response.status_code == 404, path
        assert list(response.json()) == ["error"], path


@pytest.mark.parametrize("debug", [False, True])
def test_a_crash_shows_nothing_of_the_request(program, briefing, maya, settings, monkeypatch, debug):
    def crash(**_: object) -> None:
        raise RuntimeError(program.headers["Authorization"])

    settings.DEBUG = debug
    monkeypatch.setattr("candidates.api.accept_check", crash)
    program.client.raise_request_exception = False

    response = program.ask({"candidateId": maya.pk, "briefingId": briefing.pk})

    assert response.status_code == 500
    assert ApiToken.objects.get().prefix in program.headers["Authorization"]
    assert program.headers["Authorization"].rpartition("_")[2] not in response.content.decode()
