from __future__ import annotations

import pytest

from candidates.acceptance import accept_checks
from candidates.credit_costs import CREDIT_COSTS, quote
from routing.services import reset_routing
from tests.builders import (
    NOW,
    checked_before,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)

pytestmark = pytest.mark.usefixtures("simulated_providers")


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"))


def test_the_prices_are_4_2_1_0():
    assert CREDIT_COSTS == {
        ("managed", "new"): 4,
        ("managed", "recent"): 2,
        ("byok", "new"): 1,
        ("byok", "recent"): 0,
    }


def test_a_quote_counts_new_and_recent_people_and_what_they_cost(acme, briefing):
    give_credits(acme, 30)
    people = import_people(acme, *["Django"] * 5)
    checked_before(*people[:2], at=NOW)

    offer = quote(organization=acme, briefing=briefing, candidates=people, now=NOW)

    assert [(line.kind, line.count, line.price, line.credits) for line in offer.lines] == [
        ("new", 3, 4, 12),
        ("recent", 2, 2, 4),
    ]
    assert (offer.mode, offer.count, offer.total, offer.available, offer.missing) == ("managed", 5, 16, 30, 0)
    assert (offer.count_of("new"), offer.count_of("recent")) == (3, 2)


def test_a_byok_quote_is_cheaper_and_recent_people_are_free(acme, briefing):
    route_to_own_key(acme)
    people = import_people(acme, "Django", "Django")
    checked_before(people[0], at=NOW)

    offer = quote(organization=acme, briefing=briefing, candidates=people, now=NOW)
    free = quote(organization=acme, briefing=briefing, candidates=people[:1], now=NOW)

    assert (offer.mode, offer.total, offer.missing) == ("byok", 1, 1)
    assert (free.total, free.missing, free.lines[0].price) == (0, 0, 0)


def test_who_is_being_checked_already_is_left_out(acme, briefing):
    connect_managed_key()
    give_credits(acme, 12)
    people = import_people(acme, *["Django"] * 3)
    accept_checks(organization=acme, briefing=briefing, candidates=people[:1], actor=None, now=NOW)

    offer = quote(organization=acme, briefing=briefing, candidates=people, now=NOW)

    assert (offer.skipped, offer.count, offer.total, offer.available) == (1, 2, 8, 8)


def test_an_action_on_the_managed_default_makes_it_managed(acme, briefing):
    route_to_own_key(acme)
    people = import_people(acme, "Django")
    reset_routing(organization=acme, action="candidate_check", actor=None)

    assert quote(organization=acme, briefing=briefing, candidates=people, now=NOW).total == 4


def test_a_quote_for_nobody_is_empty(acme, briefing):
    offer = quote(organization=acme, briefing=briefing, candidates=[], now=NOW)

    assert (offer.lines, offer.count, offer.total, offer.missing) == ((), 0, 0, 0)


def test_a_quote_takes_the_same_few_queries_for_many_people(acme, briefing, django_assert_max_num_queries):
    people = import_people(acme, *["Django"] * 200)

    with django_assert_max_num_queries(5):
        quote(organization=acme, briefing=briefing, candidates=people, now=NOW)
