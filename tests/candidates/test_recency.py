from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from candidates.models import Candidate, CandidateCheck, Profile, ProfileSighting
from candidates.recency import kind_for, person_digest, record_sighting
from tests.builders import write_briefing

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEW, RECENT = CandidateCheck.Kind
LINK = "https://linkedin.com/in/jane-doe"
SECOND = timedelta(seconds=1)


def person(organization, name="Jane", **fields) -> Candidate:
    return Candidate.objects.create(organization=organization, name=name, **fields)


def kind(candidate, now=NOW):
    return kind_for(candidates=[candidate], organization=candidate.organization, now=now)[candidate.pk]


@pytest.mark.parametrize("days", [30, 60, 90])
def test_the_window_is_so_many_times_24_hours_to_the_second_and_includes_its_edge(acme, days):
    acme.recency_window_days = days
    jane = person(acme, link=LINK)
    record_sighting(candidate=jane, now=NOW)
    edge = NOW + timedelta(hours=24 * days)

    assert kind(jane, edge - SECOND) == RECENT
    assert kind(jane, edge) == RECENT
    assert kind(jane, edge + SECOND) == NEW


def test_nobody_is_recent_before_a_check_and_a_sighting_just_after_acceptance_counts(acme):
    jane = person(acme, link=LINK)
    assert kind(jane) == NEW

    record_sighting(candidate=jane, now=NOW + SECOND)

    assert kind(jane) == RECENT


def test_a_check_by_another_organization_counts_by_link_or_else_by_e_mail(acme, globex):
    record_sighting(candidate=person(acme, link=LINK, email="jane@people.example"), now=NOW)

    assert kind(person(globex, link=LINK)) == RECENT
    assert kind(person(globex, email="jane@people.example")) == RECENT


def test_who_has_a_link_is_not_matched_by_a_shared_e_mail(acme, globex):
    record_sighting(candidate=person(acme, email="office@people.example"), now=NOW)

    assert kind(person(globex, link=LINK, email="office@people.example")) == NEW


def test_without_network_recency_only_the_organizations_own_checks_count(acme, globex, settings):
    settings.KEYFARE_NETWORK_RECENCY = False
    jane = person(acme, link=LINK)
    record_sighting(candidate=jane, now=NOW)

    assert kind(jane) == RECENT
    assert kind(person(globex, link=LINK)) == NEW


def test_who_has_neither_link_nor_e_mail_is_known_inside_the_organization_only(acme, globex):
    jane, namesake, elsewhere = person(acme), person(acme), person(globex)
    record_sighting(candidate=jane, now=NOW)

    assert (kind(jane), kind(namesake), kind(elsewhere)) == (RECENT, NEW, NEW)


def completed_check(briefing, candidate, *, at, status="completed") -> None:
    CandidateCheck.objects.create(
        organization=briefing.organization,
        briefing=briefing,
        candidate=candidate,
        profile=Profile.objects.create(organization=briefing.organization, candidate=candidate, content={}),
        status=status,
        mode="managed",
        kind="new",
        price=4,
        route={},
        accepted_at=at,
        completed_at=at if status in ("completed", "failed") else None,
    )


def test_the_organizations_own_check_counts_even_if_the_person_got_a_link_since(acme):
    briefing = write_briefing(acme, ("Django", "must"))
    jane = person(acme, email="jane@people.example")
    completed_check(briefing, jane, at=NOW)
    record_sighting(candidate=jane, now=NOW)
    jane.link = LINK
    jane.save()

    assert kind(jane, NOW + timedelta(days=30)) == RECENT
    assert kind(jane, NOW + timedelta(days=30) + SECOND) == NEW


@pytest.mark.parametrize("status", ["pending", "in_progress", "failed"])
def test_running_and_failed_checks_do_not_count(acme, status):
    jane = person(acme, link=LINK)
    completed_check(write_briefing(acme, ("Django", "must")), jane, at=NOW, status=status)

    assert kind(jane) == NEW


def test_a_later_check_renews_and_an_earlier_one_never_sets_back(acme):
    jane = person(acme, link=LINK, email="jane@people.example")
    for at in (NOW, NOW + timedelta(days=20), NOW + timedelta(days=10)):
        record_sighting(candidate=jane, now=at)

    assert set(ProfileSighting.objects.values_list("last_checked_at", flat=True)) == {NOW + timedelta(days=20)}
    assert ProfileSighting.objects.count() == 2


def test_what_is_shared_is_a_keyed_digest_and_a_time_and_nothing_else(acme, settings):
    jane = person(acme, link=LINK, email="jane@people.example")
    record_sighting(candidate=jane, now=NOW)
    before = person_digest(jane)

    row = ProfileSighting.objects.filter(person_digest=before).values().get()
    assert set(row) == {"id", "person_digest", "last_checked_at"}
    settings.KEYFARE_DIGEST_KEY = "another key"
    assert person_digest(jane) != before
    settings.KEYFARE_DIGEST_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="KEYFARE_DIGEST_KEY"):
        person_digest(jane)


def test_a_thousand_people_take_two_queries(acme, django_assert_num_queries):
    people = Candidate.objects.bulk_create(
        Candidate(organization=acme, name=str(number), email=f"{number}@people.example") for number in range(1001)
    )
    record_sighting(candidate=people[1000], now=NOW)

    with django_assert_num_queries(2):
        kind_for(candidates=people[:1000], organization=acme, now=NOW)
    with django_assert_num_queries(4):
        kinds = kind_for(candidates=people, organization=acme, now=NOW)

    assert [pk for pk, each in kinds.items() if each == RECENT] == [people[1000].pk]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
def test_many_workers_may_note_the_same_people_at_once(acme):
    people = [person(acme, link=f"{LINK}-{n}", email=f"{n}@people.example") for n in range(3)]

    def note(offset: int) -> None:
        try:
            for each in people[offset:] + people[:offset]:
                with transaction.atomic():
                    record_sighting(candidate=each, now=NOW + offset * SECOND)
        finally:
            connection.close()

    threads = [threading.Thread(target=note, args=(number % 3,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ProfileSighting.objects.count() == 6
    assert set(ProfileSighting.objects.values_list("last_checked_at", flat=True)) == {NOW + 2 * SECOND}
