"""What the simulated model makes of requirements, profiles and job descriptions."""

from __future__ import annotations

import json
import time

import pytest

from simulator.answers import answer
from simulator.drafts import draft
from simulator.verdicts import LONGEST_QUOTE, verdicts
from simulator.words import stem, years_in

PROFILE = """\
Jane Doe
Senior software engineer with 7 years of experience.

Work
Acme: Managed a team of six engineers. Built payment services in Python and Django on AWS.
Globex: Developed reporting dashboards; maintained PostgreSQL databases.

Education
B.Sc. in Computer Science
Languages: English, German
"""


def verdict(requirement: str, profile: str = PROFILE) -> tuple[str, str]:
    (row,) = verdicts([{"id": 1, "requirement": requirement}], profile)
    return row["verdict"], row["quote"]


@pytest.mark.parametrize(
    ("requirement", "quote"),
    [
        ("Python", "Built payment services in Python and Django on AWS."),
        (
            "Strong experience with Django and Python is required",
            "Built payment services in Python and Django on AWS.",
        ),
        ("Team management", "Acme: Managed a team of six engineers."),
        ("Develops dashboards", "Globex: Developed reporting dashboards;"),
        ("Databases (PostgreSQL)", "maintained PostgreSQL databases."),
        ("Postgres", "maintained PostgreSQL databases."),
        ("Bachelor's degree in computer science", "B.Sc. in Computer Science"),
        ("Java or Python", "Built payment services in Python and Django on AWS."),
        ("Kotlin, Java/Python", None),
        ("At least 5 years of experience", "Senior software engineer with 7 years of experience."),
        ("5+ years as a software engineer", "Senior software engineer with 7 years of experience."),
        ("Speaks German", None),
    ],
)
def test_what_the_profile_shows_is_met_with_its_own_words_as_quote(requirement, quote):
    outcome, found = verdict(requirement)

    if quote is None:
        assert outcome == "partly"
    else:
        assert (outcome, found) == ("met", quote)


@pytest.mark.parametrize(
    "requirement", ["Python and Kotlin", "10 years of software engineering with Python", "AWS and Terraform"]
)
def test_half_of_it_is_partly_met(requirement):
    outcome, quote = verdict(requirement)

    assert outcome == "partly"
    assert quote
    assert quote in PROFILE


@pytest.mark.parametrize(
    "requirement",
    ["COBOL", "Nursing license law", "Embedded Rust on microcontrollers with Python", "20 years of COBOL"],
)
def test_what_the_profile_does_not_show_is_not_met_or_unknown(requirement):
    outcome, quote = verdict(requirement)

    assert outcome == ("unknown" if "license" in requirement else "not_met")
    assert quote == ""


@pytest.mark.parametrize(
    "requirement",
    ["Salary expectation below 60,000 EUR", "Notice period of four weeks", "Willing to relocate", ""],
)
def test_what_profiles_cannot_tell_is_unknown(requirement):
    assert verdict(requirement) == ("unknown", "")


def test_what_profiles_seldom_tell_is_met_where_one_does():
    assert verdict("Willing to relocate", "Berlin. Willing to relocate.") == ("met", "Willing to relocate.")


def test_a_quote_from_a_long_sentence_is_a_piece_of_it_around_the_words():
    long = f"{'Lorem ipsum dolor sit amet ' * 30}and Kubernetes {'consectetur adipiscing elit ' * 30}"

    outcome, quote = verdict("Kubernetes", long)

    assert outcome == "met"
    assert "Kubernetes" in quote
    assert quote in long
    assert len(quote) <= LONGEST_QUOTE


def test_every_requirement_gets_a_verdict_under_its_own_id():
    rows = verdicts(
        [
            {"id": 7, "requirement": "Python"},
            {"id": "x", "requirement": "COBOL"},
            {"no": "id"},
            "text",
            {"id": 3},
        ],
        PROFILE,
    )

    assert [(row["id"], row["verdict"]) for row in rows] == [(7, "met"), ("x", "not_met"), (3, "unknown")]


@pytest.mark.parametrize("profile", ["", "\n\n", "...", "x" * 100_000, "word " * 50_000])
def test_any_profile_can_be_read_quickly(profile):
    started = time.perf_counter()

    assert verdict("Python and Django", profile)[0] == "not_met"
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        (("managed", "Manager", "management", "managing", "manages"), "manag"),
        (("testing", "tests", "tester", "TESTED"), "test"),
        (("engineer", "engineers", "engineering"), stem("engineer")),
        (("Node.js", "nodejs"), "node"),
        (("analyst", "analytics", "Analysis"), stem("analysis")),
        (("C++",), "c++"),
        (("C#",), "c#"),
        (("with", "the", "experience", "2019", "e"), ""),
    ],
)
def test_relatives_share_a_stem(words, shared):
    assert {stem(word) for word in words} == {shared}


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("7 years of experience", 7),
        ("5+ yrs", 5),
        ("3-5 years", 3),
        ("2 to 4 years, then 1 year", 2),
        ("2.5 years", 2),
        ("since 2019", None),
        ("2019 years", None),
    ],
)
def test_years_are_read_as_numbers(text, years):
    assert years_in(text) == years


JOB = """\
Senior Data Engineer

We are a small company that likes its customers, and we have a nice office.

You bring:
- At least 5 years of experience with Python
- SQL and PostgreSQL knowledge is required
- Experience with Kafka, Spark and Airflow in production
- Degree in computer science preferred
- Knowledge of Terraform is a plus
- Good communication skills
"""


def test_a_job_description_becomes_requirements():
    drafted = draft(JOB)

    assert drafted["title"] == "Senior Data Engineer"
    assert [(row["text"], row["kind"], row["weight"]) for row in drafted["requirements"]] == [
        ("At least 5 years of experience with Python", "must", 1),
        ("SQL and PostgreSQL knowledge is required", "must", 1),
        ("Experience with Kafka, Spark and Airflow in production", "nice", 3),
        ("Degree in computer science preferred", "nice", 1),
        ("Knowledge of Terraform is a plus", "nice", 1),
        ("Good communication skills", "nice", 2),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Job title: Nurse\nWe need you.", "Nurse"),
        ("We are looking for a Registered Nurse to join our ward. " * 3, "Registered Nurse"),
        ("## Plumber ##\nFix pipes.", "Plumber"),
        (
            "Somebody who fixes pipes and does so every single day of the whole year.",
            "Somebody who fixes pipes and does so every",
        ),
        ("", "Untitled job"),
    ],
)
def test_the_job_is_named(text, title):
    assert draft(text)["title"] == title


@pytest.mark.parametrize(
    "text", [JOB, JOB * 20, f"Must have {'very ' * 200}long experience, and more", "Python. " * 3, "x", ""]
)
def test_requirements_are_few_short_and_different(text):
    rows = draft(text)["requirements"]

    assert len(rows) <= 8
    assert all(0 < len(row["text"]) <= 200 for row in rows)
    assert all(row["kind"] in ("must", "nice") and 1 <= row["weight"] <= 3 for row in rows)
    assert len({row["text"] for row in rows}) == len(rows)


def test_a_drafting_prompt_is_answered_with_a_draft():
    drafted = json.loads(answer(f"Draft.\n<job_description>\n{JOB}</job_description>"))

    assert drafted["title"] == "Senior Data Engineer"
    assert len(drafted["requirements"]) == 6


@pytest.mark.parametrize(
    "prompt",
    ["Hello.", "<profile>x</profile>", "<requirements>no json</requirements><profile>x</profile>", ""],
)
def test_any_other_prompt_is_answered_too(prompt):
    assert answer(prompt)
