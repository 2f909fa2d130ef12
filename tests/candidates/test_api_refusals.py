"""What the JSON API refuses, and how: a status and one sentence, never a server error."""

from __future__ import annotations

import itertools
import uuid

import pytest
from django.test import Client

from candidates.models import Briefing, Candidate, CandidateCheck
from organizations.models import DoneRequest
from tests.builders import connect_managed_key, import_people, write_briefing
from tests.candidates.api_program import URL, Program, token

ABSENT = 987_654_321


def test_a_refusal_is_one_sentence_in_one_shape(acme, alice, program, briefing, maya):
    empty = Briefing.objects.create(organization=acme, title="Nothing asked")
    wrong = {
        400: program.ask({"briefingId": briefing.pk}),
        401: Client().post(URL),
        403: Program("kf_00000000_" + "0" * 43).ask({}),
        404: program.ask({"candidateId": maya.pk, "briefingId": ABSENT}),
        405: Client().delete(URL),
        409: program.ask({"candidateId": maya.pk, "briefingId": empty.pk}),
    }

    for status, response in wrong.items():
        assert response.status_code == status, response.content
        assert list(response.json()) == ["error"]
        assert response.json()["error"].endswith(".")
        assert response["Content-Type"].startswith("application/json")
    assert wrong[401]["WWW-Authenticate"] == "Bearer"
    assert wrong[405]["Allow"] == "POST"
    assert not CandidateCheck.objects.exists()


def test_not_enough_credits_is_402_and_starts_nothing(globex, charlie, simulated_providers):
    connect_managed_key()
    briefing = write_briefing(globex, ("Django", "must"))
    (person,) = import_people(globex, "Builds Django services.")

    response = Program(token(globex, charlie)).ask(
        {"candidateId": person.pk, "briefingId": briefing.pk}, **{"Idempotency-Key": "1"}
    )

    assert response.status_code == 402
    assert "4 credits" in response.json()["error"]
    assert not CandidateCheck.objects.exists()
    assert not DoneRequest.objects.exists()  # the same key may be sent again when there are credits


def test_a_route_that_cannot_run_is_409_with_what_to_mend(globex, charlie):
    briefing = write_briefing(globex, ("Django", "must"))
    (person,) = import_people(globex, "Builds Django services.")

    response = Program(token(globex, charlie)).ask({"candidateId": person.pk, "briefingId": briefing.pk})

    assert response.status_code == 409
    assert "No model serves" in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ("", "object"),
        ("{", "not JSON"),
        ("null", "object"),
        ("[]", "object"),
        ('"text"', "object"),
        ("12", "object"),
        (b"\xff\xfe{}", "not JSON"),
        ("{}", "briefingId is missing"),
        ('{"briefingId": null, "candidateId": 1}', "briefingId"),
        ('{"briefingId": "1", "candidateId": 1}', "briefingId"),
        ('{"briefingId": true, "candidateId": 1}', "briefingId"),
        ('{"briefingId": 1.5, "candidateId": 1}', "briefingId"),
        ('{"briefingId": NaN, "candidateId": 1}', "briefingId"),
        ('{"briefingId": [1], "candidateId": 1}', "briefingId"),
        ('{"briefingId": 1, "candidateId": {"a": 1}}', "candidateId"),
        ('{"briefingId": ' + "9" * 5000 + ', "candidateId": 1}', "not JSON"),
        ('{"briefingId": 1, "linkedinProfileLink": 5}', "linkedinProfileLink"),
        ('{"briefingId": 1, "linkedinProfileLink": "\\ud800"}', "linkedinProfileLink"),
        ('{"briefingId": 1, "profile": "text"}', "profile"),
        ('{"briefingId": 1, "profile": {}}', "profile"),
        ('{"briefingId": 1, "profile": {"basics": {"name": "x", "n": NaN}}}', "profile"),
        ('{"briefingId": 1, "profile": {"basics": 5}}', "profile"),
        ('{"briefingId": 1, "profile": {"a":' + "[" * 200 + "]" * 200 + "}}", "profile"),
        ('{"a":' * 100_000, "not JSON"),
        ("[" * 200_000 + "]" * 200_000, "not JSON"),
        ('{"briefingId": 1}', "exactly one of"),
        ('{"briefingId": 1, "candidateId": 1, "profile": {"basics": {"name": "x"}}}', "exactly one of"),
        ('{"briefingId": 1, "candidateId": 1, "price": 0}', "price is not a field"),
        ('{"briefingId": 1, "candidateId": 1, "organization": 2}', "organization is not a field"),
        ('{"briefingId": 1, "linkedinProfileLink": "https://linkedin.com/in/a\\u0000b"}', "linkedinProfileLink"),
    ],
    ids=itertools.count(),
)
def test_a_body_that_makes_no_sense_is_400_and_says_what_is_wrong(program, body, about):
    response = program.ask(body)

    assert response.status_code == 400, response.content
    assert about in response.json()["error"]
    assert not CandidateCheck.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"linkedinProfileLink": "\x00", "briefingId": 1},
        {"linkedinProfileLink": "https://linkedin.com/in/a\x00b", "briefingId": 1},
        {"linkedinProfileLink": "https://linkedin.com/in/" + "x" * 5000, "briefingId": 1},
        {"linkedinProfileLink": "' OR 1=1 --", "briefingId": 1},
        {"candidateId": 10**30, "briefingId": 1},
        {"candidateId": -1, "briefingId": 1},
        {"candidateId": 1, "briefingId": 10**30},
        {"candidateId": 1, "briefingId": -(2**63)},
    ],
    ids=str,
)
def test_values_that_nothing_has_are_not_found_or_refused(program, briefing, body):
    body = {**body, "briefingId": briefing.pk if body["briefingId"] == 1 else body["briefingId"]}

    assert program.ask(body).status_code in (400, 404)


def test_nul_in_a_profile_is_left_out(program, briefing, waiting):
    body = {"profile": {"basics": {"name": "Ma\x00ya\ud800", "summary": "\x00"}}, "briefingId": briefing.pk}

    assert program.ask(body).status_code == 200
    assert Candidate.objects.get().name == "Maya\ufffd"


def test_a_body_above_10_mb_is_413(program):
    response = program.ask(b'{"profile": "' + b"x" * 10 * 1024 * 1024 + b'"}')

    assert response.status_code == 413
    assert "10 MB" in response.json()["error"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_another_content_type_is_no_server_error(program, content_type):
    for body in ("briefingId=1", "{}", "\x00"):
        response = program.client.post(URL, body, content_type=content_type, headers=program.headers)

        assert response.status_code == 400


@pytest.mark.parametrize("check_id", ["1", "x", "\x00", "9" * 5000, "%00", "../../settings", uuid.uuid4(), "🦄"])
def test_an_id_that_no_check_has_is_404(program, check_id):
    response = program.read(check_id)

    assert response.status_code == 404
    assert response.json()["error"].endswith(".")
