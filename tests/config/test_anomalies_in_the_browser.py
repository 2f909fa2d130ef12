"""The page of anomalies, on a screen and on a phone, in light and dark."""

from __future__ import annotations

import uuid

import pytest

from tests.builders import route_to_own_key
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page
from tests.config.test_anomalies import NOW, PAGE, USD, anomaly

__all__ = ["browsing", "chromium", "page"]

pytestmark = in_a_browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_and_used_by_everybody(browsing, live_server, acme, alice, simulated_providers, scheme):
    route_to_own_key(acme)
    anomaly(acme)
    view = {"kind": "retries", "subject": "", "hours": 1, "usual": 0, "found": 580_000}
    view |= {"since": NOW.isoformat(), "seen_at": NOW.isoformat()}
    anomaly(acme, kind="error_storm", usual=10_000, found=600_000, a_day_nanousd=None, drivers=[], also=[view])
    anomaly(acme, kind="elsewhere", action="", subject=str(uuid.uuid4()), usual=2 * USD, found=10 * USD, drivers=[])
    anomaly(acme, mode="managed", kind="requests", usual=100, found=900)
    anomaly(acme, kind="retries", state="over", usual=0, found=580_000, also=[{**view, "kind": "error_storm"}])
    anomaly(acme, kind="requests", usual=100, found=900, state="over")
    anomaly(
        acme, kind="new_model", subject="openai/gpt-5", usual=0, found=40, state="expected", expected_by=alice,
        expected_at=NOW, expected_why="the new search",
    )  # fmt: skip
    browsing.emulate_media(color_scheme=scheme)
    for width in (1280, 390):
        browsing.set_viewport_size({"width": width, "height": 900})
        browsing.goto(f"{live_server.url}{PAGE}")
        browsing.locator("summary", has_text="This is expected").first.click()
        assert_accessible(browsing)
        assert browsing.evaluate("document.documentElement.scrollWidth") <= width
