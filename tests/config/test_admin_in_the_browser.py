"""Lists of the admin read well to assistive technology, and fit a desk and a phone."""

from __future__ import annotations

import pytest
from django.conf import settings

from tests.builders import connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page
from tests.conftest import logged_in

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser

LISTS = [
    "",
    "organizations/organization/",
    "organizations/user/",
    "organizations/auditevent/",
    "organizations/apitoken/",
    "providers/providerkey/",
    "routing/manageddefault/",
    "routing/routingrule/",
    "routing/agent/",
    "routing/callaccess/",
    "routing/callableagent/",
    "routing/directkey/",
    "billing/ledgerentry/",
    "candidates/candidate/",
    "candidates/candidatecheck/",
    "usage/usageevent/",
]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_of_the_admin_has_one_main_part_and_names_its_others(
    page, live_server, acme, staff, alice, simulated_providers, path
):
    connect_managed_key()
    route_to_own_key(acme)
    give_credits(acme, 10)
    write_briefing(acme, ("Django", "must"))
    import_people(acme, "Builds Django services.")
    cookie = logged_in(staff).cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])

    response = page.goto(f"{live_server.url}/admin/{path}")

    assert response is not None
    assert response.status == 200
    assert_accessible(page)
    for width in (1280, 390):  # what is wider scrolls in the box of its table
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
