"""A draft is looked over before anybody is checked against it; what is done with is archived, or deleted if unused."""

from __future__ import annotations

import re

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from candidates.acceptance import BriefingNotReady, accept_checks
from candidates.briefings import draft_briefing, new_version, request_draft
from candidates.models import Briefing, CandidateCheck, Requirement
from candidates.requirements import ordered_requirements
from organizations.models import AuditEvent
from tests.builders import NOW, checked_before, connect_managed_key, give_credits, import_people, write_briefing
from tests.page_forms import form_of

State = Briefing.State


def url(name: str, briefing: Briefing, query: str = "") -> str:
    return reverse(f"candidates:{name}", args=["acme", briefing.pk]) + query


def words(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


@pytest.fixture
def draft(acme, simulated_providers) -> Briefing:
    connect_managed_key()
    give_credits(acme, 40)
    asked = request_draft(organization=acme, job_description="Must know Django.", actor=None, now=timezone.now())
    draft_briefing(asked.pk, now=timezone.now())
    return Briefing.objects.get(pk=asked.pk)


def check(briefing, *people) -> None:
    accept_checks(
        organization=briefing.organization, briefing=briefing, candidates=people, actor=None, now=timezone.now()
    )


@pytest.mark.parametrize("made", ["by a model", "as a new version"])
def test_a_draft_opens_on_its_requirements_and_starts_no_check(as_bob, acme, draft, made):
    (person,) = import_people(acme, "Django")
    briefing = draft if made == "by a model" else new_version(briefing=write_briefing(acme, ("Go", "must")), actor=None)

    page = as_bob.get(url("briefing", briefing))
    picker = as_bob.get(url("briefing", briefing, "?tab=candidates"))
    posted = as_bob.post(
        url("run", briefing), {"candidates": person.pk, "show": "all", "agreed": "4", "count": "1", "who": "ticked"}
    )

    assert page.context["tab"] == "requirements"
    assert "Use these requirements" in words(page)
    assert "Look over the requirements first" in words(picker)
    assert posted.status_code == 422
    assert "press “Use these requirements”" in words(posted)
    with pytest.raises(BriefingNotReady):
        check(briefing, person)
    with pytest.raises(CommandError, match="Use these requirements"):
        call_command("run_checks", organization="acme", briefing=briefing.pk)
    assert not CandidateCheck.objects.exists()


def test_saved_as_a_draft_it_stays_one_and_used_it_is_checked_against(as_bob, acme, draft):
    people = import_people(acme, "Django")
    form = form_of(as_bob.get(url("briefing", draft)), url("briefing", draft))
    form.pop("use", None)

    saved = as_bob.post(url("briefing", draft), form | {"title": "Better title"})
    draft.refresh_from_db()
    assert (saved.status_code, draft.state, draft.title) == (302, State.REVIEW, "Better title")

    form = form_of(as_bob.get(url("briefing", draft)), url("briefing", draft))
    used = as_bob.post(url("briefing", draft), form | {"use": "1"})
    draft.refresh_from_db()
    assert used.url == url("briefing", draft, "?tab=candidates")
    assert draft.state == State.READY
    check(draft, *people)


def test_an_older_page_without_the_button_does_not_take_a_briefing_out_of_use(as_bob, acme):
    briefing = write_briefing(acme, ("Django", "must"))
    form = form_of(as_bob.get(url("briefing", briefing, "?tab=requirements")), url("briefing", briefing))

    as_bob.post(url("briefing", briefing), form | {"title": "Renamed"})

    briefing.refresh_from_db()
    assert (briefing.title, briefing.state) == ("Renamed", State.READY)


def test_no_picture_in_a_job_description_reaches_a_model(acme, simulator, simulated_providers):
    connect_managed_key()
    text = f"Must know Django.\n![logo](data:image/png;base64,{'iVBORw0KGgo' * 40})\nMust know Go."
    asked = request_draft(organization=acme, job_description=text, actor=None, now=timezone.now())
    draft_briefing(asked.pk, now=timezone.now())

    sent = str(simulator.app.received[-1]["messages"])
    assert "Must know Django." in sent
    assert "Must know Go." in sent
    assert "base64" not in sent


def test_a_briefing_without_checks_is_deleted_after_a_question(as_bob, acme):
    briefing = write_briefing(acme, ("Django", "must"), title="A slip")

    asked = as_bob.get(url("briefing-delete", briefing))
    assert Briefing.objects.filter(pk=briefing.pk).exists()
    answer = as_bob.post(url("briefing-delete", briefing), follow=True)

    assert "Delete “A slip”?" in words(asked)
    assert "“A slip” is deleted." in words(answer)
    assert not Briefing.objects.filter(pk=briefing.pk).exists()
    assert not Requirement.objects.filter(organization=acme).exists()
    event = AuditEvent.objects.get(action="briefing.deleted")
    assert (event.target, event.organization) == ("A slip", acme)


@pytest.mark.parametrize("what", ["people were checked against", "version 2 was made from"])
def test_a_briefing_that_something_hangs_on_is_not_deleted(as_bob, acme, what):
    briefing = write_briefing(acme, ("Django", "must"), title="An earlier position")
    if what.startswith("people"):
        checked_before(*import_people(acme, "Django"), at=NOW, status="failed")
    else:
        new_version(briefing=briefing, actor=None)

    page = as_bob.get(url("briefing", briefing, "?tab=requirements"))
    asked = as_bob.get(url("briefing-delete", briefing))
    answer = as_bob.post(url("briefing-delete", briefing), follow=True)

    assert url("briefing-delete", briefing) not in page.content.decode()
    assert asked.url == url("briefing", briefing)
    assert Briefing.objects.filter(pk=briefing.pk).exists()
    assert what in words(answer).lower()
    assert "Archive it instead." in words(answer)


def test_a_draft_that_comes_after_its_briefing_was_deleted_is_dropped(as_bob, acme, draft):
    asked = request_draft(organization=acme, job_description="Go", actor=None, now=timezone.now())
    as_bob.post(url("briefing-delete", asked))

    draft_briefing(asked.pk, now=timezone.now())

    assert not Briefing.objects.filter(pk=asked.pk).exists()


def test_the_form_that_made_a_deleted_briefing_says_so_when_sent_again(as_bob, acme):
    form = {"how": "hand", "hand-title": "A slip", "once": "0" * 32}
    as_bob.post(reverse("candidates:briefing-new", args=["acme"]), form)
    as_bob.post(url("briefing-delete", Briefing.objects.get()))

    answer = as_bob.post(reverse("candidates:briefing-new", args=["acme"]), form)

    assert answer.status_code == 422
    assert "was deleted since" in words(answer)


def test_an_archived_briefing_leaves_the_list_keeps_its_results_and_comes_back(as_bob, acme, simulated_providers):
    connect_managed_key()
    give_credits(acme, 40)
    ada, bea = import_people(acme, "Django", "Django")
    briefing = write_briefing(acme, ("Django", "must"), title="Last year")
    check(briefing, ada)
    listed = reverse("candidates:briefings", args=["acme"])

    as_bob.post(url("briefing-archive", briefing))

    assert "Last year" not in words(as_bob.get(listed)).replace("“Last year” is archived", "")
    assert "1 archived briefing" in words(as_bob.get(listed))
    assert "Last year" in words(as_bob.get(f"{listed}?show=archived"))
    assert "Person1" in words(as_bob.get(url("briefing", briefing, "?tab=results")))
    with pytest.raises(BriefingNotReady, match="archived"):
        check(briefing, bea)

    as_bob.post(url("briefing-bring-back", briefing))

    assert "Last year" in words(as_bob.get(listed))
    check(briefing, bea)
    assert len(ordered_requirements(briefing)) == 1
