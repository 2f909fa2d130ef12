"""What tests in a real browser share: Chromium, and Alice's session in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import logged_in

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
in_a_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; name one by CHROMIUM="),
    pytest.mark.django_db(transaction=True),
]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Of this module only: while Playwright runs, its event loop occupies the thread of the tests."""
    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_page() as page:
        yield page


@pytest.fixture
def browsing(page: Page, alice, live_server) -> Iterator[Page]:
    """Alice's browser, logged in; the test fails on any console error or breach of the content security policy."""
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    cookie = logged_in(alice).cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    page.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    yield page
    assert [line for line in trouble if "422" not in line] == []  # Chromium reports a refused form as an error


# A colour half way from the old to the new is nobody's to read. Spinners turn for ever and cannot be finished.
SETTLE = """() => document.getAnimations()
  .filter(moving => moving.effect.getComputedTiming().endTime !== Infinity)
  .forEach(moving => moving.finish())"""


def assert_accessible(page: Page) -> None:
    page.evaluate(SETTLE)
    found = Axe().run(page, options=WCAG)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"


def add_passkey_device(page: Page) -> None:
    """A device with a fingerprint reader that always sees the right finger."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    device = {**options, "isUserVerified": True, "automaticPresenceSimulation": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": device})
