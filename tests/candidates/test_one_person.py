"""Who is one person: a link or a number alone never makes two people one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from candidates.models import Candidate, CandidateCheck, Profile
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.profiles.links import names_somebody, normalize_link, profile_link
from candidates.profiles.names import names_agree
from candidates.profiles.placeholders import is_placeholder, is_placeholder_email
from tests.candidates.test_import import REAL_PROFILES, counts, linked_in, resume, run, wrapped


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jane Doe", "jane  DOE"),
        ("Jane Doe", "Doe, Jane"),
        ("Dr. Jane Doe", "Jane Doe, PhD"),
        ("Jane Doe Ph.D.", "Dr.Jane Doe"),
        ("Jane Doe", "🚀 Jane\u00ad Doe"),
        ("Jane B. Doe", "Jane Doe"),
        ("Jane Doe", "Jane Doe-Smith"),
        ("Anne-Marie Smith", "Anne Marie Smith"),
        ("María García López", "Maria Garcia"),
        ("Jürgen Müller", "Mueller, Juergen"),
        ("Jürgen Müller", "Jurgen Muller"),
        ("Conor O’Brien", "Conor O Brien"),
        ("Łukasz Żółć", "Lukasz Zolc"),
        ("İpek Yılmaz", "ipek yilmaz"),
        ("ﬁona Ｓｍｉｔｈ", "Fiona Smith"),
        ("J. K. Rowling", "J.K. Rowling"),
        ("J. Doe", "J Doe"),
        ("Jack Ma", "Ma, Jack"),
        ("Madonna", "madonna"),
        ("李明", "李 明"),
        ("محمد علي", "علي محمد"),
        ("Иван Петров", "петров иван"),
        ("Dr.", "Dr."),
        ("🚀", "🚀"),
    ],
)
def test_these_names_agree(one, other):
    assert names_agree(one, other)
    assert names_agree(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jane Doe", "John Doe"),
        ("Jane Doe", "Jane Roe"),
        ("Jane", "Jane Doe"),
        ("Jane", "Joan"),
        ("J. Doe", "Jane Doe"),
        ("J. K. Rowling", "J. K. Smith"),
        ("Dr. med. Anna Schmidt", "Dr. med. Bernd Müller"),
        ("A. Smith Ph.D. M.Sc.", "B. Jones Ph.D. M.Sc."),
        ("Maria de la Cruz", "Juan de la Cruz"),
        ("Jan van den Berg", "Piet van den Berg"),
        ("Ahmed bin Ali", "Omar bin Ali"),
        ("山田太郎", "山田花子"),
        ("김민준", "김민서"),
        ("कुमार", "कमार"),
        ("Test Candidate 1", "Test Candidate 2"),
        ("🚀", "🎉"),
        ("Jane Doe", ""),
    ],
)
def test_these_names_do_not_agree(one, other):
    assert not names_agree(one, other)
    assert not names_agree(other, one)


def test_people_under_one_link_are_not_one_person(acme):
    people = [resume(f"{name} Doe", label=name, **linked_in("the-doe-family")) for name in ("Jane", "John", "Joe")]

    report = run(acme, people)

    assert counts(report) == (1, 0, 0, 2)
    assert report.errors[0].reason == (
        "Its profile link is that of “Jane Doe”, not of “John Doe”. Correct the profile link or the name."
    )
    assert Profile.objects.get().candidate.name == "Jane Doe"
    assert counts(run(acme, people)) == (0, 0, 1, 2)


def test_a_refusal_names_the_other_key_that_differs(acme):
    run(acme, [resume("Jane Doe", email="jane@x.example", **linked_in("doe"))])

    report = run(acme, [resume("John Doe", email="john@x.example", **linked_in("doe"))])

    assert report.errors[0].reason == (
        "Its profile link is that of “Jane Doe”, whose e-mail is jane@x.example, not john@x.example. "
        "Correct the profile link or the name."
    )


def test_who_changed_their_name_is_known_by_the_e_mail(acme):
    run(acme, [resume("Jane Doe", email="jane@x.example", **linked_in("jane"))])

    report = run(acme, [resume("Jane Smith", email="Jane@x.example", **linked_in("jane"))])

    assert counts(report) == (0, 1, 0, 0)
    assert Candidate.objects.get().name == "Jane Smith"


@pytest.mark.parametrize("slug", ["Jane-Doe", "jane%2Ddoe", "JANE-DOE/?trk=x"])
def test_another_spelling_of_the_link_needs_the_name_as_well(acme, slug):
    run(acme, [resume("Jane Doe", **linked_in("jane-doe"))])

    assert counts(run(acme, [resume("Dr. Jane Doe", label="CTO", **linked_in(slug))])) == (0, 1, 0, 0)
    assert counts(run(acme, [resume("John Roe", **linked_in(slug))])) == (0, 0, 0, 1)


def test_a_number_of_the_source_alone_makes_nobody_one(acme):
    report = run(acme, [wrapped("1", resume("Ann Example")), wrapped("1", resume("Ben Sample"))])

    assert counts(report) == (1, 0, 0, 1)
    assert report.errors[0].reason == (
        "Its candidate_id is that of “Ann Example”, not of “Ben Sample”. Correct the candidate_id or the name."
    )


def test_a_number_of_the_source_and_a_longer_name_is_the_same_person(acme):
    run(acme, [wrapped("1", resume("Noor"))])

    assert counts(run(acme, [wrapped("1", resume("Noor Example"))])) == (0, 1, 0, 0)


# What a template leaves ----------------------------------------------------------------------------------------------


TEMPLATES = """
    yourusername Your-User-Name your_name [username] username123 first-last firstname-lastname your-linkedin-profile
    my-profile johndoe jdoe xxxxxx 12345 --- votre-nom tu-usuario vorname-nachname your%20name janedeveloper
    danielreyesdata example user
