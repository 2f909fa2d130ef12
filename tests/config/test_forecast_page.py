"""The page of the forecast, and its panel."""

from __future__ import annotations

import uuid
from datetime import timedelta

from billing.ledger import HoldRequest, capture_hold, hold_credits
from billing.pace import charged_by_day
from organizations import clock
from tests.builders import give_credits
from tests.usage.conftest import event
from usage.models import Mode

URL = "/o/acme/consumption/forecast/"
USD = 10**9


def test_it_says_what_the_month_will_have_cost(as_alice, as_bob, acme, django_assert_max_num_queries):
    today = clock.now().date()
    for back in range(120):
        event(acme, cost_nanousd=USD, day=today - timedelta(days=back))
        event(acme, cost_nanousd=99 * USD, day=today - timedelta(days=back), mode=Mode.MANAGED)

    with django_assert_max_num_queries(20):
        page = as_alice.get(URL).content.decode()

    last = (today.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    assert f"~${last.day}.00" in page
    assert f"${today.day}.00 so far" in page
    assert "At this day of the last 3 months it was off by 0 %." in page
    assert as_bob.get(URL).status_code == 200


def test_the_panel_comes_alone_by_htmx(as_alice, acme):
    panel = as_alice.get(URL, headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in panel
    assert "A forecast needs 14 whole days since the first call on your own keys." in panel
    assert "credits expected" not in panel


def test_consumption_asks_for_the_panel_and_links_to_it_without_javascript(as_bob, acme):
    page = as_bob.get("/o/acme/consumption/").content.decode()

    assert f'<div hx-get="{URL}" hx-trigger="load"' in page
    assert f'<a href="{URL}">What this month will have cost</a>' in page
    assert "expected</span>" not in page


def test_credits_are_those_that_were_charged(acme):
    """What was granted, or only set aside, is not spent."""
    give_credits(acme, 100)
    kept, charged = (HoldRequest(uuid.uuid4(), 4, "A check") for _ in range(2))
    hold_credits(organization=acme, requests=[kept, charged])
    capture_hold(organization=acme, hold_id=charged.id, amount=3)

    today = clock.now().date()
    assert charged_by_day(organization=acme, first=today) == {today: 3}
    assert charged_by_day(organization=acme, first=today + timedelta(days=1)) == {}
