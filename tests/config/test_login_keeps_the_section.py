"""An address of a section of the settings leads there, however the person logs in on the way."""

from __future__ import annotations

import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core import mail
from playwright.sync_api import Page, expect

from organizations import second_factors
from organizations.models import User
from providers.keys.notices import _send
from tests.config.browser import add_passkey_device, browsing, chromium, in_a_browser, page

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser

SECTIONS = ["llm-providers", "llm-routing", "candidate-recency-window"]
SEED = "JBSWY3DPEHPK3PXP"
PASSWORD = "correct horse battery"


@pytest.fixture
def member(alice) -> User:
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    return alice


def give_password(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Email").fill("alice@acme.example")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def assert_is_shown(page: Page, section: str) -> None:
    expect(page).to_have_url(re.compile(f"/o/acme/settings#{section}$"))
    expect(page.locator(f"#{section}")).to_be_in_viewport()


@pytest.mark.parametrize("section", SECTIONS)
def test_through_the_password_also_after_a_wrong_one(page, live_server, member, section):
    page.goto(f"{live_server.url}/settings#{section}")
    give_password(page, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    give_password(page)

    assert_is_shown(page, section)


@pytest.mark.parametrize("section", SECTIONS)
def test_through_the_second_step(page, live_server, member, section):
    Authenticator.objects.create(user=member, type="totp", data={"secret": second_factors.seal(SEED)})
    page.goto(f"{live_server.url}/o/acme/settings#{section}")
    give_password(page)
    counter = next(iter(yield_hotp_counters_from_time()))
    page.get_by_label("Code").fill(format_hotp_value(hotp_value(SEED, counter)))
    page.get_by_role("button", name="Log in", exact=True).click()

    assert_is_shown(page, section)


@pytest.mark.parametrize("section", SECTIONS)
def test_through_a_passkey(browsing, live_server, member, section):
    page = browsing
    add_passkey_device(page)
    page.goto(f"{live_server.url}/accounts/2fa/webauthn/add/")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.context.clear_cookies()

    page.goto(f"{live_server.url}/settings#{section}")
    page.get_by_role("button", name="Log in with a passkey").click()

    assert_is_shown(page, section)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
@pytest.mark.parametrize("address", ["settings", "o/acme/settings"])
@pytest.mark.parametrize("section", SECTIONS)
def test_by_the_address_without_a_number_sign(chromium, live_server, member, section, address, scripts):
    with chromium.new_context(java_script_enabled=scripts) as context:
        page = context.new_page()
        page.goto(f"{live_server.url}/{address}/{section}")
        give_password(page)

        assert_is_shown(page, section)


def test_from_our_own_mail_where_scripts_are_off(chromium, live_server, member, acme, settings):
    settings.SITE_URL = live_server.url
    _send(acme, "A key", "providers/email/key_rotation.txt", {"rows": [], "days": 180})
    (link,) = re.findall(r"http\S+", str(mail.outbox[-1].body))
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(link)
        give_password(page)

        assert_is_shown(page, "llm-providers")


def test_the_way_to_sign_up_keeps_it_too(page, live_server, settings):
    settings.KEYFARE_SIGNUP_OPEN = True
    page.goto(f"{live_server.url}/settings#llm-routing")
    page.get_by_role("link", name="Sign up").click()

    assert page.locator("input[name=next]").first.input_value() == "/settings#llm-routing"
