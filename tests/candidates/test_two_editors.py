"""Two people, or two tabs, with one briefing open: nobody's words are lost, and nobody's are overwritten in silence."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.utils import timezone

from candidates.models import Briefing
from candidates.requirement_conflicts import BriefingChanged
from candidates.requirements import RequirementInput, ordered_requirements, save_requirements
from tests.builders import connect_managed_key, import_people, write_briefing
from tests.candidates.test_briefing_pages import checks, rows, url
from tests.conftest import logged_in
from tests.page_forms import form_of


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"), title="Backend engineer")


def texts(briefing: Briefing) -> list[str]:
    return [each.text for each in ordered_requirements(briefing)]


def opened(client, briefing):
    page = client.get(url("briefing", briefing.pk, query="?tab=requirements"))
    return form_of(page, url("briefing", briefing.pk))


def test_a_stale_form_overwrites_nothing_and_says_who_changed_what(as_ada, as_bob, bob, briefing):
    stale, fresh = opened(as_ada, briefing), opened(as_bob, briefing)
    as_bob.post(url("briefing", briefing.pk), fresh | {"requirements-0-text": "Django 5", "title": "Python engineer"})

    answer = as_ada.post(url("briefing", briefing.pk), stale | {"requirements-0-text": "Django or Flask"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Bob changed the title and the requirements (1 changed) at " in page
    assert "Nothing was saved." in page
    assert texts(briefing) == ["Django 5", "PostgreSQL"]
    assert "Django or Flask" in page  # what was typed
    assert "Saved meanwhile: Django 5 (Must-have, weight 1)" in page
    assert form_of(answer, url("briefing", briefing.pk))["title"] == "Python engineer"  # nobody typed another one


def test_whoever_read_both_may_overrule(as_ada, as_bob, briefing):
    stale, fresh = opened(as_ada, briefing), opened(as_bob, briefing)
    as_bob.post(url("briefing", briefing.pk), fresh | {"requirements-0-text": "Django 5"})
    refused = as_ada.post(url("briefing", briefing.pk), stale | {"requirements-0-text": "Django or Flask"})

    answer = as_ada.post(url("briefing", briefing.pk), form_of(refused, url("briefing", briefing.pk)))

    assert answer.status_code == 302
    assert texts(briefing) == ["Django or Flask", "PostgreSQL"]


def test_what_only_the_other_changed_is_taken_over_and_what_was_added_or_removed_is_shown(as_ada, as_bob, briefing):
    stale, fresh = opened(as_ada, briefing), opened(as_bob, briefing)
    changed = fresh | {"requirements-0-remove": "on", "requirements-1-weight": "7", "requirements-2-text": "Docker"}
    assert as_bob.post(url("briefing", briefing.pk), changed).status_code == 302

    refused = as_ada.post(url("briefing", briefing.pk), stale | {"requirements-2-text": "Kubernetes"})

    form, page = form_of(refused, url("briefing", briefing.pk)), refused.content.decode()
    shown = [form[f"requirements-{number}-text"] for number in range(4)]
    assert shown == ["PostgreSQL", "Kubernetes", "Docker", ""]
    assert form["requirements-0-weight"] == "7"
    assert "changed the requirements (1 changed, 1 added, 1 removed) at" in page
    assert "Changed meanwhile." in page
    assert "Added meanwhile." in page
    assert as_ada.post(url("briefing", briefing.pk), form).status_code == 302
    assert texts(briefing) == ["PostgreSQL", "Kubernetes", "Docker"]


def test_a_requirement_that_somebody_reworded_while_another_removed_it_is_offered_again(as_ada, as_bob, briefing):
    stale, fresh = opened(as_ada, briefing), opened(as_bob, briefing)
    as_bob.post(url("briefing", briefing.pk), fresh | {"requirements-0-remove": "on"})

    refused = as_ada.post(url("briefing", briefing.pk), stale | {"requirements-0-text": "Django or Flask"})

    assert "Removed meanwhile. If you save, it is added again." in refused.content.decode()
    as_ada.post(url("briefing", briefing.pk), form_of(refused, url("briefing", briefing.pk)))
    assert texts(briefing) == ["Django or Flask", "PostgreSQL"]


def test_words_typed_while_the_wording_was_locked_are_shown_to_be_kept(as_ada, acme, briefing):
    stale = opened(as_ada, briefing)
    checks(briefing, import_people(acme, "Django"), status="pending")

    typed = {"requirements-0-text": "Django or Flask", "requirements-1-weight": "9", "requirements-2-text": "Docker"}
    refused = as_ada.post(url("briefing", briefing.pk), stale | typed)

    page = refused.content.decode()
    assert refused.status_code == 422
    assert "whether the wording is locked" in page
    assert "<li>Django or Flask</li>" in page
    assert "<li>Docker</li>" in page
    assert as_ada.post(url("briefing", briefing.pk), form_of(refused, url("briefing", briefing.pk))).status_code == 302
    assert [(each.text, each.weight) for each in ordered_requirements(briefing)] == [("Django", 1), ("PostgreSQL", 9)]


def test_a_double_click_saves_once_and_is_no_conflict(as_bob, briefing):
    form = opened(as_bob, briefing) | {"requirements-2-text": "Docker", "requirements-0-weight": "3"}

    answers = [as_bob.post(url("briefing", briefing.pk), form) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert texts(briefing) == ["Django", "PostgreSQL", "Docker"]


def test_the_own_other_tab_is_named_as_such(as_bob, briefing):
    stale = opened(as_bob, briefing)
    as_bob.post(url("briefing", briefing.pk), opened(as_bob, briefing) | {"title": "Python engineer"})

    answer = as_bob.post(url("briefing", briefing.pk), stale | {"title": "Django engineer"})

    assert "You, perhaps in another tab, changed the title at" in answer.content.decode()


def test_another_fault_in_a_stale_form_does_not_hide_the_conflict_for_good(as_ada, as_bob, briefing):
    stale = opened(as_ada, briefing)
    as_bob.post(url("briefing", briefing.pk), opened(as_bob, briefing) | {"requirements-0-text": "Django 5"})
    wrong = as_ada.post(url("briefing", briefing.pk), stale | {"requirements-1-weight": "0"})

    corrected = form_of(wrong, url("briefing", briefing.pk)) | {"requirements-1-weight": "2"}

    assert as_ada.post(url("briefing", briefing.pk), corrected).status_code == 422
    assert texts(briefing) == ["Django 5", "PostgreSQL"]


@pytest.mark.parametrize("seen", ["", "title", "=", "title= locked="])
def test_a_mangled_account_of_what_the_form_showed_saves_nothing(as_bob, briefing, seen):
    sent = rows(briefing, {"text": "Mine"}) | {"seen": seen}

    assert as_bob.post(url("briefing", briefing.pk), sent).status_code == 422
    assert texts(briefing) == ["Django", "PostgreSQL"]


def test_draft_again_on_a_stale_page_replaces_nothing(as_ada, as_bob, briefing, simulated_providers):
    connect_managed_key()
    Briefing.objects.update(state="failed", state_detail="No.", job_description="Knows Docker")
    stale = form_of(as_ada.get(url("briefing", briefing.pk)), url("briefing-draft", briefing.pk))
    as_bob.post(url("briefing", briefing.pk), opened(as_bob, briefing) | {"requirements-0-text": "Django 5"})

    page = as_ada.post(url("briefing-draft", briefing.pk), stale, follow=True).content.decode()

    briefing.refresh_from_db()
    assert briefing.state == Briefing.State.READY
    assert "Bob changed the requirements (1 changed)" in page


def test_draft_again_twice_is_one_draft_and_no_error(as_bob, briefing, simulated_providers):
    connect_managed_key()
    Briefing.objects.update(state="failed", state_detail="No.", job_description="Knows Docker")
    form = form_of(as_bob.get(url("briefing", briefing.pk)), url("briefing-draft", briefing.pk))

    pages = [as_bob.post(url("briefing-draft", briefing.pk), form, follow=True) for _ in range(2)]

    assert all("every 2s" in page.content.decode() for page in pages)
    assert "still being written" not in pages[1].content.decode()


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency")
@pytest.mark.django_db(transaction=True)
def test_of_eight_who_save_other_words_at_once_one_wins_and_seven_are_told(acme, bob, briefing):
    form = opened(logged_in(bob), briefing)
    browsers = [logged_in(bob) for _ in range(8)]
    start, statuses = threading.Barrier(8, timeout=30), []

    def save(number: int) -> None:
        try:
            connection.ensure_connection()
            start.wait()
            sent = form | {"requirements-0-text": f"Django {number}"}
            statuses.append(browsers[number].post(url("briefing", briefing.pk), sent).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [302, *[422] * 7]


def test_who_saw_no_form_is_not_asked_what_it_showed(briefing):
    save_requirements(briefing=briefing, requirements=[RequirementInput("Go", "must")], now=timezone.now())

    assert texts(briefing) == ["Go"]
    with pytest.raises(BriefingChanged):
        save_requirements(
            briefing=briefing, requirements=[RequirementInput("Rust", "must")], now=timezone.now(), seen="title=0"
        )
