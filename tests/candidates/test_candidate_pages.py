from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from candidates.forms import BOTH_GIVEN, NO_PROFILE, NOTHING_GIVEN
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.views.candidates import PAGE_SIZE, SHOWN_ERRORS
from organizations.models import Organization
from usage.models import Mode

LIST = "/o/acme/candidates/"
IMPORT = "/o/acme/candidates/import/"


def add(organization: Organization, *resumes: dict[str, Any]) -> list[Candidate]:
    import_profiles(organization=organization, rows=parse_file(json.dumps(resumes).encode()), actor=None)
    return list(Candidate.objects.for_organization(organization).order_by("pk"))


def person(name: str, **basics: Any) -> dict[str, Any]:
    return {"basics": {"name": name, **basics}}


def check(candidate: Candidate, **fields: Any) -> CandidateCheck:
    organization = candidate.organization
    briefing = Briefing.objects.create(organization=organization, title="Backend Engineer")
    values: dict[str, Any] = {
        "status": CandidateCheck.Status.COMPLETED,
        "category": CandidateCheck.Category.STRONG,
        "score": 83,
        "charged": 4,
        "completed_at": timezone.now(),
        "accepted_at": timezone.now(),
    }
    return CandidateCheck.objects.create(
        organization=organization,
        briefing=briefing,
        candidate=candidate,
        profile=Profile.objects.filter(candidate=candidate).latest("version"),
        mode=Mode.MANAGED,
        kind=CandidateCheck.Kind.NEW,
        price=4,
        route={},
        **(values | fields),
    )


# The list


def test_an_organization_without_candidates_is_shown_the_way_to_import(as_bob):
    page = as_bob.get(LIST)

    assert page.status_code == 200
    assert "No candidates yet" in page.text
    assert IMPORT in page.text


def test_the_list_shows_the_own_people_with_their_last_result(as_bob, acme, globex):
    [noor] = add(acme, person("Noor Example", label="Engineer", email="noor@example.com"))
    add(globex, person("Somebody Else"))
    check(noor, category=CandidateCheck.Category.NONE, score=10, completed_at=timezone.now().replace(year=2020))
    check(noor)

    page = as_bob.get(LIST)

    assert "1 person imported." in page.text
    for text in ("Noor Example", "Engineer", "noor@example.com", "Strong fit · 83"):
        assert text in page.text
    assert "Somebody Else" not in page.text
    assert page.context["candidates"][0][0].check_count == 2


def test_who_was_checked_in_vain_alone_is_no_dash(as_bob, acme):
    noor, ben = add(acme, person("Noor Example"), person("Ben Other"))
    check(noor, status=CandidateCheck.Status.FAILED, category="", score=None)
    check(ben, accepted_at=timezone.now().replace(year=2020))
    check(ben, status=CandidateCheck.Status.FAILED, category="", score=None)

    page = as_bob.get(LIST)

    assert page.text.count(">Failed</span>") == 1
    assert "Strong fit · 83" in page.text


@pytest.mark.parametrize("query", ["noor", "EXAMPLE.COM", "data engineer", "engineer noor"])
def test_search_finds_by_name_headline_and_email(as_bob, acme, query):
    add(acme, person("Noor Person", label="Data Engineer", email="noor@example.com"), person("Ben Other"))

    page = as_bob.get(LIST, {"q": query})

    assert [candidate.name for candidate, _ in page.context["candidates"]] == ["Noor Person"]
    assert "1 of 2 people found for" in page.text


@pytest.mark.parametrize("query", ["nobody", "\x00nobody", "<script>alert(1)</script>", "x" * 3000])
def test_a_search_without_result_says_so(as_bob, acme, query):
    add(acme, person("Noor Person"))

    page = as_bob.get(LIST, {"q": query})

    assert "Nobody found for" in page.text
    assert "<script>alert" not in page.text


def test_the_list_has_pages_and_few_queries(as_bob, acme, django_assert_max_num_queries):
    add(acme, *(person(f"Person {number}") for number in range(PAGE_SIZE + 1)))
    first = as_bob.get(LIST)

    with django_assert_max_num_queries(12):
        page = as_bob.get(LIST, {"after": first.context["page"].after})

    assert [candidate.name for candidate, _ in page.context["candidates"]] == ["Person 0"]


# The import


