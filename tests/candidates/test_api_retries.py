"""A program that asks twice, by whatever accident, is neither checked nor charged twice."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection

from billing.ledger import balance
from billing.models import CreditHold, LedgerEntry
from candidates.models import CandidateCheck, Profile
from tests.builders import connect_managed_key, give_credits, import_people, write_briefing
from tests.candidates.api_program import Program, token


def holds() -> int:
    return LedgerEntry.objects.filter(kind=LedgerEntry.Kind.HOLD).count()


@pytest.mark.django_db(transaction=True)
def test_the_same_idempotency_key_gives_the_same_answer_and_charges_once(acme, program, briefing, maya):
    body = {"candidateId": maya.pk, "briefingId": briefing.pk}

    first, again = (program.ask(body, **{"Idempotency-Key": "order-1"}) for _ in range(2))

    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert CandidateCheck.objects.get().status == CandidateCheck.Status.COMPLETED  # the second came after the result
    assert balance(organization=acme).available == 96


@pytest.mark.django_db(transaction=True)
def test_another_key_is_another_check(acme, program, briefing, maya):
    body = {"candidateId": maya.pk, "briefingId": briefing.pk}

    first, second = (program.ask(body, **{"Idempotency-Key": key}) for key in ("order-1", "order-2"))

    assert first.content != second.content
    assert balance(organization=acme).available == 94  # 4 and, as an existing recent check, 2


def test_the_same_key_with_another_body_is_refused(program, acme, briefing, maya, waiting):
    other = write_briefing(acme, ("Python", "must"))
    program.ask({"candidateId": maya.pk, "briefingId": briefing.pk}, **{"Idempotency-Key": "order-1"})

    response = program.ask({"candidateId": maya.pk, "briefingId": other.pk}, **{"Idempotency-Key": "order-1"})

    assert response.status_code == 409
    assert "Idempotency-Key" in response.json()["error"]
    assert CandidateCheck.objects.count() == 1


def test_a_key_that_was_used_imports_nothing_more(program, briefing, maya, waiting):
    """A late retry must not bring an old profile back over a newer one."""
    profiles = [
        {"basics": {"name": maya.name, "email": maya.email, "summary": summary}}
        for summary in ("Old.", "New.", "Other.")
    ]
    old, new, other = ({"profile": profile, "briefingId": briefing.pk} for profile in profiles)
    first = program.ask(old, **{"Idempotency-Key": "1"})
    program.ask(new, **{"Idempotency-Key": "2"})

    again, refused = program.ask(old, **{"Idempotency-Key": "1"}), program.ask(other, **{"Idempotency-Key": "1"})

    assert (again.content, refused.status_code) == (first.content, 409)
    assert Profile.objects.filter(candidate=maya).latest("version").content["basics"]["summary"] == "New."


def test_keys_of_another_organization_do_not_matter(globex, charlie, program, briefing, maya, waiting):
    give_credits(globex, 10)
    theirs = write_briefing(globex, ("Python", "must"))
    (person,) = import_people(globex, "Paints houses.")
    program.ask({"candidateId": maya.pk, "briefingId": briefing.pk}, **{"Idempotency-Key": "1"})

    response = Program(token(globex, charlie)).ask(
        {"candidateId": person.pk, "briefingId": theirs.pk}, **{"Idempotency-Key": "1"}
    )

    assert response.status_code == 200
    assert {check.organization for check in CandidateCheck.objects.all()} == {briefing.organization, globex}


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "ä", "a\x00"])
def test_a_key_that_cannot_be_kept_is_400(program, briefing, maya, key):
    response = program.ask({"candidateId": maya.pk, "briefingId": briefing.pk}, **{"Idempotency-Key": key})

    assert response.status_code == 400
    assert not CandidateCheck.objects.exists()


def test_asking_twice_without_a_key_gives_the_check_that_still_runs(acme, program, briefing, maya, waiting):
    first, again = (program.ask({"candidateId": maya.pk, "briefingId": briefing.pk}) for _ in range(2))

    assert first.json() == again.json()
    assert balance(organization=acme).held == 4


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["order-1", None], ids=["with a key", "without"])
@pytest.mark.parametrize("credits", [4, 100], ids=["just enough", "plenty"])
def test_twenty_at_once_are_one_check_and_one_hold(globex, charlie, simulated_providers, waiting, key, credits):
    connect_managed_key()
    give_credits(globex, credits)
    briefing = write_briefing(globex, ("Django", "must"))
    (person,) = import_people(globex, "Builds Django services.")
    value, start, answers = token(globex, charlie), threading.Barrier(20), []
    headers = {"Idempotency-Key": key} if key else {}

    def ask() -> None:
        try:
            start.wait()
            response = Program(value).ask({"candidateId": person.pk, "briefingId": briefing.pk}, **headers)
            answers.append((response.status_code, response.content))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    check = CandidateCheck.objects.get()
    assert len(answers) == 20
    assert {status for status, _ in answers} == {200}
    assert {json.loads(content)["candidateCheckId"] for _, content in answers} == {str(check.pk)}
    assert CreditHold.objects.count() == holds() == 1
