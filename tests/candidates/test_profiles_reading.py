from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.conf import settings

from candidates.models import CandidateCheck, Requirement
from candidates.profiles.files import ProfileRow, parse_file
from candidates.profiles.importing import import_profiles
from candidates.profiles.links import normalize_link, profile_link, web_link
from candidates.profiles.reading import CUT_MARK, MAX_TEXT_CHARACTERS, profile_text, read_profile
from candidates.scoring import score
from simulator.verdicts import verdicts

DEMO_DATA = Path(settings.BASE_DIR) / "config" / "demo_data"
Category = CandidateCheck.Category


@pytest.mark.parametrize(
    "address",
    [
        "https://www.linkedin.com/in/Jane-Doe/",
        "http://linkedin.com/in/jane-doe?trk=public",
        "https://de.linkedin.com/in/jane-doe#about",
        "linkedin.com/in/jane-doe",
        "//www.linkedin.com/in/jane-doe/en",
        " HTTPS://WWW.LinkedIn.com/in/jane%2Ddoe/details/skills ",
        "https://m.linkedin.com./in//jane-doe",
    ],
)
def test_every_spelling_of_a_linkedin_profile_is_one_link(address):
    assert normalize_link(address) == "https://linkedin.com/in/jane-doe"


def test_letters_of_other_scripts_compare_equal_however_they_are_encoded():
    expected = "https://linkedin.com/in/zoë-müller"

    assert normalize_link("https://linkedin.com/in/zo%C3%AB-m%C3%BCller") == expected
    assert normalize_link("https://linkedin.com/in/Zoe\u0308-Müller") == expected


@pytest.mark.parametrize(
    "address",
    [
        "https://www.linkedin.com",
        "https://www.linkedin.com/in/",
        "https://www.linkedin.com/in/me",
        "https://www.linkedin.com/company/acme",
        "https://linkedin.com@evil.example/in/jane",
        "https://notlinkedin.com/in/jane",
        "https://linkedin.com.evil.example/in/jane",
        "https://linkedin.com/in/a%2Fb",
        "https://linkedin.com/in/a%00b",
        "https://linkedin.com/in/" + "x" * 500,
        "https://example.com/team/jane",
        "https://github.com",
        "https://github.com/acme/product",
        "ftp://linkedin.com/in/jane",
        "javascript:alert(1)",
        "https://[broken",
        "",
        None,
        7,
        ["https://linkedin.com/in/jane"],
    ],
)
def test_an_address_that_names_no_one_person_is_no_profile_link(address):
    assert normalize_link(address) == ""


@pytest.mark.parametrize(
    ("basics", "link"),
    [
        ({"url": "https://www.linkedin.com/in/jane"}, "https://linkedin.com/in/jane"),
        ({"profiles": [{"network": "linkedin", "username": "Jane"}]}, "https://linkedin.com/in/jane"),
        (
            {
                "url": "https://github.com/jane",
                "profiles": [
                    {"network": "GitHub", "url": "https://github.com/jane"},
                    {"network": "Other", "url": "https://linkedin.com/in/jane"},
                ],
            },
            "https://linkedin.com/in/jane",
        ),
        ({"profiles": [{"network": "GitHub", "url": "https://github.com/Jane"}]}, "https://github.com/jane"),
        (
            {"profiles": [{"username": "@jane", "url": "https://social.example/@jane"}]},
            "https://social.example/@jane",
        ),
        ({"profiles": [{"username": "jane", "url": "https://www.twitter.com"}]}, ""),
        ({"profiles": [{"username": "jane", "url": "https://example.com/team"}]}, ""),
        ({"url": "https://example.com/about"}, ""),
        ({"profiles": {"url": "https://linkedin.com/in/jane"}, "url": 7}, ""),
        ({}, ""),
    ],
)
def test_the_profile_link_is_the_one_that_identifies_the_person(basics, link):
    assert profile_link(basics) == link


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "java\tscript:x",
        "data:text/html,x",
        "//evil.example",
        "https://a b.example",
        "x",
    ],
)
def test_only_web_addresses_become_links(address):
    assert web_link(address) == ""


