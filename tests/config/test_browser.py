"""What an owner does in the browser, from pasting a key to reading a result; with the simulator as the provider."""

from __future__ import annotations

import re

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from playwright.sync_api import Dialog, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from candidates import acceptance, failures
from candidates.check_endings import end_checks
from candidates.models import Briefing
from organizations import clock
from routing.agents import create_agent
from routing.services import save_routing
from tests.builders import connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.config.browser import add_passkey_device, assert_accessible, browsing, chromium, in_a_browser, page
from tests.conftest import logged_in
from tests.usage.conftest import event
from tests.usage.test_receipts import OF_USED, listed
from usage.price_list import CATALOG_VERSION

__all__ = ["browsing", "chromium", "page"]
pytestmark = in_a_browser


def test_an_owner_walks_from_a_pasted_key_to_a_read_result(browsing, live_server, acme, simulated_providers):
    connect_managed_key()
    give_credits(acme, 10)
    write_briefing(acme, ("Django", "must"), ("Kubernetes", "nice"), title="Django Developer")
    import_people(acme, "Builds Django services on Kubernetes.", "Paints houses.")
    page = browsing

    page.goto(f"{live_server.url}/settings#llm-providers")
    card = page.locator("#provider-openrouter")
    card.get_by_label("Paste key").fill("two words")
    card.get_by_role("button", name="Save key").click()
    expect(card.get_by_role("alert")).to_be_visible()
    card.get_by_label("Paste key").fill("sk-or-v1-simulated-valid-0042")
    card.get_by_role("button", name="Save key").click()
    expect(card.get_by_text("…0042").first).to_be_visible()
    card.get_by_role("button", name="Validate key").click()
    expect(card.get_by_text("Connected", exact=True)).to_be_visible()

    page.reload()
    routing = page.locator("#llm-routing")
    for row in ("Candidate check", "Requirement generation"):
        line = routing.locator("tr").filter(has_text=row)
        with page.expect_response(re.compile("/settings/routing/")):
            line.get_by_role("combobox").first.select_option(label="OpenRouter · Default")
        expect(line.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)
        line.locator("input[list], input[name*=model]").first.fill("openai/gpt-4.1-mini")
    routing.get_by_role("button", name="Save routing").click()
    expect(page.get_by_text("Routing saved.")).to_be_visible()

    page.get_by_role("link", name="Briefings").first.click()
    page.get_by_role("link", name="Django Developer").first.click()
    page.goto(page.url.split("?")[0] + "?tab=candidates")
    expect(page.locator("#quote")).to_contain_text("Nobody is selected.")
    page.get_by_label("Everybody in this list: 2 people").check()
    expect(page.locator("#quote")).to_contain_text(re.compile(r"2 new.*2 credits", re.S))
    page.get_by_role("button", name="Check the 2 selected").click()
    page.get_by_role("link", name="Person1").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Person1")
    expect(page.get_by_text("Strong fit").first).to_be_visible()
    expect(page.get_by_text("Builds Django services on Kubernetes.").first).to_be_visible()
    expect(page.get_by_role("main").get_by_text("BYOK").first).to_be_visible()


def test_the_four_steps_end_in_byok(browsing, live_server, acme, simulated_providers):
    connect_managed_key()
    page = browsing
    page.goto(f"{live_server.url}/settings#llm-providers")
    card, note = page.locator("#provider-openai"), page.locator("#mode-note")
    expect(note).to_contain_text("Managed mode")
    card.get_by_label("Paste key").fill("sk-proj-simulated-valid-0042")
    card.get_by_role("button", name="Save key").click()
    card.get_by_role("button", name="Validate key").click()
    offer = card.locator("form.uses")
    model = offer.get_by_label("Model for Candidate check")
    expect(model).to_have_value("gpt-4.1-mini")
    expect(offer).to_contain_text("$0.40 in, $1.60 out per million tokens")
    assert_accessible(page)

    model.fill("gpt-5-mini")
    model.blur()
    expect(offer).to_contain_text("$0.25 in, $2.00 out per million tokens")
    offer.get_by_role("checkbox", name="Requirement generation").uncheck()
    offer.get_by_role("button", name="Save routing").click()

    expect(note).to_contain_text("BYOK mode")
    expect(page.locator("#route-candidate_check-model")).to_have_value("gpt-5-mini")
    expect(page.locator("#route-requirement_generation-model")).to_have_value("")
    expect(offer.get_by_role("checkbox", name="Requirement generation")).to_be_checked()
    expect(offer.get_by_role("checkbox")).to_have_count(1)
    page.locator("#route-requirement_generation-key").select_option(label="OpenAI · Default")
    expect(page.locator("#route-requirement_generation-model")).to_have_value("gpt-4.1-mini")


