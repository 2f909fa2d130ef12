"""Nothing that a profile says is lost on its way to the model, whatever its fields are called."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.evidence import folded
from candidates.profiles.files import ProfileRow, parse_file
from candidates.profiles.importing import import_profiles
from candidates.profiles.reading import profile_text, read_profile
from tests.candidates.test_plain_text import PICTURE

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "candidates"


def row_of(content: object) -> ProfileRow:
    [row] = parse_file(json.dumps(content).encode())
    assert isinstance(row, ProfileRow), row
    return row


def text_of_basics(**basics: Any) -> str:
    return profile_text(row_of({"basics": {"name": "Noor Example", **basics}}).content)


@pytest.mark.parametrize(
    ("basics", "line"),
    [
        ({"headline": "Staff Engineer"}, "Staff Engineer"),
        ({"label": "Engineer", "headline": "Ships on time"}, "Headline: Ships on time"),
        ({"workPermit": "EU Blue Card"}, "Work permit: EU Blue Card"),
        ({"work_permit": True}, "Work permit: yes"),
        ({"website": "https://noor.test"}, "Website: https://noor.test"),
        (
            {"availability": {"from": "2027-01", "noticePeriod": "3 months"}},
            "Availability: From: 2027-01, Notice period: 3 months",
        ),
        ({"yearsOfExperience": 7}, "Years of experience: 7"),
        ({"willingToTravel": False}, "Willing to travel: no"),
        ({"drivingLicences": ["B", "C1"]}, "Driving licences: B, C1"),
        ({"clearance": [{"level": "SC", "until": 2028}]}, "Clearance: Level: SC, Until: 2028"),
        ({"nationality": "Dutch"}, "Nationality: Dutch"),
        ({"location": {"city": "Utrecht", "country": "Netherlands"}}, "Utrecht, Country: Netherlands"),
        ({"deep": {"a": {"b": {"c": "found"}}}}, "Deep: A, b, c: found"),
    ],
)
def test_what_basics_says_in_other_fields_reaches_the_model(basics, line):
    assert line in text_of_basics(**basics).split("\n")


def test_a_long_fact_of_basics_has_lines_of_its_own_and_does_not_push_out_the_rest():
    motivation = "I like hard problems. " * 40

    content = {"basics": {"name": "Noor", "motivation": motivation}, "work": [{"position": "Engineer"}]}

    assert profile_text(content) == f"Noor\n\nWork\n- Engineer\n\nMore\n- Motivation\n  {motivation.strip()}"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (
            {"work": [{"company": "Acme", "jobTitle": "Engineer", "from": "2020", "to": "2022", "teamSize": 5}]},
            ["- Engineer, Acme: From: 2020, Team size: 5, To: 2022"],
        ),
        (
            {"work": [{"name": {"title": "Acme", "sector": "Rail"}, "position": ["Lead", "Engineer"]}]},
            ["- Lead, Engineer: Name, sector: Rail, Name, title: Acme"],
        ),
        (
            {"work": [{"position": "Engineer", "startDate": {"year": 2020, "month": 5}}]},
            ["- Engineer (2020-05 to now)"],
        ),
        ({"work": [{"position": "Engineer", "date": {"start": "2020", "end": "2021"}}]}, ["- Engineer (2020 to 2021)"]),
        (
            {"work": [{"position": "Engineer", "startDate": "2020", "start": "May"}]},
            ["- Engineer (2020 to now): Start: May"],
        ),
        (
            {"work": [{"position": "Engineer", "summary": ["Led a team of five engineers over two years", "Shipped"]}]},
            ["- Engineer", "  Led a team of five engineers over two years", "  Shipped"],
        ),
        (
            {"work": [{"position": "Engineer", "highlights": "One\nTwo"}]},
            ["- Engineer: One, Two"],
        ),
        (
            {"work": [{"position": "Engineer", "highlights": [{"title": "Won", "year": 2020}, 7]}]},
            ["- Engineer: Title: Won, Year: 2020, 7"],
        ),
        (
            {"work": {"acme": {"position": "Engineer"}, "globex": {"position": "Lead"}}},
            ["- Acme: Engineer", "- Globex: Lead"],
        ),
        ({"education": [{"degree": "BSc", "school": "Example U", "gpa": 3.9}]}, ["- BSc, Example U: Gpa: 3.9"]),
        ({"education": "BSc Physics, Example U"}, ["- BSc Physics, Example U"]),
        ({"skills": ["Python", {"skill": "Go", "years": 3}, 7]}, ["- Python", "- Go: Years: 3", "- 7"]),
        ({"skills": {"languages": ["Python", "Go"], "tools": ["Git"]}}, ["- Languages: Python, Go", "- Tools: Git"]),
        ({"skills": "<ul><li>Python</li><li>Go</li></ul>"}, ["  - Python", "  - Go"]),
        ({"certifications": [{"name": "CKA", "issuer": "CNCF"}]}, ["Certifications", "- CKA, CNCF"]),
        ({"experience": [{"company": "Acme", "role": "Lead", "tasks": ["A", "B"]}]}, ["- Lead, Acme: Tasks: A, B"]),
        (
            {"patents": ["One", "Two"], "securityClearance": "SC"},
            ["- Patents: One, Two", "- Security clearance", "  SC"],
        ),
        (
            {"hobbyhorse": {"name": "X", "items": [{"name": "Y"}], "note": "Z"}},
            ["Hobbyhorse", "- Y", "- Name: X", "- Note: Z"],
        ),
        ({"licence": "Pilot (PPL)"}, ["- Licence", "  Pilot (PPL)"]),
        ({"basics": "Rust developer from Utrecht", "candidate_id": "A"}, ["Rust developer from Utrecht"]),
        ({"basics": [{"label": "Engineer"}, {"permit": "EU"}], "candidate_id": "A"}, ["Engineer", "Permit: EU"]),
    ],
)
def test_what_standard_sections_say_in_other_ways_reaches_the_model(content, lines):
    text = profile_text(row_of({"basics": {"name": "Noor"}, **content}).content)

    assert set(lines) <= set(text.split("\n")), text


def test_a_person_is_named_by_the_parts_of_their_name():
    row = row_of({"basics": {"firstName": "Noor", "lastName": "Example", "headline": "Engineer"}})

    assert (row.name, row.headline) == ("Noor Example", "Engineer")
    assert profile_text(row.content) == "Noor Example\nEngineer"


def test_contact_and_personal_data_are_shown_and_never_sent():
    basics = {
        "name": "Noor Example",
        "mobile": "+31 6 0000",
        "location": {"city": "Utrecht", "address": "1 Secret Street", "postalCode": "3500 AA"},
        "dateOfBirth": "1990-01-01",
        "maritalStatus": "married",
        "linkedin": "https://linkedin.com/in/noor",
        "nested": {"email": "noor@example.com", "fact": "kept"},
    }
    content = {
        "basics": basics,
        "work": [{"position": "Engineer", "supervisor": {"name": "Ada", "phone": "555"}}],
        "references": [{"name": "A Boss", "reference": "Hire!", "phone": "444", "company": "Acme"}, "B Boss: yes"],
    }

    text, page = profile_text(content), repr(read_profile(content))

    kept = ("+31 6 0000", "1 Secret Street", "3500 AA", "1990-01-01", "married", "linkedin.com/in/noor")
    for value in (*kept, "noor@example.com", "555", "444", "Hire!", "B Boss: yes", "Acme"):
        assert value not in text
        assert value in page
    for value in ("Utrecht", "kept", "Ada"):
        assert value in text


def test_what_is_hidden_or_private_is_neither_shown_nor_sent():
    content = {
        "basics": {"name": "Noor", "privateNotes": "SECRET", "x": {"visible": False, "text": "SECRET"}},
        "work": [
            {"position": "Engineer"},
            {"position": "SECRET", "hidden": True},
            {"name": "SECRET", "isVisible": False},
        ],
        "awards": {"visible": False, "items": [{"title": "SECRET"}]},
        "references": [{"name": "SECRET", "visible": False}],
        "projects": [{"name": "SECRET", "visible": "false"}, {"name": "SECRET", "hidden": 1}],
        "custom": [{"items": [{"name": "SECRET", "isHidden": True}, {"name": "shown", "isHidden": False}]}],
    }

    assert "SECRET" not in profile_text(content) + repr(read_profile(content))
    assert "shown" in profile_text(content)


LEAVES = st.text("abcdefghij", min_size=5, max_size=9) | st.integers(10_000, 99_999)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "position", "summary", "date", "url", "level", "zeta", "items", "score"]),
            inner,
            min_size=1,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def leaves(value: object) -> set[str]:
    if isinstance(value, dict):
        return {leaf for key, item in value.items() for leaf in leaves(item)}
    if isinstance(value, list):
        return {leaf for item in value for leaf in leaves(item)}
    return {str(value)}


@given(
    st.dictionaries(
        st.sampled_from(["work", "education", "skills", "languages", "projects", "awards", "publications", "extra"]),
        TREES,
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["label", "headline", "permit", "summary", "location"]), TREES, max_size=3),
)
def test_every_value_of_whatever_shape_is_on_the_page_and_all_but_links_in_the_text(sections, basics):
    content = {"basics": {"name": "Noor", **basics}, **sections}
    page = repr(read_profile(content))

    assert {leaf for leaf in leaves(content) if leaf not in page} == set()
    text = profile_text(without_links(content))
    assert {leaf for leaf in leaves(without_links(content)) if leaf not in text} == set()


def without_links(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_links(item) for key, item in value.items() if key != "url"}
    return [without_links(item) for item in value] if isinstance(value, list) else value


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")
def test_every_fact_of_the_sample_profiles_reaches_the_model():
    """Of each profile all words of all its fields, but for contact data, hobbies, referees and links."""
    lost: list[tuple[str, str]] = []
    rows = [json.loads(line) for file in sorted(DATA.glob("*.jsonl")) for line in file.read_text().splitlines()]
    for row in rows:
        resume = dict(row["resume"])
        basics = {
            key: value
            for key, value in resume.get("basics", {}).items()
            if key not in ("email", "phone", "url", "profiles", "image")
        }
        if isinstance(basics.get("location"), dict):
            basics["location"] = {key: basics["location"].get(key) for key in ("city", "region", "countryCode")}
        facts = {
            key: value
            for key, value in resume.items()
            if key not in ("$schema", "meta", "interests", "references", "basics")
        }
        stored = row_of(row).content
        text = f" {folded(profile_text(stored))} "
        for fact in leaves(without_links({**facts, "basics": basics, "raw_text": row.get("raw_text") or ""})) - {
            "None",
            "",
        }:
            fact = fact.replace("\\n", "\n")
            words = folded(fact)
            if (
                words
                and f" {words} " not in text
                and not all(f" {folded(line)} " in text for line in fact.splitlines())
            ):
                lost.append((row["candidate_id"], fact[:80]))

    assert len(rows) == 1_864
    assert lost == []


def test_the_digest_is_of_what_was_given_so_that_old_files_stay_unchanged():
    """Mark-up and pictures go when a profile is read or stored: the digest is what it always was."""
    picture = f"data:image/png;base64,{PICTURE}"
    resume = {
        "basics": {"name": "Noor", "image": picture, "summary": "<p>R&amp;D</p>", "workPermit": "EU"},
        "x": [1, None],
    }
    canonical = json.dumps(resume, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    assert row_of(resume).digest == sha256(canonical.encode()).hexdigest()


def test_a_picture_neither_makes_a_profile_too_large_nor_changes_its_digest(acme):
    picture = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUg" * 20_000
    content = {"basics": {"name": "Noor Example", "image": picture, "label": "Engineer"}}
    row = row_of(content)

    assert len(json.dumps(row.content)) < 200
    assert import_profiles(organization=acme, rows=[row], actor=None).imported == 1
    assert import_profiles(organization=acme, rows=[row_of(content)], actor=None).unchanged == 1
