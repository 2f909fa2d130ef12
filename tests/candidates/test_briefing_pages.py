"""The list of briefings, a briefing's requirements, and drafting, as people see them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from candidates.briefings import new_version, request_draft
from candidates.models import Briefing, CandidateCheck, Profile
from candidates.requirement_conflicts import briefing_parts
from candidates.requirements import is_locked, ordered_requirements
from organizations.edits import stamp
from tests.builders import connect_managed_key, import_people, write_briefing
from tests.page_forms import form_of

HTMX = {"HX-Request": "true"}


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"), title="Backend engineer")


def url(name: str, *args, slug: str = "acme", query: str = "") -> str:
    return reverse(f"candidates:{name}", args=[slug, *args]) + query


def rows(briefing: Briefing, *changes: dict[str, object], title: str = "Backend engineer") -> dict[str, object]:
    """What the requirements form sends: the rows that are there, each with its changes, and then the new ones."""
    existing = [
        {"id": each.pk, "text": each.text, "kind": each.kind, "weight": each.weight}
        for each in ordered_requirements(briefing)
    ]
    count = max(len(existing), len(changes))
    parts = briefing_parts(briefing, ordered_requirements(briefing), locked=is_locked(briefing))
    sent: dict[str, object] = {
        "title": title,
        "seen": stamp(parts),
        "requirements-TOTAL_FORMS": count,
        "requirements-INITIAL_FORMS": len(existing),
    }
    for number in range(count):
        row = existing[number] if number < len(existing) else {"kind": "nice", "weight": 1, "text": ""}
        row |= changes[number] if number < len(changes) else {}
        sent |= {f"requirements-{number}-{name}": value for name, value in row.items()}
    return sent


def checks(briefing: Briefing, people, status: str = "completed", **fields) -> None:
    profiles = {each.candidate_id: each for each in Profile.objects.all()}
    CandidateCheck.objects.bulk_create(
        CandidateCheck(
            organization=briefing.organization,
            briefing=briefing,
            candidate=person,
            profile=profiles[person.pk],
            status=status,
            mode="managed",
            kind="new",
            price=4,
            route={},
            accepted_at=timezone.now(),
            **fields,
        )
        for person in people
    )


PAGES = [("briefings", ()), ("briefing-new", ())]


def test_every_member_may_read_and_write_briefings_and_strangers_find_nothing(as_bob, as_charlie, client, briefing):
    for name, args in [*PAGES, ("briefing", (briefing.pk,))]:
        assert as_bob.get(url(name, *args)).status_code == 200
        assert as_charlie.get(url(name, *args)).status_code == 404
        assert client.get(url(name, *args)).status_code == 302
    for name in ("briefing", "briefing-draft", "briefing-version"):
        assert as_charlie.post(url(name, briefing.pk)).status_code == 404


def test_a_briefing_is_not_found_under_another_organizations_address(as_charlie, globex, briefing):
    for name in ("briefing", "progress"):
        assert as_charlie.get(url(name, briefing.pk, slug="globex")).status_code == 404
    for name in ("briefing", "briefing-draft", "briefing-version", "run", "quote"):
        assert as_charlie.post(url(name, briefing.pk, slug="globex")).status_code == 404


def test_wrong_methods_are_refused(as_bob, briefing):
    assert as_bob.post(url("briefings")).status_code == 405
    assert as_bob.get(url("briefing-version", briefing.pk)).status_code == 405
    assert as_bob.get(url("briefing-draft", briefing.pk)).status_code == 405
    assert as_bob.delete(url("briefing", briefing.pk)).status_code == 405


def test_the_list_tells_what_it_is_when_empty(as_bob):
    page = as_bob.get(url("briefings")).content.decode()

    assert "No briefings yet" in page
    assert url("briefing-new") in page


def test_the_list_shows_version_requirements_and_checks_by_status(as_bob, acme, alice, briefing):
    people = import_people(acme, "Django", "Rails", "Go")
    checks(briefing, people[:2], score=100, category="strong")
    checks(briefing, people[2:], status="failed")
    new_version(briefing=briefing, actor=alice)

    page = as_bob.get(url("briefings")).content.decode()

    assert "Version 2" in page
    assert "2 completed" in page
    assert "1 failed" in page
    assert "none yet" in page


def test_the_list_takes_the_same_few_queries_for_many_briefings_and_checks(
    as_bob, acme, alice, briefing, django_assert_max_num_queries
):
    checks(briefing, import_people(acme, *["Django"] * 200), score=100, category="strong")
    for _ in range(20):
        new_version(briefing=briefing, actor=alice)
    as_bob.get(url("briefings"))

    with django_assert_max_num_queries(11):
        as_bob.get(url("briefings"))


def test_the_results_of_200_checks_take_few_queries(as_bob, acme, briefing, django_assert_max_num_queries):
    people = import_people(acme, *["Django"] * 200)
    checks(briefing, people[:150], score=100, category="strong")
    checks(briefing, people[150:], status="in_progress")
    as_bob.get(url("briefings"))

    with django_assert_max_num_queries(16):
        assert as_bob.get(url("briefing", briefing.pk, query="?tab=results")).status_code == 200
    with django_assert_max_num_queries(12):
        assert as_bob.get(url("progress", briefing.pk), headers=HTMX).status_code == 200


def test_the_picker_of_200_people_takes_few_queries(as_bob, acme, briefing, django_assert_max_num_queries):
    import_people(acme, *["Django"] * 200)
    as_bob.get(url("briefings"))

    with django_assert_max_num_queries(23):
        assert as_bob.get(url("briefing", briefing.pk, query="?tab=candidates")).status_code == 200


# By hand ---------------------------------------------------------------------------------------------


def test_a_briefing_written_by_hand_opens_with_empty_rows(as_bob, acme, bob):
    answer = as_bob.post(url("briefing-new"), {"how": "hand", "hand-title": "Data engineer"}, follow=True)

    briefing = Briefing.objects.get()
    assert (briefing.title, briefing.organization, briefing.created_by) == ("Data engineer", acme, bob)
    assert b"New requirement" in answer.content


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"how": "hand", "hand-title": " "}, "Give the briefing a title."),
        ({"how": "draft", "draft-job_description": ""}, "Paste the job description"),
    ],
)
def test_an_empty_form_comes_back_with_422_and_a_sentence(as_bob, sent, sentence):
    answer = as_bob.post(url("briefing-new"), sent)

    assert (answer.status_code, Briefing.objects.count()) == (422, 0)
    assert sentence in answer.content.decode()


def test_requirements_are_added_changed_and_removed_by_a_plain_form(as_bob, briefing):
    sent = rows(
        briefing,
        {"text": "Django 5", "weight": 7},
        {"remove": "on"},
        {"text": "Kubernetes", "kind": "must", "weight": 2},
        {"text": ""},
    )

    answer = as_bob.post(url("briefing", briefing.pk), sent, follow=True)

    assert "Requirements saved." in answer.content.decode()
    assert [(each.text, each.kind, each.weight) for each in ordered_requirements(briefing)] == [
        ("Django 5", "must", 7),
        ("Kubernetes", "must", 2),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": ""}, "tick Remove"),
        ({"weight": 0}, "A weight is 1 to 100."),
        ({"weight": "a"}, "A weight is a whole number."),
        ({"weight": ""}, "Give a weight."),
        ({"kind": "maybe"}, "maybe"),
        ({"text": "x" * 301}, "300"),
        ({"text": "PostgreSQL"}, "Two requirements are the same."),
        ({"id": "999999"}, "changed in the meantime"),
    ],
)
def test_bad_rows_come_back_with_422_a_sentence_and_what_was_typed(as_bob, briefing, change, sentence):
    sent = rows(briefing, change, {}, {"text": "Typed just now"})

    answer = as_bob.post(url("briefing", briefing.pk), sent)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert "Typed just now" in answer.content.decode()
    assert [each.text for each in ordered_requirements(briefing)] == ["Django", "PostgreSQL"]


@pytest.mark.parametrize(
    "sent", [{}, {"title": "T"}, {"title": "T", "requirements-TOTAL_FORMS": "x"}, {"title": "T\x00"}]
)
def test_a_mangled_form_is_422_and_changes_nothing(as_bob, briefing, sent):
    answer = as_bob.post(url("briefing", briefing.pk), sent)

    assert answer.status_code == 422
    assert len(ordered_requirements(briefing)) == 2


def test_locked_texts_are_shown_as_text_and_cannot_be_posted(as_bob, acme, briefing):
    checks(briefing, import_people(acme, "Django"), status="pending")

    page = as_bob.get(url("briefing", briefing.pk, query="?tab=requirements")).content.decode()
    sent = rows(briefing, {"text": "Rails", "weight": 5, "remove": "on"}, {}, {"text": "Sneaked in"})
    answer = as_bob.post(url("briefing", briefing.pk), sent)

    assert "wording is locked" in page
    assert 'name="requirements-0-text"' not in page
    assert "New version" in page
    assert answer.status_code == 302
    assert [each.text for each in ordered_requirements(briefing)] == ["Django", "PostgreSQL"]


def test_weights_of_a_locked_briefing_can_be_changed(as_bob, acme, briefing):
    checks(briefing, import_people(acme, "Django"), status="pending")

    answer = as_bob.post(url("briefing", briefing.pk), rows(briefing, {"weight": 9, "kind": "nice"}))

    assert answer.status_code == 302
    assert (ordered_requirements(briefing)[0].weight, ordered_requirements(briefing)[0].kind) == (9, "nice")


def test_a_new_version_opens_for_editing(as_bob, acme, briefing):
    checks(briefing, import_people(acme, "Django"), status="pending")

    answer = as_bob.post(url("briefing-version", briefing.pk), follow=True)

    copy = Briefing.objects.get(version=2)
    assert answer.redirect_chain[-1][0] == url("briefing", copy.pk)
    assert len(ordered_requirements(copy)) == 2


def test_text_of_users_is_escaped(as_bob, acme):
    briefing = write_briefing(acme, ("<script>alert(1)</script>", "must"), title="<b>x</b>")

    for query in ("?tab=requirements", "?tab=candidates", "?tab=results"):
        page = as_bob.get(url("briefing", briefing.pk, query=query)).content.decode()
        assert "<script>alert" not in page
        assert "<b>x</b>" not in page


# Drafting --------------------------------------------------------------------------------------------


def test_a_job_description_becomes_requirements(as_bob, bob, simulated_providers, django_capture_on_commit_callbacks):
    connect_managed_key()
    with django_capture_on_commit_callbacks(execute=True):
        answer = as_bob.post(
            url("briefing-new"),
            {"how": "draft", "draft-job_description": "Engineer\n- Knows Django\n- Knows Docker", "draft-title": ""},
        )

    briefing = Briefing.objects.get()
    assert answer.url == url("briefing", briefing.pk)
    assert (briefing.state, briefing.created_by) == (Briefing.State.REVIEW, bob)
    assert ordered_requirements(briefing)


def test_without_a_route_the_form_says_so_and_keeps_the_text(as_bob, simulated_providers):
    answer = as_bob.post(url("briefing-new"), {"how": "draft", "draft-job_description": "My precious text"})

    page = answer.content.decode()
    assert (answer.status_code, Briefing.objects.count()) == (422, 0)
    assert "My precious text" in page
    assert "#llm-routing" in page


@pytest.fixture
def drafting(acme, bob, simulated_providers):
    connect_managed_key()
    return request_draft(organization=acme, job_description="Django", actor=bob, now=timezone.now())


def test_a_drafting_briefing_asks_again_until_it_is_ready(as_bob, drafting):
    page = as_bob.get(url("briefing", drafting.pk)).content.decode()
    fragment = as_bob.get(url("briefing", drafting.pk), headers=HTMX).content.decode()
    assert 'hx-trigger="every 2s"' in page
    assert 'hx-trigger="every 2s"' in fragment
    assert "<html" not in fragment

    Briefing.objects.update(state="ready")
    answer = as_bob.get(url("briefing", drafting.pk), headers=HTMX)
    assert answer.headers["HX-Refresh"] == "true"
    assert "every 2s" not in as_bob.get(url("briefing", drafting.pk)).content.decode()


def test_a_failed_or_overdue_draft_says_why_and_can_be_asked_for_again(as_bob, drafting):
    Briefing.objects.update(state="failed", state_detail="The key has no credit left.")
    page = as_bob.get(url("briefing", drafting.pk)).content.decode()
    assert "The key has no credit left." in page
    assert "New requirement" in page

    Briefing.objects.update(state="drafting", draft_requested_at=timezone.now() - timedelta(minutes=10))
    response = as_bob.get(url("briefing", drafting.pk))
    page = response.content.decode()
    assert "much longer than usual" in page
    assert "every 2s" not in page

    form = form_of(response, url("briefing-draft", drafting.pk))
    answer = as_bob.post(url("briefing-draft", drafting.pk), form, follow=True)
    assert "every 2s" in answer.content.decode()


def test_drafting_again_without_a_route_tells_why(as_bob, drafting):
    from providers.models import ProviderKey

    ProviderKey.objects.update(status="invalid")
    Briefing.objects.update(state="failed", state_detail="No.")

    answer = as_bob.post(url("briefing-draft", drafting.pk), follow=True)

    assert "No model serves" in answer.content.decode()