def test_the_price_follows_what_is_chosen_and_a_wrong_number_is_said_beside_its_field(
    browsing, live_server, acme, simulated_providers
):
    connect_managed_key()
    give_credits(acme, 9)
    briefing = write_briefing(acme, ("Django", "must"))
    import_people(acme, *["Builds Django services."] * 3)
    page = browsing
    page.goto(f"{live_server.url}/o/acme/briefings/{briefing.pk}/?tab=candidates")
    quote, ticked = page.locator("#quote"), page.get_by_label("The people I tick below")

    page.get_by_label("As many of this list as my credits pay for").check()
    expect(quote).to_contain_text("2 of the 3 people in this list: so many your 9 credits pay for.")
    page.locator("[data-check-all]").check()
    expect(ticked).to_be_checked()
    expect(quote).to_contain_text("3 credits too few")
    page.get_by_label("At most").fill("50 people")
    page.get_by_role("button", name="Check the 3 selected").click()
    expect(page.get_by_label("At most")).to_have_value("50 people")
    expect(page.get_by_role("alert").filter(has_text="Enter a whole number")).to_be_visible()
    expect(page.locator("input[name=candidates]:checked")).to_have_count(3)
    page.get_by_label("At most").fill("2")
    page.get_by_label("At most").blur()
    expect(quote).to_contain_text("2 new × 4 = 8 credits")
    expect(page.get_by_text("Enter a whole number")).to_have_count(0)
    page.get_by_role("button", name="Check the 2 selected").click()
    expect(page.get_by_text("2 checks started.")).to_be_visible()


