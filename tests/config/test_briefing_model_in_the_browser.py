"""A briefing gets a model of its own in a browser, and the pages that say so are for everybody to read."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from candidates.models import Briefing
from tests.builders import connect_key, write_briefing
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser
HARDER = "anthropic/claude-sonnet-4.5"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_harder_search_gets_its_model(browsing, live_server, acme, simulated_providers, width, scheme):
    key = connect_key(acme)
    briefing = write_briefing(acme, ("Django", "must"), title="Senior engineer")
    page = browsing
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{live_server.url}/o/acme/briefings/{briefing.pk}/")

    page.get_by_role("link", name="Model", exact=True).click()
    page.get_by_label("Key").select_option(str(key.pk))
    expect(page.locator(f"#models-of-{key.pk}")).to_be_attached()
    assert_accessible(page)
    page.get_by_label("Model", exact=False).last.fill(HARDER)
    page.get_by_role("button", name="Save model").click()

    expect(page.get_by_text("Checked with a model of its own")).to_be_visible()
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert Briefing.objects.get().model == HARDER

    page.goto(f"{live_server.url}/o/acme/settings#llm-routing")
    expect(page.get_by_role("link", name="Briefing “Senior engineer”")).to_be_visible()
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