DEEP = {
    "lists": "[" * 10**5 + "]" * 10**5,
    "cut": "[" * 10**5,
    "in a row": '{"basics": {"name": "Ada", "x": ' + "[" * 10**5 + "]" * 10**5 + "}}",
    "in a row among rows": '{"basics": {"name": "Ada"}, "x": ' + "[" * 10**5 + "]" * 10**5 + '}\n{"name": "no more"}\n',
    "as deep as Python reads": '{"basics": {"name": "Ada"}, "x": ' + "[" * 900 + "]" * 900 + "}",
}


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("way", ["file", "text"])
def test_profiles_nested_too_deeply_are_refused_with_a_sentence(as_bob, acme, way, content):
    given = SimpleUploadedFile("people.json", content.encode()) if way == "file" else content
    page = as_bob.post(IMPORT, {way: given}, follow=True)

    assert page.status_code in (200, 422)
    assert "nested more than 32 levels deep." in page.content.decode()
    assert not Profile.objects.for_organization(acme).filter(content__has_key="x").exists()


def test_pasted_profiles_are_imported_by_any_member(as_bob, acme):
    assert as_bob.get(IMPORT).status_code == 200

    page = as_bob.post(IMPORT, {"text": json.dumps(person("Noor Example"))})

    assert page.status_code == 200
    assert "Import finished" in page.text
    assert page.context["report"].imported == 1
    assert page.context["form"]["text"].value() is None
    assert Candidate.objects.for_organization(acme).get().name == "Noor Example"


def test_an_uploaded_file_is_imported(as_bob, acme):
    file = SimpleUploadedFile("people.jsonl", json.dumps(person("Noor Example")).encode())

    page = as_bob.post(IMPORT, {"file": file, "text": " \n"})

    assert page.context["report"].imported == 1


def test_htmx_gets_the_panel_alone(as_bob, acme):
    page = as_bob.post(IMPORT, {"text": json.dumps(person("Noor"))}, headers={"HX-Request": "true"})

    assert 'id="import"' in page.text
    assert "<html" not in page.text


def test_bad_rows_are_listed_beside_the_report_and_the_paste_is_kept(as_bob, acme):
    text = json.dumps(person("Noor <b>Example</b>")) + "\n{broken"

    page = as_bob.post(IMPORT, {"text": text})

    assert page.status_code == 200
    assert (page.context["report"].imported, len(page.context["report"].errors)) == (1, 1)
    assert "The line is not JSON" in page.text
    assert page.context["form"]["text"].value() == text
    assert "{broken" in page.text


def test_a_long_list_of_errors_is_cut_and_says_so(as_bob, acme):
    page = as_bob.post(IMPORT, {"text": "7\n" * (SHOWN_ERRORS + 5)})

    assert len(page.context["shown_errors"]) == SHOWN_ERRORS
    assert "And 5 more." in page.text


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, NOTHING_GIVEN),
        ({"text": "  "}, NOTHING_GIVEN),
        ({"text": "name,mail"}, "It is not JSON: expecting value at line 1, column 1."),
        ({"text": "name,mail\nNoor,n@example.com"}, "It is a table (CSV)."),
        ({"text": "[]"}, NO_PROFILE),
        ({"file": b""}, NO_PROFILE),
        ({"file": b"\xff\xfe{\x00"}, "The file is UTF-16 text, not UTF-8."),
        ({"file": b"{}", "text": "{}"}, BOTH_GIVEN),
    ],
)
def test_what_cannot_be_read_gets_a_sentence_and_422_and_nothing_is_lost(as_bob, acme, fields, sentence, htmx):
    if "file" in fields:
        fields = fields | {"file": SimpleUploadedFile("people.json", fields["file"])}

    page = as_bob.post(IMPORT, fields, headers={"HX-Request": "true"} if htmx else {})

    assert page.status_code == 422
    assert sentence in page.text
    assert (page.context["form"]["text"].value() or "") == fields.get("text", "")
    assert not Candidate.objects.exists()


def test_a_file_over_the_limit_is_refused(as_bob, acme):
    file = SimpleUploadedFile("people.json", b" " * (20 * 1024 * 1024 + 1))

    page = as_bob.post(IMPORT, {"file": file})

    assert page.status_code == 422
    assert "The file is larger than 20 MB." in page.text


# One person


def test_a_person_is_shown_with_profile_versions_and_checks(as_bob, acme):
    content = person("Noor Example", label="Engineer", email="noor@example.com", summary="Builds things.")
    [noor] = add(
        acme,
        {
            **content,
            "work": [{"position": "Engineer", "name": "Acme", "highlights": ["Halved it"]}],
            "references": [{"name": "A Boss", "reference": "Recommended."}],
        },
    )
    done = check(noor)

    page = as_bob.get(reverse("candidates:detail", args=["acme", noor.pk]))

    for text in (
        "Noor Example",
        "Builds things.",
        "Engineer, Acme",
        "Halved it",
        "Recommended.",
        "Version 1",
    ):
        assert text in page.text
    for text in ("Backend Engineer", "Completed", "Strong fit · 83", str(done.pk)):
        assert text in page.text


