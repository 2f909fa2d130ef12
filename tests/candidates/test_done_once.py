"""What is posted twice from one page, by a double click or a step back, is done once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse
from django.test import Client

from billing.ledger import balance
from candidates.models import Briefing, CandidateCheck
from organizations.models import DoneRequest, Organization, User
from tests import serving_role
from tests.at_once import at_once
from tests.builders import connect_managed_key, give_credits, import_people, write_briefing
from tests.candidates.test_briefing_pages import url
from tests.conftest import logged_in

TOKEN = "0123456789abcdef" * 2
on_postgresql = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency"),
    pytest.mark.django_db(transaction=True),
]


def tokens(page: HttpResponse) -> list[str]:
    return re.findall(r'name="once" value="(\w+)"', page.content.decode())


def at_the_same_time(person: User, post: Callable[[Client], Any], times: int = 8) -> list[Any]:
    """The answers to what one browser posts so often at once, each in a thread with a connection of its own."""
    return at_once([logged_in(person) for _ in range(times)], post)


def test_every_page_has_a_token_of_its_own_in_each_of_its_forms(as_bob):
    first, second = (tokens(as_bob.get(url("briefing-new"))) for _ in range(2))

    assert len(first) == len(second) == 2
    assert len({*first, *second}) == 4


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "htmx"])
def test_a_briefing_posted_twice_is_one_and_both_answers_lead_to_it(as_bob, headers):
    sent = {"how": "hand", "hand-title": "Data engineer", "once": TOKEN}

    answers = [as_bob.post(url("briefing-new"), sent, headers=headers) for _ in range(2)]

    briefing = Briefing.objects.get()
    assert [answer["Location"] for answer in answers] == [url("briefing", briefing.pk)] * 2


def test_something_else_from_the_same_page_is_a_request_of_its_own(as_bob):
    for title in ("Data engineer", "Data scientist"):
        as_bob.post(url("briefing-new"), {"how": "hand", "hand-title": title, "once": TOKEN})

    assert Briefing.objects.count() == 2


def test_what_was_refused_may_be_posted_again(as_bob, simulated_providers):
    sent = {"how": "draft", "draft-job_description": "Knows Django", "once": TOKEN}
    assert as_bob.post(url("briefing-new"), sent).status_code == 422
    connect_managed_key()

    assert as_bob.post(url("briefing-new"), sent).status_code == 302
    assert Briefing.objects.count() == 1


def test_a_draft_posted_twice_is_drafted_once(as_bob, simulated_providers):
    connect_managed_key()
    sent = {"how": "draft", "draft-job_description": "Knows Django", "once": TOKEN}

    answers = [as_bob.post(url("briefing-new"), sent) for _ in range(2)]

    assert {answer["Location"] for answer in answers} == {url("briefing", Briefing.objects.get().pk)}


def test_a_new_version_asked_for_twice_is_one(as_bob, acme):
    briefing = write_briefing(acme, ("Django", "must"))
    page = as_bob.get(url("briefing", briefing.pk))

    answers = [as_bob.post(url("briefing-version", briefing.pk), {"once": tokens(page)[0]}) for _ in range(2)]

    assert {answer["Location"] for answer in answers} == {url("briefing", Briefing.objects.get(version=2).pk)}


def checkable(organization: Organization) -> tuple[Briefing, dict[str, object]]:
    """A briefing, and what its page posts to check one person for 4 credits."""
    connect_managed_key()
    give_credits(organization, 100)
    (person,) = import_people(organization, "Five years of Django.")
    sent = {"candidates": person.pk, "show": "all", "agreed": 4, "count": 1, "once": TOKEN}
    return write_briefing(organization, ("Django", "must")), sent


def test_checks_posted_again_after_they_ended_are_neither_run_nor_paid_again(
    as_bob, acme, simulated_providers, django_capture_on_commit_callbacks
):
    briefing, sent = checkable(acme)

    with django_capture_on_commit_callbacks(execute=True):
        first = as_bob.post(url("run", briefing.pk), sent)
    again = as_bob.post(url("run", briefing.pk), sent, follow=True)

    assert CandidateCheck.objects.get().status == CandidateCheck.Status.COMPLETED
    assert again.redirect_chain[-1][0] == first["Location"]
    assert "1 check started." in again.content.decode()
    assert balance(organization=acme).available == 96


def test_a_check_asked_for_again_twice_is_made_once(
    as_bob, acme, simulated_providers, django_capture_on_commit_callbacks
):
    briefing, sent = checkable(acme)
    with django_capture_on_commit_callbacks(execute=True):
        as_bob.post(url("run", briefing.pk), sent)
    check = CandidateCheck.objects.get()
    (token,) = tokens(as_bob.get(url("check", check.pk)))

    answers = []
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            answers.append(as_bob.post(url("check-again", check.pk), {"agreed": 2, "once": token}))

    assert answers[0]["Location"] == answers[1]["Location"] != url("check", check.pk)
    assert CandidateCheck.objects.count() == 2
    assert balance(organization=acme).available == 94


class TestAtTheSameTime:
    pytestmark = on_postgresql

    def test_a_briefing(self, acme, bob):
        sent = {"how": "hand", "hand-title": "Data engineer", "once": TOKEN}

        answers = at_the_same_time(bob, lambda browser: browser.post(url("briefing-new"), sent))

        briefing = Briefing.objects.get()
        assert [answer["Location"] for answer in answers] == [url("briefing", briefing.pk)] * 8

    def test_a_draft(self, acme, bob, simulated_providers):
        connect_managed_key()
        sent = {"how": "draft", "draft-job_description": "Knows Django", "once": TOKEN}

        answers = at_the_same_time(bob, lambda browser: browser.post(url("briefing-new"), sent))

        assert {answer["Location"] for answer in answers} == {url("briefing", Briefing.objects.get().pk)}

    def test_a_new_version(self, acme, bob):
        briefing = write_briefing(acme, ("Django", "must"))

        address = url("briefing-version", briefing.pk)
        answers = at_the_same_time(bob, lambda browser: browser.post(address, {"once": TOKEN}))

        assert {answer["Location"] for answer in answers} == {url("briefing", Briefing.objects.get(version=2).pk)}

    def test_versions_of_two_pages_never_get_the_same_number(self, acme, bob):
        briefing = write_briefing(acme, ("Django", "must"))

        at_the_same_time(bob, lambda browser: browser.post(url("briefing-version", briefing.pk)))

        assert sorted(Briefing.objects.values_list("version", flat=True)) == list(range(1, 10))

    def test_checks(self, acme, bob, simulated_providers):
        briefing, sent = checkable(acme)

        answers = at_the_same_time(bob, lambda browser: browser.post(url("run", briefing.pk), sent))

        assert {answer["Location"] for answer in answers} == {url("briefing", briefing.pk, query="?tab=results")}
        assert CandidateCheck.objects.count() == 1
        assert balance(organization=acme).available == 96


@pytest.mark.django_db(transaction=True)
def test_keys_that_programs_used_before_the_upgrade_still_count(acme, bob, simulated_providers):
    briefing, sent = checkable(acme)
    logged_in(bob).post(url("run", briefing.pk), sent)
    check = CandidateCheck.objects.get()
    before = [("candidates", "0006_failed_after_answer")]
    DoneRequest.objects.create(
        organization=acme, purpose="candidate-check", key="order-1", body_digest="0" * 64, result=str(check.pk)
    )
    with serving_role.as_owner():
        try:
            MigrationExecutor(connection).migrate(before)
            state = MigrationExecutor(connection).loader.project_state(before)
            old = state.apps.get_model("candidates", "CheckRequest")
            assert list(old.objects.values_list("idempotency_key", "check_row_id")) == [("order-1", check.pk)]
            assert not DoneRequest.objects.filter(purpose="candidate-check").exists()
        finally:
            executor = MigrationExecutor(connection)
            executor.migrate(executor.loader.graph.leaf_nodes())
            with connection.cursor() as cursor:
                serving_role.grant_tables(cursor)

    done = DoneRequest.objects.get(purpose="candidate-check")
    assert (done.key, done.body_digest, done.result) == ("order-1", "0" * 64, str(check.pk))
