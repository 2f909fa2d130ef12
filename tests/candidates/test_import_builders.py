"""Exports of résumé builders: what their authors show is read, what they hide or note for themselves never leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.models import CandidateCheck, Profile
from candidates.profiles.builder_exports import refusal_of, translated
from candidates.profiles.files import ProfileRow, RowError, parse_file, read_profile
from candidates.profiles.importing import import_profiles
from candidates.profiles.reading import profile_text
from candidates.recency import kind_for
from tests.builders import NOW, checked_before
from tests.candidates.test_plain_text import PICTURE


def section(*items: dict[str, Any], visible: bool = True, **more: Any) -> dict[str, Any]:
    shown = [{"id": "x1", "visible": True, **item} for item in items]
    return {"name": "A", "columns": 1, "separateLinks": True, "visible": visible, "id": "a", "items": shown, **more}


def link(address: str = "") -> dict[str, str]:
    return {"label": "", "href": address}


VERSION_4: dict[str, Any] = {
    "basics": {
        "name": "Noor Example",
        "headline": "Data Engineer",
        "email": "noor@acme.test",
        "phone": "+31 6 0000",
        "location": "Utrecht",
        "url": link("https://noor.test/"),
        "customFields": [{"id": "c", "icon": "passport", "name": "Work permit", "value": "EU Blue Card"}],
        "picture": {"url": f"data:image/png;base64,{PICTURE}", "size": 64, "effects": {"hidden": False}},
    },
    "sections": {
        "summary": {"name": "Summary", "visible": True, "id": "summary", "content": "<p>Builds <b>pipelines</b>.</p>"},
        "experience": section(
            {
                "company": "Acme",
                "position": "Engineer",
                "location": "Delft",
                "date": "2019 to now",
                "summary": "<ul><li><p>Halved costs</p></li><li><p>Led 5</p></li></ul>",
                "url": link("https://acme.test"),
            },
            {"company": "SECRET Ltd", "position": "Waiter", "visible": False},
        ),
        "education": section(
            {"institution": "Example U", "studyType": "BSc", "area": "Physics", "score": "8", "date": "2015"}
        ),
        "skills": section(
            {"name": "Backend", "description": "Advanced", "level": 4, "keywords": ["Python", "Go"]},
            {"name": "Ops", "description": "", "level": 2, "keywords": []},
        ),
        "languages": section({"name": "Dutch", "description": "Native", "level": 5}),
        "certifications": section({"name": "CKA", "issuer": "CNCF", "date": "2022", "summary": "", "url": link()}),
        "projects": section({"name": "Sift", "description": "Owner", "summary": "<p>Search</p>", "keywords": ["Rust"]}),
        "awards": section({"title": "SECRET award", "awarder": "X"}, visible=False),
        "profiles": section(
            {
                "network": "LinkedIn",
                "username": "noor",
                "icon": "linkedin",
                "url": link("https://linkedin.com/in/noor-x"),
            }
        ),
        "references": section({"name": "SECRET boss", "description": "", "summary": "Hire"}, visible=False),
        "interests": section({"name": "Chess", "keywords": []}),
        "custom": {
            "k1": section(
                {"name": "Talk", "description": "PyCon", "date": "2021", "location": "", "summary": "<p>On queues</p>"},
                name="Talks",
            ),
            "k2": section({"name": "SECRET"}, visible=False, name="Drafts"),
        },
    },
    "metadata": {"template": "onyx", "notes": "<p>SECRET: wants 90k</p>", "css": {"value": "p {}", "visible": False}},
}
SHOWN_4 = """\
Noor Example
Data Engineer
Utrecht
Work permit: EU Blue Card

Summary
Builds pipelines.

Work
- Engineer, Acme (2019 to now, Delft)
  - Halved costs
  - Led 5

Education
- BSc, Physics, Example U (2015, 8)

Skills
- Backend (Advanced): Python, Go
- Ops (2 of 5)

Languages
- Dutch (Native)

Certificates
- CKA, CNCF (2022)

Projects
- Sift
  Owner
  Search
  * Rust

