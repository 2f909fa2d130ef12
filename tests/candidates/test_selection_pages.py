"""Choosing people: a wrong number is said beside its field, and nothing that was chosen is lost."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from candidates import credit_costs
from candidates.credit_costs import affordable
from candidates.models import Candidate, CandidateCheck
from candidates.search import note_words
from candidates.views import picker, runs
from tests.builders import (
    checked_before,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from tests.candidates.test_check_pages import DJANGO, HTMX, hidden, start, words

pytestmark = pytest.mark.usefixtures("simulated_providers")


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), title="Backend engineer")


@pytest.fixture
def managed(db):
    return connect_managed_key()


def url(name: str, briefing, query: str = "") -> str:
    return reverse(f"candidates:{name}", args=["acme", briefing.pk]) + query


def ticked(answer) -> list[int]:
    boxes = re.findall(r'<input type="checkbox" name="candidates" value="(\d+)"[^>]* checked', answer.content.decode())
    return [int(pk) for pk in boxes]


def chosen(answer) -> str:
    (who,) = re.findall(r'name="who" value="(\w+)" checked', answer.content.decode())
    return who


@pytest.mark.parametrize("typed", ["0", "-3", "abc", "50 people", "1_000", "٣", "1.5", "9" * 50, "1000001"])
def test_a_wrong_number_of_people_is_an_error_beside_its_field_and_nothing_is_lost(
    as_bob, acme, managed, briefing, typed
):
    give_credits(acme, 100)
    people = import_people(acme, *[DJANGO] * 4)
    Candidate.objects.exclude(pk=people[3].pk).update(headline="Engineer")
    note_words(organization=acme, candidates=list(Candidate.objects.all()))
    sent = {
        "q": "engineer",
        "show": "all",
        "who": "ticked",
        "shown": [person.pk for person in people],
        "candidates": [people[0].pk, people[2].pk],
        "first": typed,
        "agreed": "8",
        "count": "2",
    }

    run = as_bob.post(url("run", briefing, "?tab=candidates&q=engineer&show=all"), sent)
    quoted = as_bob.post(url("quote", briefing), sent)
    fragment = as_bob.post(url("quote", briefing), sent, headers=HTMX)
    asked = as_bob.get(url("briefing", briefing), {"tab": "candidates", **sent})

    for answer in (run, quoted, fragment, asked):
        assert answer.status_code == 422
        assert re.search(r"Enter a (whole )?number.{,40}, or nothing for all of them\.", words(answer))
    for answer in (run, quoted, asked):
        page = answer.content.decode()
        assert sorted(ticked(answer)) == sorted([people[0].pk, people[2].pk])
        assert 'name="q" value="engineer"' in page
        assert '<option value="all" selected' in page
        assert f'value="{typed}"' in page
        assert 'aria-invalid="true"' in page
        assert people[3].name not in words(answer)
    assert 'id="picker-first-error" role="alert" hx-swap-oob="true"' in fragment.content.decode()
    assert not CandidateCheck.objects.exists()


def test_a_number_that_is_right_again_takes_its_error_away(as_bob, acme, managed, briefing):
    (person,) = import_people(acme, DJANGO)

    answer = as_bob.post(url("quote", briefing), {"candidates": [person.pk], "first": "1"}, headers=HTMX)

    assert answer.status_code == 200
    assert re.search(r'id="picker-first-error"[^>]*></div>', answer.content.decode())


@pytest.mark.parametrize("first", ["1", "1,000", "1 000", ""])
def test_a_right_number_is_taken_as_people_type_it(as_bob, acme, managed, briefing, first):
    people = import_people(acme, DJANGO, DJANGO)

    answer = as_bob.post(url("quote", briefing), {"who": "listed", "first": first}, headers=HTMX)

    assert f"{1 if first == '1' else len(people)} new" in words(answer)


def test_as_many_as_the_credits_pay_for_newest_first(as_bob, acme, managed, briefing):
    give_credits(acme, 11)
    people = import_people(acme, *[DJANGO] * 5)
    checked_before(people[0], at=timezone.now())

    answer = as_bob.post(url("quote", briefing), {"who": "affordable"}, headers=HTMX)
    paid = affordable(
        organization=acme,
        briefing=briefing,
        candidates=list(Candidate.objects.order_by("-pk")),
        now=timezone.now(),
    )

    assert [person.pk for person in paid] == [people[4].pk, people[3].pk, people[0].pk]
    assert "3 of the 5 people in this list: so many your 11 credits pay for." in words(answer)
    assert "2 new × 4 + 1 recent × 2 = 10 credits" in words(answer)
    assert (hidden(answer, "agreed"), hidden(answer, "count")) == ("10", "3")


def test_more_people_than_can_be_accepted_at_once_are_refused_before_anybody_is_loaded(
    as_bob, acme, managed, briefing, monkeypatch
):
    monkeypatch.setattr(runs, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(credit_costs, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(picker, "MOST_AT_ONCE", 2)
    give_credits(acme, 100)
    import_people(acme, *[DJANGO] * 3)

    answer = as_bob.post(url("run", briefing), {"who": "listed", "agreed": "12", "count": "3"})
    affordable = as_bob.post(url("quote", briefing), {"who": "affordable"}, headers=HTMX)

    assert answer.status_code == 422
    assert "people can be checked at once. Write" in words(answer)
    assert not CandidateCheck.objects.exists()
    assert "2 of the 3 people in this list, as many as can be checked at once." in words(affordable)


def test_as_many_as_the_credits_pay_for_are_as_many_as_can_be(as_bob, acme, managed, briefing):
    """Of eight credits, two new checks would leave out whom three recent ones cover."""
    give_credits(acme, 8)
    people = import_people(acme, *[DJANGO] * 5)
    checked_before(*people[:3], at=timezone.now())

    answer = as_bob.post(url("quote", briefing), {"who": "affordable"}, headers=HTMX)

    assert "3 of the 5 people in this list: so many your 8 credits pay for." in words(answer)


def test_without_javascript_the_affordable_are_confirmed_and_checked(as_bob, acme, managed, briefing):
    give_credits(acme, 9)
    import_people(acme, *[DJANGO] * 5)
    page = as_bob.get(url("briefing", briefing, "?tab=candidates"))
    sent = {name: hidden(page, name) for name in ("agreed", "count")}

    asked = as_bob.post(url("run", briefing), {**sent, "who": "affordable"})
    confirmed = {name: hidden(asked, name) for name in ("agreed", "count", "who")}
    as_bob.post(url("run", briefing), confirmed)

    assert "2 of the 5 people in this list: so many your 9 credits pay for." in words(asked)
    assert "Check the 2 for 8 credits" in words(asked)
    assert CandidateCheck.objects.count() == 2


def test_free_checks_are_among_the_affordable_with_no_credits_at_all(as_bob, acme, briefing):
    route_to_own_key(acme)
    people = import_people(acme, *[DJANGO] * 3)
    checked_before(people[0], at=timezone.now())

    answer = as_bob.post(url("quote", briefing), {"who": "affordable"}, headers=HTMX)

    assert "1 of the 3 people in this list: so many your 0 credits pay for." in words(answer)
    assert "1 recent × 0 = 0 credits" in words(answer)


def test_at_most_cuts_the_affordable_and_who_is_checked_already_is_none_of_them(as_bob, acme, managed, briefing):
    give_credits(acme, 16)
    people = import_people(acme, *[DJANGO] * 4)
    start(briefing, people[3])

    def quoted(**sent) -> str:
        return words(as_bob.post(url("quote", briefing), {"who": "affordable", "show": "all", **sent}, headers=HTMX))

    assert "3 new × 4 = 12 credits" in quoted()
    assert "2 of the 4 people in this list, as many as you asked for at most." in quoted(first="2")


@pytest.mark.parametrize("who", ["ticked", "listed"])
def test_with_too_few_credits_pressing_the_button_says_so_and_keeps_the_selection(as_bob, acme, managed, briefing, who):
    give_credits(acme, 7)
    people = import_people(acme, DJANGO, DJANGO)
    sent = {"who": who, "shown": [each.pk for each in people], "candidates": [each.pk for each in people]}
    page = as_bob.get(url("briefing", briefing, "?tab=candidates"))

    answer = as_bob.post(url("run", briefing), {**sent, "agreed": hidden(page, "agreed"), "count": "0"})

    assert answer.status_code == 422
    assert "This needs 8 credits, but only 7 are available." in words(answer)
    assert "Check the 2 selected" in words(answer)
    assert (chosen(answer), len(ticked(answer))) == (who, 2)
    assert not CandidateCheck.objects.exists()


@pytest.mark.parametrize(
    ("who", "sentence"),
    [("ticked", "Tick at least one person."), ("affordable", "Your credits pay for nobody in this list.")],
)
def test_nobody_chosen_is_said_on_the_same_page(as_bob, acme, managed, briefing, who, sentence):
    import_people(acme, DJANGO)

    answer = as_bob.post(url("run", briefing), {"who": who})

    assert answer.status_code == 422
    assert sentence in words(answer)
    assert chosen(answer) == who


def test_back_from_confirming_leads_to_the_same_ticks_search_and_page(as_bob, acme, managed, briefing):
    give_credits(acme, 100)
    people = import_people(acme, *[DJANGO] * 3)
    sent = {"show": "all", "shown": [each.pk for each in people], "candidates": [people[1].pk], "first": "1"}

    asked = as_bob.post(url("run", briefing, "?tab=candidates&show=all&page=1"), sent)
    back = asked.content.decode().split('<form id="back"')[1].split("</form>")[0]
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', back):
        fields.setdefault(name, []).append(value)
    answer = as_bob.get(url("briefing", briefing), fields)

    assert "csrfmiddlewaretoken" not in fields
    assert (ticked(answer), chosen(answer)) == ([people[1].pk], "ticked")
    assert 'id="picker-first" type="text" name="first" size="8"' in answer.content.decode()
    assert "1 new × 4 = 4 credits" in words(answer)


def test_pages_and_search_of_a_refused_selection_lead_back_to_the_briefing(as_bob, acme, managed, briefing):
    import_people(acme, *[DJANGO] * 101)

    answer = as_bob.post(url("run", briefing, "?tab=candidates&show=all&page=1"), {"show": "all", "first": "x"})

    page = answer.content.decode()
    last = sorted(person.pk for person in Candidate.objects.all())[1]
    assert f'rel="next" href="{url("briefing", briefing)}?tab=candidates&amp;show=all&amp;after={last}"' in page
    assert f'<form class="filters" method="get" action="{url("briefing", briefing)}"' in page