def test_an_earlier_version_can_be_read(as_bob, acme):
    for summary in ("The first text.", "The second text."):
        [noor] = add(acme, person("Noor Example", email="noor@example.com", summary=summary))
    url = reverse("candidates:detail", args=["acme", noor.pk])

    assert "The second text." in as_bob.get(url).text
    assert "The first text." in as_bob.get(url, {"version": "1"}).text
    for version in ("3", "x", "-1", "", "9" * 30):
        assert as_bob.get(url, {"version": version}).status_code == 404


@pytest.mark.parametrize("attack", ["Noor <script>alert(1)</script>", "Noor <script>alert(1)", "<script >alert(1)//"])
def test_nothing_in_a_profile_runs_in_the_readers_browser(as_bob, acme, attack):
    [noor] = add(
        acme,
        {
            "basics": {
                "name": attack,
                "label": attack,
                "summary": attack,
                "url": "javascript:alert(1)",
                "profiles": [{"network": attack, "url": "data:text/html,x"}],
            },
            "work": [{"position": attack, "url": " JavaScript:alert(1)", "highlights": [attack]}],
            "raw_text": attack,
        },
    )

    for url in (LIST, reverse("candidates:detail", args=["acme", noor.pk])):
        page = as_bob.get(url).text
        assert not re.search(r"<script\s*>alert", page)
        assert 'href="javascript' not in page.lower()
        assert 'href="data:' not in page


def test_a_profile_of_wrong_types_is_still_a_page(as_bob, acme):
    [noor] = add(acme, {"candidate_id": 7, "basics": ["x"], "work": "all day", "skills": {"name": 1}, "meta": []})

    assert "all day" in as_bob.get(reverse("candidates:detail", args=["acme", noor.pk])).text


# Doors


def test_strangers_find_nothing_and_visitors_log_in_first(client, as_charlie, acme, bob):
    [noor] = add(acme, person("Noor Example"))

    for url in (LIST, IMPORT, reverse("candidates:detail", args=["acme", noor.pk])):
        assert as_charlie.get(url).status_code == 404
        assert client.get(url).status_code == 302
    assert as_charlie.post(IMPORT, {"text": json.dumps(person("Intruder"))}).status_code == 404
    assert Candidate.objects.count() == 1


def test_a_person_of_another_organization_is_not_found(as_bob, acme, globex):
    [other] = add(globex, person("Somebody Else"))

    assert as_bob.get(reverse("candidates:detail", args=["acme", other.pk])).status_code == 404


def test_wrong_methods_are_refused(as_bob, acme):
    [noor] = add(acme, person("Noor Example"))

    assert as_bob.post(LIST).status_code == 405
    assert as_bob.post(reverse("candidates:detail", args=["acme", noor.pk])).status_code == 405
    assert as_bob.delete(IMPORT).status_code == 405


# Staff


@pytest.mark.parametrize(
    "model",
    [
        "candidate",
        "profile",
        "briefing",
        "requirement",
        "candidatecheck",
        "requirementverdict",
        "profilesighting",
    ],
)
def test_staff_can_search_every_table(as_staff, acme, model):
    [noor] = add(acme, person("Noor Example"))
    check(noor)

    assert as_staff.get(f"/admin/candidates/{model}/", {"q": "noor"}).status_code == 200
    assert as_staff.get(f"/admin/candidates/{model}/add/").status_code == 403


def test_staff_read_checks_but_do_not_change_them(as_staff, acme):
    [noor] = add(acme, person("Noor Example"))
    url = f"/admin/candidates/candidatecheck/{check(noor).pk}/change/"

    assert as_staff.get(url).status_code == 200
    assert as_staff.post(url, {"score": 100}).status_code == 403


def test_staff_correct_a_persons_keys_in_the_spelling_of_imports(as_staff, acme):
    [noor] = add(acme, person("Noor Example"))
    url = f"/admin/candidates/candidate/{noor.pk}/change/"
    fields = {"name": "Noor", "headline": "", "email": "Noor@Example.com", "external_id": ""}

    refused = as_staff.post(url, fields | {"link": "https://example.com"})
    as_staff.post(url, fields | {"link": "https://www.linkedin.com/in/Noor/"})

    assert "Give the address of a LinkedIn" in refused.text
    noor.refresh_from_db()
    assert (noor.email, noor.link) == ("noor@example.com", "https://linkedin.com/in/noor")