Talks
- Talk (2021)
  PyCon
  On queues"""

VERSION_3: dict[str, Any] = {
    "public": True,
    "basics": {
        "name": "Noor Example",
        "headline": "Data Engineer",
        "email": "noor@acme.test",
        "phone": "",
        "birthdate": "1990-01-01",
        "website": "https://noor.test",
        "summary": "Builds **pipelines**.",
        "location": {"city": "Utrecht", "country": "NL", "address": "1 Street", "region": "", "postalCode": ""},
        "profiles": [{"id": "p", "network": "LinkedIn", "username": "noor", "url": "https://linkedin.com/in/noor-x"}],
        "photo": {"url": "https://acme.test/me.png", "visible": True, "filters": {"size": 128}},
    },
    "sections": {
        "work": {
            "id": "work",
            "name": "Work",
            "type": "basic",
            "columns": 2,
            "visible": True,
            "items": [
                {
                    "id": "1",
                    "name": "Acme",
                    "position": "Engineer",
                    "date": {"start": "2019-01-01", "end": ""},
                    "url": "",
                    "summary": "* Halved\n* Led",
                }
            ],
        },
        "education": {
            "type": "basic",
            "visible": True,
            "items": [
                {
                    "institution": "Example U",
                    "degree": "BSc",
                    "area": "Physics",
                    "date": {"start": "2012", "end": "2015"},
                    "score": "",
                    "courses": ["Optics"],
                }
            ],
        },
        "skills": {
            "type": "basic",
            "visible": True,
            "items": [{"name": "Python", "level": "Advanced", "levelNum": 8, "keywords": []}],
        },
        "languages": {
            "type": "basic",
            "visible": True,
            "items": [{"name": "Dutch", "level": "Native", "levelNum": 10}],
        },
        "awards": {"type": "basic", "visible": False, "items": [{"title": "SECRET", "awarder": "X"}]},
        "8c0b": {
            "type": "custom",
            "name": "Talks",
            "visible": True,
            "items": [{"title": "On queues", "subtitle": "PyCon", "levelNum": 0}],
        },
    },
    "metadata": {"locale": "en", "layout": [[["work"], []]]},
}
SHOWN_3 = """\
Noor Example
Data Engineer
Utrecht, Country: NL

Summary
Builds pipelines.

Work
- Engineer, Acme (2019-01-01 to now)
  - Halved
  - Led

Education
- BSc, Physics, Example U (2012 to 2015): Optics

Skills
- Python (Advanced)

Languages
- Dutch (Native)

Talks
- On queues: Subtitle: PyCon"""


def shown_5(*items: dict[str, Any], hidden: bool = False, **more: Any) -> dict[str, Any]:
    entries = [
        {"id": "i", "hidden": False, "website": {"url": "", "label": "", "inlineLink": False}, **item} for item in items
    ]
    return {"title": "A", "columns": 1, "hidden": hidden, "items": entries, **more}


VERSION_5: dict[str, Any] = {
    "picture": {"hidden": False, "url": "/uploads/me.jpg", "size": 80, "borderColor": "rgba(0, 0, 0, 0.5)"},
    "basics": {
        "name": "Noor Example",
        "headline": "Data Engineer",
        "email": "noor@acme.test",
        "phone": "",
        "location": "Utrecht",
        "website": {"url": "https://noor.test", "label": ""},
        "customFields": [{"id": "c", "icon": "passport", "text": "EU Blue Card", "link": ""}],
    },
    "summary": {"title": "Summary", "columns": 1, "hidden": False, "content": "<p>Builds pipelines.</p>"},
    "sections": {
        "profiles": shown_5(
            {
                "network": "LinkedIn",
                "username": "noor",
                "website": {"url": "https://linkedin.com/in/noor-x", "label": ""},
            }
        ),
        "experience": shown_5(
            {
                "company": "Acme",
                "position": "",
                "location": "Delft",
                "period": "2015 - now",
                "description": "",
                "roles": [
                    {"id": "r1", "position": "Lead", "period": "2019 - now", "description": "<p>Led 5</p>"},
                    {"id": "r2", "position": "Engineer", "period": "2015 - 2019", "description": ""},
                ],
            },
            {"company": "SECRET Ltd", "position": "Waiter", "hidden": True},
        ),
        "education": shown_5(
            {
                "school": "Example U",
                "degree": "BSc",
                "area": "Physics",
                "grade": "8",
                "location": "",
                "period": "2015",
                "description": "",
            }
        ),
        "skills": shown_5(
            {"icon": "code", "name": "Backend", "proficiency": "Advanced", "level": 4, "keywords": ["Python"]}
        ),
        "languages": shown_5({"language": "Dutch", "fluency": "Native", "level": 5}),
        "awards": shown_5({"title": "SECRET", "awarder": "X"}, hidden=True),
    },
    "customSections": [
        shown_5(
            {
                "company": "Globex",
                "position": "Intern",
                "period": "2014",
                "location": "",
                "description": "",
                "roles": [],
            },
            type="experience",
            id="c1",
        ),
        shown_5({"content": "<p>I give talks</p>"}, type="summary", id="c2") | {"title": "Talks"},
        shown_5({"content": "SECRET"}, hidden=True, type="summary", id="c3"),
    ],
    "metadata": {"template": "onyx", "notes": "SECRET: wants 90k"},
}
SHOWN_5 = """\
Noor Example
Data Engineer
Utrecht
More: EU Blue Card