def test_the_text_for_prompts_is_readable_and_always_the_same():
    content = {
        "basics": {
            "name": "Noor Example",
            "label": "Engineer",
            "email": "noor@example.com",
            "phone": "555-0100",
            "summary": "Builds things.\r\nLikes them small.",
            "location": {"address": "1 Secret Street", "city": "Utrecht", "countryCode": "NL"},
            "profiles": [{"network": "GitHub", "url": "https://github.com/noor"}],
        },
        "meta": {"years_experience": 5},
        "work": [
            {
                "position": "Engineer",
                "name": "Acme",
                "startDate": "2020-01",
                "summary": "Owns billing.",
                "highlights": ["Halved it", "Doubled it"],
            }
        ],
        "education": [{"studyType": "BSc", "area": "Physics", "institution": "Example U", "endDate": "2015"}],
        "skills": [{"name": "Backend", "level": "Expert", "keywords": ["Python", "Django"]}, "Cooking"],
        "languages": [{"language": "Dutch", "fluency": "Native"}],
        "certificates": [{"name": "CKA", "issuer": "CNCF", "date": "2022"}],
        "references": [{"name": "A Boss", "reference": "Hire!"}],
        "interests": [{"name": "Chess"}],
        "tools": {"favourite": "vim"},
        "raw_text": "As it came.",
    }

    text = profile_text(content)

    assert (
        text
        == """\
Noor Example
Engineer
Utrecht, NL
Experience: 5 years

Summary
Builds things.
Likes them small.

Work
- Engineer, Acme (2020-01 to now)
  Owns billing.
  * Halved it
  * Doubled it

Education
- BSc, Physics, Example U (2015)

Skills
- Backend (Expert): Python, Django
- Cooking

Languages
- Dutch (Native)

Certificates
- CKA, CNCF (2022)

Tools
- Favourite: vim

Resume text
As it came."""
    )
    assert profile_text(json.loads(json.dumps(content, sort_keys=True))) == text


def test_a_long_profile_is_cut_with_a_mark():
    text = profile_text({"basics": {"name": "Noor"}, "raw_text": "word " * 20_000})

    assert len(text) <= MAX_TEXT_CHARACTERS
    assert text.endswith(CUT_MARK)


def test_wrong_types_are_read_as_what_they_say():
    profile = read_profile(
        {
            "basics": {"name": ["Noor", "Example"], "label": 7, "location": "Utrecht", "profiles": "none"},
            "work": {"position": "Engineer", "highlights": "One thing"},
            "skills": "Python",
            "education": [None, 3, {"courses": {"a": 1}}],
            "meta": ["x"],
        }
    )

    assert (profile.name, profile.headline, profile.location) == ("Noor, Example", "7", "Utrecht")
    assert [section.title for section in profile.sections] == ["Work", "Education", "Skills"]
    assert profile.sections[0].entries[0].items == ("One thing",)


def demo_rows() -> list[ProfileRow]:
    rows = parse_file((DEMO_DATA / "profiles.jsonl").read_bytes())
    return [row for row in rows if isinstance(row, ProfileRow)]


def test_the_people_of_the_demo_are_thirteen_and_fictional(acme):
    rows = demo_rows()

    report = import_profiles(organization=acme, rows=rows, actor=None)

    assert (report.imported, report.errors) == (13, ())
    assert all(row.email.endswith("@example.com") and row.link.endswith("-demo") for row in rows)
    marked = ["[[simulate-unparsable]]" in profile_text(row.content) for row in rows]
    assert marked == [False] * 12 + [True]


@pytest.mark.parametrize(
    ("key", "categories"),
    [
        ("A", "strong possible none none none none strong none none strong possible none"),
        ("B", "none none strong none none possible possible strong none none none none"),
    ],
)
def test_the_briefings_of_the_demo_find_people_who_fit_and_people_who_do_not(key, categories):
    [briefing] = [each for each in json.loads((DEMO_DATA / "briefings.json").read_text()) if each["key"] == key]
    requirements = [Requirement(pk=number, **row) for number, row in enumerate(briefing["requirements"], 1)]
    asked = [{"id": requirement.pk, "requirement": requirement.text} for requirement in requirements]

    found = []
    for row in demo_rows()[:12]:
        answers = verdicts(asked, profile_text(row.content))
        found.append(score(requirements, {answer["id"]: answer["verdict"] for answer in answers})[1])

    assert " ".join(found) == categories
