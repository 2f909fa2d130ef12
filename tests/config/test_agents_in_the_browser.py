"""From a name to what a client needs, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from organizations.models import ApiToken
from routing.agents import open_agent
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
    page.get_by_text("Archived agents").click()
    page.get_by_role("link", name="Support bot").click()
    assert_accessible(page)
    page.get_by_role("button", name="Bring it back").click()
    expect(page.get_by_text("Support bot is in use again.")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_long_names_and_many_agents_stay_within_the_window(browsing, live_server, acme, alice, width):
    names = ["Donaudampfschifffahrtsgesellschaftskapitänskajütentürschlüssel", *(f"Agent {n}" for n in range(20))]
    for name in names:
        open_agent(
            organization=acme, name=name, key=None, model="", with_token=True, token_expires_at=None, actor=alice
        )
    page = browsing
    page.set_viewport_size({"width": width, "height": 900})

    edit = f"api-tokens/{ApiToken.objects.earliest('pk').pk}/edit/"
    for path in ("agents/", f"agents/{Agent.objects.earliest('pk').slug}/", "api-tokens/", edit, "settings/routing/"):
        page.goto(f"{live_server.url}/o/acme/{path}")
        for summary in page.locator("main summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert_accessible(page)


def test_what_a_list_of_models_leaves_out_is_asked_about_on_the_spot(
    browsing, live_server, acme, alice, simulated_providers
):
    open_agent(
        organization=acme,
        name="Bot",
        key=connect_key(acme),
        model="openai/gpt-4.1-mini",
        with_token=False,
        token_expires_at=None,
        actor=alice,
    )
    page = browsing
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(f"{live_server.url}/o/acme/api-tokens/")
    page.get_by_label("Name").fill("CI")
    page.get_by_label("Call agents through the gateway").check()
    page.get_by_text("What it calls through the gateway").click()
    page.get_by_label("Bot").check()
    page.get_by_label("Only these models").fill("anthropic")

    page.get_by_role("button", name="Make token").click()
    asked = page.get_by_text("With this list the token could not call Bot (openrouter/openai/gpt-4.1-mini)")
    expect(asked).to_be_in_viewport()
    assert_accessible(page)
    page.get_by_role("button", name="Make token").click()
    expect(page.get_by_role("heading", name="“CI” is ready")).to_be_in_viewport()