Summary
Builds pipelines.

Work
- Lead, Acme (2019 - now, Delft)
  Led 5
- Engineer, Acme (2015 - 2019, Delft)
- Intern, Globex (2014)

Education
- BSc, Physics, Example U (2015, 8)

Skills
- Backend (Advanced): Python

Languages
- Dutch (Native)

Talks
- Content: I give talks"""
REACTIVE = [(VERSION_3, SHOWN_3), (VERSION_4, SHOWN_4), (VERSION_5, SHOWN_5), ({"id": "1", "data": VERSION_4}, SHOWN_4)]
IDS = ["version 3", "version 4", "version 5", "as its API gives it"]


def row_of(document: object) -> ProfileRow:
    [row] = parse_file(json.dumps(document).encode())
    assert isinstance(row, ProfileRow), row
    return row


@pytest.mark.parametrize(("export", "shown"), REACTIVE, ids=IDS)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_reactive_resume_export_is_read_as_its_author_shows_it(export, shown, is_wrapped):
    row = row_of({"candidate_id": "A-17", "resume": export} if is_wrapped else export)

    assert (row.name, row.headline, row.email) == ("Noor Example", "Data Engineer", "noor@acme.test")
    assert row.link == "https://linkedin.com/in/noor-x"
    assert profile_text(row.content) == shown
    assert "SECRET" not in json.dumps(row.content)
    assert PICTURE[:30] not in json.dumps(row.content)


@pytest.mark.parametrize(("export", "shown"), REACTIVE, ids=IDS)
def test_an_export_that_was_stored_as_it_came_is_read_the_same_and_sends_nothing_hidden(export, shown):
    assert profile_text(export) == shown


def test_importing_such_an_export_again_is_a_new_version_once_and_stays_the_recent_price(acme):
    import_profiles(organization=acme, rows=[row_of(VERSION_4)], actor=None)
    Profile.objects.update(content=VERSION_4, digest="0" * 64)  # as it was stored before exports were translated
    candidate = Profile.objects.get().candidate
    checked_before(candidate, at=NOW)

    reports = [import_profiles(organization=acme, rows=[row_of(VERSION_4)], actor=None) for _ in range(2)]

    assert [(report.updated, report.unchanged) for report in reports] == [(1, 0), (0, 1)]
    assert kind_for(candidates=[candidate], organization=acme, now=NOW) == {candidate.pk: CandidateCheck.Kind.RECENT}


def test_a_note_that_only_its_author_sees_makes_no_new_version(acme):
    noted = VERSION_4 | {"metadata": {"notes": "another"}}

    import_profiles(organization=acme, rows=[row_of(VERSION_4)], actor=None)

    assert import_profiles(organization=acme, rows=[row_of(noted)], actor=None).unchanged == 1


def test_an_openresume_state_is_read_without_the_parts_that_are_switched_off():
    state = {
        "resume": {
            "profile": {
                "name": "Noor Example",
                "email": "noor@acme.test",
                "phone": "1",
                "summary": "Builds.",
                "location": "Utrecht",
                "portfolioLink": "https://noor.test",
                "linkedinLink": "linkedin.com/in/noor-x",
                "githubLink": "",
            },
            "workExperiences": [
                {"company": "Acme", "jobTitle": "Engineer", "date": "2019 - now", "descriptions": ["Halved", "Led"]}
            ],
            "educations": [{"school": "Example U", "degree": "BSc", "date": "2015", "gpa": "8", "descriptions": []}],
            "projects": [{"project": "SECRET", "date": "", "descriptions": ["hidden"]}],
            "skills": {
                "featuredSkills": [{"skill": "Python", "rating": 4}, {"skill": "", "rating": 4}],
                "descriptions": ["Go, Rust"],
            },
            "custom": {"descriptions": ["Speaks at meetups"]},
        },
        "settings": {"formToShow": {"workExperiences": True, "projects": False}},
    }

    row = row_of(state)

    assert (row.name, row.link) == ("Noor Example", "https://linkedin.com/in/noor-x")
    assert profile_text(row.content) == (
        "Noor Example\nUtrecht\n\nSummary\nBuilds.\n\nWork\n- Engineer, Acme (2019 - now): Halved, Led\n\n"
        "Education\n- BSc, Example U (2015, 8)\n\nSkills\n- Python (4 of 5)\n- Go, Rust\n\n"
        "Other\n- More: Speaks at meetups"
    )


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"SkillsPassport": {"LearnerInfo": {"Identification": {}}}}, "a Europass CV"),
        ({"LearnerInfo": {}}, "a Europass CV"),
        (
            {"profile": {"firstName": "Noor"}, "work": {"enable": True, "heading": "W", "items": []}},
            "an export of Reactive Resume 2",
        ),
        ({"cv": {"name": "Noor", "sections": {}}, "design": {}}, "a RenderCV file"),
        ({"name": "Noor", "meta": {"format": "FRESH@0.1.0"}, "employment": {}}, "a FRESH résumé"),
        ({"aboutMe": {"profile": {}}, "experience": {}, "settings": {}}, "a MAC (Manfred) CV"),
        ({"candidate": {"person": {"name": {}}}}, "an HR Open Standards (HR-XML) document"),
    ],
)
def test_an_export_that_is_not_read_is_refused_by_name_with_what_to_do(document, named):
    for given_document in (document, {"candidate_id": "A", "resume": document}):
        row = read_profile(given_document)

        assert isinstance(row, RowError)
        assert row.reason.startswith(f"It is {named}. ")
        assert "raw_text" in row.reason


def test_a_json_resume_is_no_export_of_a_builder():
    for document in (
        {"basics": {"name": "Noor"}, "work": [], "sections": {"a": 1}},
        {"basics": {"name": "Noor"}, "profile": "x", "candidate": {"id": 1}, "cv": {"name": "x"}},
    ):
        assert translated(document) is document
        assert refusal_of(document) == ""


NAMES = st.sampled_from(
    """basics sections items content summary custom customSections work experience roles skills visible hidden url
    website date level name type profile workExperiences featuredSkills descriptions customFields data profiles
    metadata""".split()  # noqa: SIM905
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["experience", "summary"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5), VALUES, VALUES)
def test_no_export_however_broken_makes_the_translation_raise(document, item, other):
    for given_document in (
        document,
        {
            "basics": document,
            "sections": {"experience": {"items": [item]}, "skills": other, "custom": item},
            "customSections": other,
        },
        {"profile": document, "workExperiences": [item], "skills": other, "educations": other},
    ):
        profile_text(given_document)
        read_profile(given_document)
