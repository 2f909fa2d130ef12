"""What is long and seldom looked at is made in the browser when it is asked for, and stands there without scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from organizations import clock
from tests.builders import connect_managed_key, route_to_own_key
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page
from tests.conftest import logged_in
from tests.usage.conftest import event

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser


@pytest.fixture
def used(acme, simulated_providers) -> None:
    """Acme has routed to its own key, and called two providers today."""
    connect_managed_key()
    route_to_own_key(acme)
    today = clock.now().date()
    event(acme, day=today, cost_nanousd=2 * 10**9, output_tokens=5)
    event(acme, day=today, provider="anthropic", cost_nanousd=3 * 10**9, output_tokens=5)


@pytest.fixture
def without_scripts(chromium: Browser, alice, live_server) -> Iterator[Page]:
    with chromium.new_context(java_script_enabled=False) as context:
        cookie = logged_in(alice).cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        yield context.new_page()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_pointer_tells_the_figures_of_a_day(browsing, live_server, used, width):
    browsing.set_viewport_size({"width": width, "height": 900})
    browsing.goto(f"{live_server.url}/o/acme/")
    days = browsing.locator("[data-days]:visible")
    expect(browsing.locator("figure tbody tr")).to_have_count(0)
    box = days.bounding_box()
    assert box

    days.hover(position={"x": box["width"] - 2, "y": 20})

    today = f"{clock.now():%-d %b %Y}"
    expect(browsing.locator(".chart-tip")).to_have_text(f"{today}\nAnthropic: $3.00\nOpenAI: $2.00\nTotal: $5.00")
    browsing.get_by_role("heading", level=1).hover()
    expect(browsing.locator(".chart-tip")).to_be_hidden()


def test_the_table_of_a_chart_is_there_when_it_is_opened(browsing, live_server, used):
    browsing.goto(f"{live_server.url}/o/acme/")

    browsing.get_by_text("View as table").click()

    expect(browsing.get_by_role("row", name=f"{clock.now():%-d %b %Y}")).to_contain_text("$5.00")
    assert_accessible(browsing)


def test_models_are_offered_by_the_field_that_is_entered(browsing, live_server, used):
    browsing.goto(f"{live_server.url}/o/acme/settings")
    model = browsing.locator("#route-candidate_check-model")
    offered = browsing.locator(f"datalist#{model.get_attribute('list')} option")
    assert offered.count() == 0

    model.focus()

    assert offered.count() > 1


def test_all_of_it_stands_there_without_scripts(without_scripts, live_server, used):
    without_scripts.goto(f"{live_server.url}/o/acme/settings")
    listed = without_scripts.locator("#route-candidate_check-model").get_attribute("list")

    assert without_scripts.locator(f"datalist#{listed} option").count() > 1
    without_scripts.get_by_text("View as table").click()
    expect(without_scripts.get_by_role("row", name=f"{clock.now():%-d %b %Y}")).to_contain_text("$5.00")
