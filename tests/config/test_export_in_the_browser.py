"""The page of exports in a real browser, at both widths and in both colours."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from config.exports import OTHERS
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page
from tests.usage.conftest import event, roll_up
from tests.usage.exports.reading import rows_of
from usage.exports.sealing import seal_due_months

__all__ = ["browsing", "chromium", "page"]

pytestmark = in_a_browser


def test_a_month_is_downloaded_and_a_wrong_one_is_mended(acme, browsing, live_server):
    event(acme, day=date(2026, 10, 20))
    now = datetime(2026, 11, 2, tzinfo=UTC)
    roll_up(now=now)
    seal_due_months(now=now, others=OTHERS)
    address = f"{live_server.url}/o/acme/consumption/export/"
    for url in (address, f"{address}file/?from=2026-10-02&to=2026-10-01&format=csv"):
        for width in (1280, 390):
            browsing.set_viewport_size({"width": width, "height": 900})
            for scheme in ("light", "dark"):
                browsing.emulate_media(color_scheme=scheme)
                browsing.goto(url)
                assert_accessible(browsing)
                here = browsing.locator(".tabs [aria-current]").bounding_box()  # the last of the row
                assert here
                assert 0 <= here["x"] <= width - here["width"]
                assert browsing.evaluate("document.documentElement.scrollWidth") == width

    browsing.goto(address)
    browsing.get_by_label("Month", exact=True).select_option("2026-10")
    with browsing.expect_download() as download:
        browsing.get_by_role("button", name="Download month").click()

    assert download.value.suggested_filename == "keyfare-acme-calls-2026-10.csv"
    assert len(rows_of(Path(download.value.path()).read_bytes())) == 1
