"""When a person counts as existing recent inside an organization: by its own completed checks of that person's text."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from candidates.acceptance import accept_checks
from candidates.credit_costs import quote
from candidates.models import Candidate, CandidateCheck, Profile, ProfileSighting
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.recency import kind_for
from organizations.models import Organization
from tests.builders import NOW, checked_before, connect_managed_key, give_credits, import_people, write_briefing
from tests.candidates.test_import import REAL_PROFILES, linked_in, resume

NEW, RECENT = CandidateCheck.Kind
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)

DJANGO = "Builds payment services in Django and PostgreSQL at Fjordpay, and mentors two junior engineers there."
BAKER = "Bakes sourdough bread before sunrise, runs a shop in Lyon with six apprentices and their cargo bikes."
NURSE = "Looked after premature children in a hospital of Tampere for twelve years, nights and holidays included."
LONG = "\n".join(
    [DJANGO, "Before that three years of telephone exchanges in Java.", "Studied mathematics in Gothenburg until 2015."]
)


def bring(organization: Organization, name: str = "Jane Doe", **basics: Any) -> Candidate:
    """The person under one link, with this as the newest profile."""
    row = resume(name, **basics, **linked_in("jane-doe"))
    report = import_profiles(organization=organization, rows=parse_file(json.dumps(row).encode()), actor=None)
    assert not report.errors
    return Candidate.objects.for_organization(organization).get(link="https://linkedin.com/in/jane-doe")


def kind(candidate, now=NOW):
    candidate.organization.refresh_from_db()
    return kind_for(candidates=[candidate], organization=candidate.organization, now=now)[candidate.pk]


def priced(organization: Organization, *summaries: str) -> list[str]:
    """What checks of these texts in turn, one a day, under one link and one name are priced as."""
    kinds = []
    for day, summary in enumerate(summaries):
        person = bring(organization, summary=summary)
        kinds.append(str(kind(person, NOW + day * DAY)))
        checked_before(person, at=NOW + day * DAY, kind=kinds[-1])
    return kinds


# The window -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [30, 60, 90])
def test_the_window_is_so_many_times_24_hours_to_the_second_and_includes_its_edge(acme, days):
    Organization.objects.filter(pk=acme.pk).update(recency_window_days=days)
    jane = bring(acme)
    checked_before(jane, at=NOW)
    edge = NOW + timedelta(hours=24 * days)

    assert kind(jane, edge - SECOND) == RECENT
    assert kind(jane, edge) == RECENT
    assert kind(jane, edge + SECOND) == NEW


def test_nobody_is_recent_before_a_check_and_one_completed_just_after_acceptance_counts(acme):
    jane = bring(acme)
    assert kind(jane) == NEW

    checked_before(jane, at=NOW + SECOND)

    assert kind(jane) == RECENT


@pytest.mark.parametrize("status", ["pending", "in_progress", "failed"])
def test_running_and_failed_checks_do_not_count(acme, status):
    jane = bring(acme)
    checked_before(jane, at=NOW, status=status)

    assert kind(jane) == NEW


def test_a_free_re_check_renews_and_an_earlier_one_never_sets_back(acme):
    jane = bring(acme)
    checked_before(jane, at=NOW)
    checked_before(jane, at=NOW + 20 * DAY, kind="recent")
    checked_before(jane, at=NOW + 10 * DAY, kind="recent")

    assert kind(jane, NOW + 50 * DAY) == RECENT
    assert kind(jane, NOW + 50 * DAY + SECOND) == NEW


def test_recency_is_the_candidates_whatever_link_or_e_mail_came_since(acme):
    jane, namesake = import_people(acme, DJANGO, DJANGO)
    checked_before(jane, at=NOW)
    Candidate.objects.filter(pk=jane.pk).update(link="https://linkedin.com/in/jane-doe", email="")

    assert (kind(jane), kind(namesake)) == (RECENT, NEW)


def test_another_organizations_checks_do_not_count(acme, globex):
    checked_before(bring(acme, summary=DJANGO), at=NOW)

    assert kind(bring(globex, summary=DJANGO)) == NEW
    assert not ProfileSighting.objects.exists()


# The text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DJANGO, DJANGO.replace("two junior", "three junior")),
        (DJANGO, LONG),
        (LONG, DJANGO),
        ("Fjordpay, payment services", LONG),
        (LONG, " ".join(LONG.upper().split())),
        (f"Experience\n{LONG}", f"Berufserfahrung\n{LONG}"),
        ("東京の病院で看護師として働いています。", "東京の病院で看護師として働いています。夜勤も担当します。"),
        ("Опыт: бухгалтер на заводе в Туле", "Бухгалтер на заводе в Туле, затем главный бухгалтер"),
        ("", LONG),
    ],
    ids=[
        "edited",
        "extended",
        "cut",
        "grown",
        "typed anew",
        "translated headings",
        "Japanese",
        "Russian",
        "empty before",
    ],
)
def test_the_same_person_at_two_times_is_recent(acme, before, after):
    assert priced(acme, before, after) == ["new", "recent"]


@pytest.mark.parametrize("other", [BAKER, NURSE, "東京の病院で看護師として働いています。", "Sings."])
def test_a_text_that_shares_almost_nothing_is_priced_as_new(acme, other):
    assert priced(acme, DJANGO, other) == ["new", "new"]


def test_people_who_take_turns_under_one_link_and_one_name_pay_in_full(acme):
    assert priced(acme, DJANGO, BAKER, NURSE, DJANGO, BAKER) == ["new"] * 5


def test_people_of_whom_little_is_known_are_told_apart_by_less(acme, globex):
    assert priced(acme, *[f"Engineer number {number}, writes Python." for number in range(12)]) == ["new"] * 12
    assert priced(globex, "Python, Django, SQL, Git, Docker", "Python, Django, SQL, Git, Docker, Rust")[1] == "recent"


def test_a_stub_between_them_is_no_discount(acme):
    stub = "And"  # stands in every text

    kinds = priced(acme, DJANGO, stub, BAKER, stub, NURSE, stub, DJANGO)

    assert kinds == ["new", "recent"] * 3 + ["new"]


def test_a_stub_that_was_paid_for_gives_one_person_to_grow_and_not_the_next(acme):
    kinds = priced(acme, "And", DJANGO, BAKER, NURSE)

    assert kinds == ["new", "recent", "new", "new"]


def test_a_mixture_of_two_people_does_not_lead_from_one_to_the_other(acme):
    kinds = priced(acme, DJANGO, f"{DJANGO} {BAKER}", BAKER)

    assert kinds == ["new", "recent", "new"]


def test_a_name_that_changed_is_no_new_text(acme):
    checked_before(bring(acme, "Jane Doe", summary=DJANGO, email="jane@x.example"), at=NOW)

    assert kind(bring(acme, "Jane Smith", summary=DJANGO, email="jane@x.example")) == RECENT


@pytest.mark.skipif(not REAL_PROFILES.is_dir(), reason=f"{REAL_PROFILES} is not there")
def test_people_of_the_sample_data_who_write_sentences_are_told_apart(acme):
    file = (REAL_PROFILES / "synthetic_longtext_no_licence.jsonl").read_bytes()
    texts = [json.loads(line)["raw_text"] for line in file.splitlines()][:12]

    assert priced(acme, *texts) == ["new"] * 12


# Cost -----------------------------------------------------------------------------------------------------------------


def test_a_thousand_people_take_three_queries(acme, django_assert_num_queries):
    people = import_people(acme, *[f"{DJANGO} Number {number}." for number in range(1001)])
    checked_before(*people[:30], people[1000], at=NOW)
    for person in people[:20]:  # newer profiles: their texts have to be compared
        content = {"basics": {"summary": f"{DJANGO} Anew." if person.pk % 2 else BAKER}}
        Profile.objects.create(organization=acme, candidate=person, version=2, content=content, digest=str(person.pk))

    with django_assert_num_queries(1):
        kind_for(candidates=people[100:1000], organization=acme, now=NOW)
    with django_assert_num_queries(3):
        kinds = kind_for(candidates=people[:1000], organization=acme, now=NOW)
    with django_assert_num_queries(5):
        assert kind_for(candidates=people, organization=acme, now=NOW) == kinds | {people[1000].pk: RECENT}

    recent = {pk for pk, each in kinds.items() if each == RECENT}
    assert recent == {person.pk for person in people[:20] if person.pk % 2} | {person.pk for person in people[20:30]}


def test_quote_and_acceptance_agree_on_changed_texts(acme, simulated_providers):
    connect_managed_key()
    give_credits(acme, 20)
    briefing = write_briefing(acme, ("Django", "must"))
    jane = bring(acme, summary=DJANGO)
    checked_before(jane, at=NOW)
    bring(acme, summary=BAKER)

    offer = quote(organization=acme, briefing=briefing, candidates=[jane], now=NOW)
    (check,) = accept_checks(organization=acme, briefing=briefing, candidates=[jane], actor=None, now=NOW).checks

    assert (offer.total, check.price, check.kind) == (4, 4, "new")
