"""Recency across organizations: off by default, joined by owners, of link and name, paid for, and never quoted."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.utils import timezone

from billing.ledger import NotEnoughCredits, adjust_credits, balance
from candidates.acceptance import Accepted, PriceRose, accept_checks
from candidates.credit_costs import quote
from candidates.models import Candidate, CandidateCheck, ProfileSighting
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.recency import checked_elsewhere, network_digest, note_for_network
from candidates.worker import run_pending_checks
from organizations.models import Organization
from tests.builders import NOW, checked_before, connect_managed_key, give_credits, route_to_own_key, write_briefing
from tests.candidates.test_check_pages import ticking, url, words
from tests.candidates.test_import import linked_in, resume

pytestmark = pytest.mark.usefixtures("simulated_providers")
SECOND = timedelta(seconds=1)


@pytest.fixture
def network(settings, acme, globex) -> None:
    """The installation has it, and both organizations joined."""
    settings.KEYFARE_NETWORK_RECENCY = True
    for organization in (acme, globex):
        organization.shares_recency = True
        organization.save()
        give_credits(organization, 20)
    connect_managed_key()


def bring(organization: Organization, name: str = "Jane Doe", slug: str = "jane-doe", **basics: Any) -> Candidate:
    row = resume(name, summary="Builds Django services.", **basics, **(linked_in(slug) if slug else {}))
    import_profiles(organization=organization, rows=parse_file(json.dumps(row).encode()), actor=None)
    return Candidate.objects.for_organization(organization).get(name=name)


def accept(person: Candidate, now=None, **options: Any) -> Accepted:
    briefing = write_briefing(person.organization, ("Django", "must"))
    return accept_checks(
        organization=person.organization,
        briefing=briefing,
        candidates=[person],
        actor=None,
        now=now or timezone.now(),
        **options,
    )


def checked(person: Candidate) -> CandidateCheck:
    (check,) = accept(person).checks
    run_pending_checks(organization_id=person.organization_id)
    check.refresh_from_db()
    assert check.status == "completed", check.why_failed
    return check


def kind_elsewhere(person: Candidate) -> str:
    (check,) = accept(person).checks
    return str(check.kind)


# Who takes part -------------------------------------------------------------------------------------------------------


def test_a_paid_check_by_another_organization_lowers_the_price_at_acceptance(acme, globex, network):
    checked(bring(acme))

    accepted = accept(bring(globex))

    assert (accepted.checks[0].kind, accepted.checks[0].price, accepted.cheaper) == ("recent", 2, 1)
    assert balance(organization=globex).held == 2


def test_the_installation_has_no_network_unless_staff_switch_it_on(settings):
    assert settings.KEYFARE_NETWORK_RECENCY is False


@pytest.mark.parametrize("who", ["the installation", "the giver", "the taker"])
def test_nothing_is_shared_unless_all_take_part(acme, globex, network, settings, who):
    if who == "the installation":
        settings.KEYFARE_NETWORK_RECENCY = False
    elif who == "the giver":
        Organization.objects.filter(pk=acme.pk).update(shares_recency=False)
    else:
        Organization.objects.filter(pk=globex.pk).update(shares_recency=False)
    checked(bring(acme))

    assert ProfileSighting.objects.exists() == (who == "the taker")
    assert kind_elsewhere(bring(globex)) == "new"


def test_the_window_is_that_of_who_asks(acme, globex, network):
    check = checked(bring(acme))
    jane = bring(globex)
    at = ProfileSighting.objects.get().last_checked_at
    assert check.completed_at == at

    assert accept(jane, now=at + timedelta(days=30)).cheaper == 1
    assert accept(jane, now=at + timedelta(days=30) + SECOND).cheaper == 0


# Whom -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Dr. Jane Doe", "Doe, Jane", "JANE DOÉ"])
def test_link_and_name_have_to_be_equal_however_they_are_spelt(acme, globex, network, name):
    checked(bring(acme))

    assert kind_elsewhere(bring(globex, name, "Jane-Doe/en")) == "recent"


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Jane Doe", "jane-roe"), ("John Doe", "jane-doe"), ("Jane B. Doe", "jane-doe"), ("Jane Doe", "")],
    ids=["another link", "another name", "a longer name", "no link"],
)
def test_link_or_name_or_e_mail_alone_is_not_enough(acme, globex, network, name, slug):
    checked(bring(acme, email="jane@x.example"))

    assert kind_elsewhere(bring(globex, name, slug, email="jane@x.example")) == "new"


def test_without_a_link_or_with_a_templates_nothing_is_shared(acme, network):
    checked(bring(acme, "Ann Example", "", email="ann@x.example"))
    old = bring(acme, "Ben Sample", "")
    Candidate.objects.filter(pk=old.pk).update(link="https://linkedin.com/in/yourusername")  # as older rows hold it
    checked(old)

    assert not ProfileSighting.objects.exists()


# What counts ----------------------------------------------------------------------------------------------------------


def test_a_free_re_check_is_recent_inside_and_not_noted_for_the_network(acme, network):
    route_to_own_key(acme)
    jane = bring(acme)
    checked_before(jane, at=timezone.now())

    check = checked(jane)

    assert (check.mode, check.kind, check.charged) == ("byok", "recent", 0)
    assert not ProfileSighting.objects.exists()


def test_a_paid_check_on_the_own_key_is_noted(acme, network):
    route_to_own_key(acme)

    assert checked(bring(acme)).charged == 1
    assert ProfileSighting.objects.count() == 1


def test_a_failed_check_is_not_noted(acme, network):
    broken = resume("Jane Doe", summary="[[simulate-unparsable]]", **linked_in("jane-doe"))
    import_profiles(organization=acme, rows=parse_file(json.dumps(broken).encode()), actor=None)
    accept(Candidate.objects.get())
    run_pending_checks(organization_id=acme.pk)

    assert CandidateCheck.objects.get().status == "failed"
    assert not ProfileSighting.objects.exists()


def test_ones_own_changed_text_stays_new_though_one_noted_the_person_oneself(acme, network):
    jane = bring(acme)
    checked(jane)
    other = resume("Jane Doe", summary="Bakes sourdough bread in Lyon.", **linked_in("jane-doe"))
    import_profiles(organization=acme, rows=parse_file(json.dumps(other).encode()), actor=None)

    accepted = accept(jane)

    assert (accepted.checks[0].kind, accepted.cheaper) == ("new", 0)


# Nothing is told for free ---------------------------------------------------------------------------------------------


def test_a_quote_says_the_same_whether_or_not_somebody_else_checked_the_person(acme, globex, network):
    briefing, jane = write_briefing(globex, ("Django", "must")), bring(globex)
    before = quote(organization=globex, briefing=briefing, candidates=[jane], now=NOW)

    checked(bring(acme))

    after = quote(organization=globex, briefing=briefing, candidates=[jane], now=timezone.now())
    assert before == after
    assert after.total == 4


def test_no_page_shows_it_before_the_check_is_started(acme, globex, network, as_charlie):
    def pages() -> list[str]:
        """Without what differs each time, and with the same clock."""
        shown = (as_charlie.get(url("briefing", briefing.pk, query="?tab=candidates").replace("acme", "globex")),)
        return [re.sub(r'name="(csrfmiddlewaretoken|once)" value="[^"]+"', "", page.content.decode()) for page in shown]

    briefing, _ = write_briefing(globex, ("Django", "must")), bring(globex)
    before = pages()

    checked(bring(acme))

    assert pages() == before


def test_who_could_not_pay_the_quoted_price_learns_nothing(acme, globex, network, charlie):
    route_to_own_key(globex)  # the recent price would be 0 there
    jane = bring(globex)
    adjust_credits(organization=globex, amount=-20, reason="Spent", idempotency_key="spent", actor=charlie)
    checked(bring(acme))

    with pytest.raises(NotEnoughCredits, match="needs 1 credit"):
        accept(jane)
    with pytest.raises(PriceRose):
        accept(jane, agreed_credits=0)
    assert not CandidateCheck.objects.for_organization(globex).filter(candidate=jane).exists()


def test_the_page_after_starting_says_what_cost_less(acme, globex, network, as_charlie):
    for name, slug in [("Jane Doe", "jane-doe"), ("Ann Example", "ann")]:
        checked(bring(acme, name, slug))
    people = [
        bring(globex, name, slug)
        for name, slug in (("Jane Doe", "jane-doe"), ("Ann Example", "ann"), ("Ben Sample", "ben"))
    ]
    briefing = write_briefing(globex, ("Django", "must"))
    address = url("run", briefing.pk).replace("acme", "globex")

    answer = as_charlie.post(address, ticking(*people, agreed=12, count=3), follow=True)

    assert "3 checks started. 2 of them cost less, because they were checked lately in another organization." in words(
        answer
    )
    assert sorted(CandidateCheck.objects.for_organization(globex).values_list("price", flat=True)) == [2, 2, 4]


# What is kept ---------------------------------------------------------------------------------------------------------


def test_the_table_holds_a_keyed_digest_and_a_time_and_nothing_else(acme, network, settings):
    jane = bring(acme, email="jane@x.example")
    checked(jane)
    before = network_digest(jane)

    row = ProfileSighting.objects.filter(person_digest=before).values().get()
    assert set(row) == {"id", "person_digest", "last_checked_at"}
    settings.KEYFARE_DIGEST_KEY = "another key"
    assert network_digest(jane) != before
    settings.KEYFARE_DIGEST_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="KEYFARE_DIGEST_KEY"):
        network_digest(jane)


def noted(person: Candidate) -> CandidateCheck:
    return CandidateCheck(organization=person.organization, candidate=person, mode="managed", charged=4)


def test_an_earlier_time_never_replaces_a_later_one(acme, network):
    jane = bring(acme)
    for at in (NOW, NOW + 20 * SECOND, NOW + 10 * SECOND):
        note_for_network(checks=[noted(jane)], now=at)

    assert ProfileSighting.objects.get().last_checked_at == NOW + 20 * SECOND


def test_old_sightings_are_dropped_by_the_migration(db):
    ProfileSighting.objects.create(person_digest="0" * 64, last_checked_at=NOW)

    import_module("candidates.migrations.0004_forget_old_sightings").forget(apps, None)

    assert not ProfileSighting.objects.exists()


def test_acceptance_asks_as_often_for_many_as_for_few(acme, globex, network, django_assert_num_queries):
    people = [bring(globex, f"Person {word}", word.lower()) for word in ("Alpha", "Beta", "Gamma", "Delta")]
    for name in ("Alpha", "Beta"):
        note_for_network(checks=[noted(bring(acme, f"Person {name}", name.lower()))], now=NOW)

    for some in (people[:2], people):
        with django_assert_num_queries(2):
            found = checked_elsewhere(candidates=some, organization=globex, now=NOW)
        assert found == {people[0].pk, people[1].pk}


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
def test_many_workers_may_note_the_same_people_at_once(acme, network):
    people = [bring(acme, f"Person {word}", word.lower()) for word in ("Alpha", "Beta", "Gamma")]

    def note(offset: int) -> None:
        try:
            for many in (people[offset:] + people[:offset], people[offset::-1]):
                with transaction.atomic():
                    note_for_network(checks=[noted(each) for each in many], now=NOW + offset * SECOND)
        finally:
            connection.close()

    threads = [threading.Thread(target=note, args=(number % 3,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ProfileSighting.objects.count() == 3
    assert set(ProfileSighting.objects.values_list("last_checked_at", flat=True)) == {NOW + 2 * SECOND}
