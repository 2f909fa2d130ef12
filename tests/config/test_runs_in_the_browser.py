"""Runs, and a view that is not saved, in a real browser, at both widths and in both colours."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page
from tests.usage.conftest import event

__all__ = ["browsing", "chromium", "page"]

pytestmark = in_a_browser


def assert_good_to_look_at(browsing: Page) -> None:
    for width in (1280, 390):
        browsing.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            browsing.emulate_media(color_scheme=scheme)
            assert_accessible(browsing)
            assert browsing.evaluate("document.documentElement.scrollWidth") == width


def test_a_long_run_is_one_row(acme, browsing, live_server):
    run, now = uuid.uuid4(), timezone.now()
    for hours in (54, 30, 2):
        event(acme, run_id=run, occurred_at=now - timedelta(hours=hours), cost_nanousd=10**9, action="helper")

    browsing.goto(f"{live_server.url}/o/acme/consumption/runs/?order=dearest&action=helper")

    expect(browsing.get_by_text("counts 3 times")).to_be_visible()
    assert browsing.locator("tbody tr").count() == 1
    assert_good_to_look_at(browsing)


def test_a_view_that_is_not_saved_is_mended_on_the_page_that_says_so(acme, browsing, live_server):
    event(acme, cost_nanousd=10**9)
    event(acme, cost_nanousd=None)  # a sum that leads to its rows, and to what it misses
    browsing.goto(f"{live_server.url}/o/acme/consumption/?metric=nonsense&group=model")
    browsing.get_by_text("Saved views").click()
    browsing.get_by_label("Save what is shown as").fill("Costs by model")
    browsing.get_by_role("button", name="Save view").click()
    expect(browsing.get_by_text("This view cannot be saved.")).to_be_visible()
    assert_good_to_look_at(browsing)

    browsing.locator("select[name=metric]").select_option("usd")
    browsing.get_by_role("button", name="Show").first.click()
    browsing.get_by_text("Saved views").click()
    browsing.get_by_label("Save what is shown as").fill("Costs by model")
    browsing.get_by_role("button", name="Save view").click()

    expect(browsing.get_by_role("link", name="Costs by model")).to_be_visible()
