"""From a name to what a client needs, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from routing.models import Agent, RoutingRule
from tests.builders import connect_key
from tests.config.browser import assert_accessible, browsing, chromium, in_a_browser, page

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser


@pytest.mark.parametrize("width", [1280, 390])
def test_a_new_agent_is_ready_in_one_form(browsing, live_server, acme, simulated_providers, width):
    connect_key(acme)
    anthropic = connect_key(acme, "anthropic")
    page = browsing
    page.set_viewport_size({"width": width, "height": 900})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{live_server.url}/o/acme/agents/new/")

    page.get_by_label("Name").fill("Support bot")
    page.get_by_label("Key").select_option(str(anthropic.pk))
    expect(page.get_by_label("Model")).to_have_value("claude-haiku-4-5")
    page.get_by_role("button", name="Make agent").click()

    expect(page.get_by_role("heading", name="Support bot is ready")).to_be_visible()
    assert_accessible(page)
    value = page.get_by_label("The new API token").input_value()
    page.get_by_role("button", name="Copy for Claude Code").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert f'ANTHROPIC_AUTH_TOKEN="{value}"' in page.evaluate("navigator.clipboard.readText()")
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.get_by_role("link", name="Open Support bot").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Support bot is paused since")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Support bot runs again.")).to_be_visible()
    page.get_by_label("Model", exact=False).first.fill("claude-sonnet-4-5")
    page.get_by_role("button", name="Save route").click()
    expect(page.get_by_text("Routing saved.")).to_be_visible()
    page.get_by_role("link", name="Archive").click()
    page.get_by_role("button", name="Archive agent").click()
    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()
    assert not RoutingRule.objects.exists()
    assert Agent.objects.get().archived_at
