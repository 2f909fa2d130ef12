"""Who works by keyboard stays where they were, and who has colours of their own tells what is current."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from organizations.invitations import invite_member
from tests.builders import connect_managed_key, give_credits, route_to_own_key
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser


RESET = re.compile("Reset to managed default ?: Candidate check")


def press(page: Page, name: str | re.Pattern[str], *, exact: bool = False) -> None:
    """By keyboard, until whatever it began has settled."""
    button = page.get_by_role("button", name=name, exact=exact).first
    button.focus()
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.keyboard.press("Enter")
    expect(page.locator(".toast").first).to_be_visible()
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added")).to_have_count(0)


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


@pytest.fixture
def routed(acme, simulated_providers) -> None:
    connect_managed_key()
    route_to_own_key(acme)


def test_after_save_routing(browsing, live_server, routed):
    browsing.goto(f"{live_server.url}/o/acme/settings")
    browsing.locator("#route-candidate_check-model").fill("openai/gpt-5")
    press(browsing, "Save routing", exact=True)

    assert focused(browsing) == "save-routing"


def test_after_a_route_is_reset_it_is_on_the_keys_of_its_row(browsing, live_server, routed):
    browsing.goto(f"{live_server.url}/o/acme/settings")
    press(browsing, RESET)

    assert focused(browsing) == "route-candidate_check-key"


def test_after_the_offer_of_a_key_is_taken_it_is_on_the_key(browsing, live_server, routed, acme):
    browsing.goto(f"{live_server.url}/o/acme/settings")
    press(browsing, RESET)
    browsing.reload()
    offer = browsing.locator("#provider-openrouter form.uses")
    expect(offer.get_by_role("checkbox", name="Candidate check")).to_be_checked()
    offer.get_by_role("button", name="Save routing").focus()
    browsing.keyboard.press("Enter")
    expect(browsing.get_by_text("Routing saved.")).to_be_visible()
    expect(browsing.locator("form.uses")).to_have_count(0)
    expect(browsing.locator("#mode-note")).to_contain_text("BYOK mode")
    expect(browsing.locator("#route-candidate_check-model")).to_have_value("openai/gpt-4.1-mini")

    assert focused(browsing).startswith(("use-", "key-"))


def test_after_save_recency_window(browsing, live_server, acme):
    browsing.goto(f"{live_server.url}/o/acme/settings")
    browsing.get_by_label("60 days").check()
    press(browsing, "Save recency window")

    assert focused(browsing) == "save-recency-window"


def test_after_save_role(browsing, live_server, bob):
    browsing.goto(f"{live_server.url}/o/acme/members/")
    browsing.get_by_label("Role of bob@acme.example").select_option("admin")
    press(browsing, "Save role of bob@acme.example")

    assert focused(browsing).startswith("save-role-")


def test_after_invitations_are_withdrawn(browsing, live_server, acme, alice):
    for email in ("kim@new.example", "lee@new.example"):
        invite_member(organization=acme, email=email, role="member", actor=alice, now=timezone.now())
    browsing.goto(f"{live_server.url}/o/acme/members/")

    press(browsing, "Withdraw the invitation of kim@new.example")
    assert focused(browsing) == "open-invitations-card"
    browsing.locator(".toast-close").first.click()
    press(browsing, "Withdraw the invitation of lee@new.example")
    assert focused(browsing) == "invite-card"


def test_in_colours_of_ones_own_the_current_page_and_tab_and_badges_are_told_apart(browsing, live_server, acme):
    page = browsing
    page.emulate_media(forced_colors="active")
    page.goto(f"{live_server.url}/o/acme/members/")
    look = """element => {
        const style = getComputedStyle(element);
        const names = ["textDecorationLine", "outlineStyle", "borderBottomWidth", "borderTopStyle", "borderTopWidth"];
        return names.map(name => style[name]).join(" ");
    }"""

    def looks(selector: str) -> set[str]:
        found = page.locator(selector).evaluate_all(f"elements => elements.map({look})")
        assert found, selector
        return set(found)

    for links in (".nav a", ".tabs a"):
        assert looks(f"{links}[aria-current]") & looks(f"{links}:not([aria-current])") == set(), links
    page.evaluate(
        """() => document.querySelector("main").append(...["", "ok", "warn", "bad"].map(tone => {
            const badge = document.createElement("span");
            badge.className = `badge ${tone} made`;
            badge.textContent = tone;
            return badge;
        }))"""
    )
    tones = [looks(f".badge.made{tone}") for tone in (".ok", ".warn", ".bad", ":not(.ok, .warn, .bad)")]
    assert len(set.union(*tones)) == 4, "each tone has a look of its own"
    assert all("none" not in each.split()[3] for tone in tones for each in tone)


def test_the_page_of_credits_names_its_parts(browsing, live_server, acme, routed):
    give_credits(acme, 10)
    for width in (1280, 390):
        browsing.set_viewport_size({"width": width, "height": 900})
        browsing.goto(f"{live_server.url}/o/acme/credits/")
        assert_accessible(browsing)