def test_the_keyboard_stays_where_it_was_while_a_key_is_validated_and_switched(
    browsing, live_server, acme, simulated_providers
):
    page = browsing
    page.goto(f"{live_server.url}/o/acme/settings")
    card = page.locator("#provider-openai")
    card.get_by_label("Paste key").fill("sk-proj-simulated-valid-0001")
    card.get_by_label("Paste key").press("Enter")
    validate = card.get_by_role("button", name="Validate key")
    expect(validate).to_be_focused()
    expect(page.locator(".htmx-request, .htmx-added, .htmx-settling")).to_have_count(0)

    page.keyboard.press("Enter")

    expect(card.get_by_text("Connected", exact=True)).to_be_visible()
    expect(page.locator(".htmx-request, .htmx-added, .htmx-settling")).to_have_count(0)
    expect(validate).to_be_focused()
    card.get_by_role("button", name="Disable").press("Enter")
    expect(card.get_by_role("button", name="Enable")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_accessible_and_fit_their_width(browsing, live_server, acme, simulated_providers, scheme, width):
    give_credits(acme, 10)
    briefing = write_briefing(acme, ("Django", "must"))
    import_people(acme, "Builds Django services.")
    key = route_to_own_key(acme)
    create_agent(organization=acme, name="Bot", actor=None)
    save_routing(organization=acme, action="bot", key=key, model="openai/gpt-4.1-mini", actor=None)
    call = event(acme, **OF_USED, cost_nanousd=listed(), price_version=CATALOG_VERSION, http_status=200)
    page = browsing
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    for path in (
        "",
        "settings",
        "candidates/",
        "briefings/",
        f"briefings/{briefing.pk}/",
        "consumption/",
        "consumption/calls/",
        "consumption/runs/",
        f"consumption/calls/{call.call_id}/",
        "consumption/anatomy/?month=2026-11",
        f"consumption/anatomy/?run={call.run_id}",
        "credits/",
        "members/",
        "api-tokens/",
        "agents/",
        "agents/new/",
        "agents/bot/",
        "settings/routing/candidate_check/rule/",
    ):
        page.goto(f"{live_server.url}/o/acme/{path}")
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_long_address_and_its_badges_stay_inside_their_card(browsing, live_server, alice):
    EmailAddress.objects.create(user=alice, email=f"{'a' * 60}@{'b' * 60}.example", primary=False, verified=False)
    browsing.set_viewport_size({"width": 390, "height": 900})
    browsing.goto(f"{live_server.url}/accounts/email/")
    edge = browsing.locator("section.card").first.bounding_box()
    boxes = [each.bounding_box() for each in browsing.locator(".choices label, .choices .badge").all()]
    assert len(boxes) == 4
    assert all(box["x"] + box["width"] <= edge["x"] + edge["width"] for box in boxes)


def test_a_new_api_token_is_copied_by_its_button_and_not_there_any_more_afterwards(browsing, live_server, acme):
    page = browsing
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{live_server.url}/o/acme/settings")
    page.get_by_role("link", name="API tokens").click()
    page.get_by_label("Name").fill("ATS")
    page.get_by_role("button", name="Make token").click()

    value = page.get_by_label("The new API token").input_value()
    page.get_by_role("button", name="Copy token").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == value
    page.goto(f"{live_server.url}/o/acme/api-tokens/")
    expect(page.get_by_text(value[:11]).first).to_be_visible()
    assert value[12:] not in page.content()
    page.get_by_role("link", name="Revoke ATS").click()
    page.get_by_role("button", name="Revoke token").click()
    expect(page.get_by_text("Revoked", exact=True)).to_be_visible()


def test_a_passkey_added_with_the_defaults_logs_in_without_a_password(browsing, live_server, alice):
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    page = browsing
    add_passkey_device(page)

    page.goto(f"{live_server.url}/accounts/2fa/webauthn/add/")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.context.clear_cookies()
    page.goto(f"{live_server.url}/accounts/login/")
    page.get_by_role("button", name="Log in with a passkey").click()

    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_double_click_makes_one_briefing(chromium, live_server, alice, scripts):
    cookie = logged_in(alice).cookies[settings.SESSION_COOKIE_NAME].value
    with chromium.new_context(java_script_enabled=scripts) as context:
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.goto(f"{live_server.url}/o/acme/briefings/new/")
        page.get_by_label("Title").last.fill("Data engineer")
        page.get_by_role("button", name="Write requirements").dblclick(no_wait_after=True)
        expect(page.get_by_role("heading", name="Data engineer")).to_be_visible()

    assert Briefing.objects.count() == 1


def leaving(page: Page, address: str) -> list[str]:
    """Goes to `address` and says no to every question; the kinds of what was asked."""
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", refuse)
    page.evaluate("address => { location.href = address }", address)
    try:
        page.wait_for_url(lambda url: url.split("#")[0] == address, timeout=3_000)
    except PlaywrightTimeout:
        assert asked, "neither asked nor left"
    return asked


@pytest.mark.parametrize("what", ["requirements", "routing"])
def test_what_is_not_saved_is_asked_about_before_it_is_lost(browsing, live_server, acme, simulated_providers, what):
    briefing = write_briefing(acme, ("Django", "must"))
    route_to_own_key(acme)
    address, field, save = {
        "requirements": (f"briefings/{briefing.pk}/?tab=requirements", "Requirement 1", "Save requirements"),
        "routing": ("settings", "Model for Candidate check", "Save routing"),
    }[what]
    other = f"{live_server.url}/o/acme/consumption/calls/"
    page = browsing
    page.goto(f"{live_server.url}/o/acme/{address}")
    note = page.locator("form", has=page.get_by_role("button", name=save)).locator("[data-unsaved-note]")
    expect(note).to_be_hidden()
    assert leaving(page, other) == []

    page.goto(f"{live_server.url}/o/acme/{address}")
    page.get_by_label(field, exact=True).fill("openai/gpt-4o-mini")
    expect(note).to_be_visible()
    assert leaving(page, other) == ["beforeunload"]

    page.get_by_role("button", name=save).click()
    expect(page.get_by_text("saved.", exact=False).first).to_be_visible()
    expect(note).to_be_hidden()
    assert leaving(page, other) == []


def test_what_was_refused_is_still_not_saved(browsing, live_server, acme):
    briefing = write_briefing(acme, ("Django", "must"), ("Go", "must"))
    page = browsing
    page.goto(f"{live_server.url}/o/acme/briefings/{briefing.pk}/?tab=requirements")
    page.get_by_label("Requirement 1", exact=True).fill("Go")
    page.get_by_role("button", name="Save requirements").click()
    expect(page.get_by_text("Two requirements are the same.")).to_be_visible()

    assert leaving(page, f"{live_server.url}/o/acme/consumption/calls/") == ["beforeunload"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("address", ["", "settings", "candidates/", "briefings/", "members/", "credits/"])
def test_toasts_cover_nothing_that_one_may_want_to_press(browsing, live_server, acme, width, address):
    import_people(acme, "Builds Django services.")
    write_briefing(acme, ("Django", "must"))
    page = browsing
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/o/acme/{address}")

    covered = page.evaluate(
        """() => {
            const toasts = document.getElementById("toasts");
            showError("Routing saved.");
            const { left, right, top, bottom } = toasts.getBoundingClientRect();
            const targets = document.querySelectorAll("main button, main a.button, main input, main select");
            return [...targets].filter((each) => {
                const box = each.getBoundingClientRect();
                return box.width && box.left < right && left < box.right && box.top < bottom && top < box.bottom;
            }).map((each) => each.outerHTML.slice(0, 80));
        }"""
    )
    assert covered == []


def test_held_credits_in_the_sidebar_end_with_the_batch(browsing, live_server, acme, simulated_providers, monkeypatch):
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)  # tasks do not run in the thread of the browser
    connect_managed_key()
    give_credits(acme, 9)
    briefing = write_briefing(acme, ("Django", "must"))
    people = import_people(acme, "Builds Django services.")
    acceptance.accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=clock.now())
    page = browsing
    page.goto(f"{live_server.url}/o/acme/briefings/{briefing.pk}/?tab=results")
    ticket = page.locator("#credit-ticket")
    expect(ticket).to_contain_text("4 held for running checks")

    end_checks(organization=acme, reason=failures.CLOSED)

    expect(page.get_by_text("The organization was closed before this check was done.")).to_be_visible()
    expect(ticket).not_to_contain_text("held")
    expect(ticket).to_contain_text("9")
    expect(ticket).to_have_count(1)