"""


@pytest.mark.parametrize("slug", TEMPLATES.split())
def test_the_example_of_a_template_is_no_link(slug):
    assert normalize_link(f"https://www.linkedin.com/in/{slug}") == ""
    assert normalize_link(f"https://github.com/{slug}") == ""
    assert not names_somebody(f"https://linkedin.com/in/{slug}")  # as older rows may hold it


@pytest.mark.parametrize(
    "entry",
    [
        {"network": "LinkedIn", "username": "yourusername"},
        {"network": "Twitter", "username": "john", "url": "https://twitter.com/john"},  # JSON Resume
        {"network": "Twitter", "username": "neutralthoughts", "url": "https://twitter.com/neutralthoughts"},
        {"network": "SoundCloud", "username": "dandymusicnl", "url": "https://soundcloud.example.com/dandymusicnl"},
        {"network": "Blog", "username": "maya", "url": "https://blog.example.org/maya"},
    ],
)
def test_the_example_of_the_schema_is_no_link(entry):
    assert profile_link({"profiles": [entry]}) == ""


@pytest.mark.parametrize(
    "slug",
    ["jane-doe", "noor", "ben-sample", "nick-page", "su", "theo", "idris", "d", "maya-lind-1a2b3c", "ann-example"],
)
def test_names_that_resemble_a_template_are_links(slug):
    assert normalize_link(f"https://linkedin.com/in/{slug}")


def test_a_long_repetition_of_template_words_is_read_at_once():
    assert not is_placeholder("nome" * 90 + "q")
    assert is_placeholder("your" * 5 + "name")


def test_a_host_is_one_in_punycode_and_in_its_letters():
    spellings = ["https://bücher.example/jane", "https://xn--bcher-kva.example/Jane", "https://BÜCHER.example/jane"]

    links = {profile_link({"profiles": [{"username": "jane", "url": url}]}) for url in spellings}

    assert links == {"https://bücher.example/jane"}
    assert normalize_link("https://xn--lnkedin-q4a.com/in/jane") == ""
    assert normalize_link("https://www.ｌｉｎｋｅｄｉｎ.com/in/jane") == "https://linkedin.com/in/jane"


def test_the_example_e_mail_of_a_template_identifies_nobody(acme):
    rows = [resume(name, email="your.email@example.com") for name in ("Ann Example", "Ben Sample")]

    assert counts(run(acme, rows)) == (2, 0, 0, 0)
    assert all(is_placeholder_email(each) for each in ("john@gmail.com", "name@company.com", "first.last@x.example"))
    assert not any(is_placeholder_email(each) for each in ("me@jane.dev", "mail@jane.dev", "jane@x.example"))


def test_two_resumes_that_kept_the_link_of_their_template_are_two_people(acme):
    rows = [resume(name, **linked_in("yourusername")) for name in ("Ann Example", "Ben Sample")]

    assert counts(run(acme, rows)) == (2, 0, 0, 0)


@pytest.mark.skipif(not REAL_PROFILES.is_dir(), reason=f"{REAL_PROFILES} is not there")
def test_somebody_who_filled_in_a_sample_of_json_resume_is_not_the_person_of_the_sample(acme):
    samples = [json.loads(line) for line in (REAL_PROFILES / "jsonresume_samples.jsonl").read_text().splitlines()]
    mine: list[dict[str, Any]] = []
    for number, sample in enumerate(samples):
        basics = {**sample["resume"]["basics"], "name": f"Somebody {'ABCD'[number]}lse", "email": f"{number}@x.example"}
        mine.append({"resume": {**sample["resume"], "basics": basics}})

    assert counts(run(acme, [*samples, *mine])) == (8, 0, 0, 0)


# The API -------------------------------------------------------------------------------------------------------------


def test_a_profile_under_somebody_elses_link_is_409_with_the_sentence_of_imports(acme, program, briefing):
    first = resume("Jane Doe", summary="Builds Django services.", **linked_in("doe"))
    import_profiles(organization=acme, rows=parse_file(json.dumps(first).encode()), actor=None)

    response = program.ask({"profile": resume("John Doe", **linked_in("doe")), "briefingId": briefing.pk})

    assert response.status_code == 409
    assert response.json() == {
        "error": "Its profile link is that of “Jane Doe”, not of “John Doe”. Correct the profile link or the name."
    }
    assert not CandidateCheck.objects.exists()
    assert Profile.objects.count() == 1
