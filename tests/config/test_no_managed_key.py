"""Without a managed key that works, no page speaks of Managed mode; a routed key that broke is said above."""

from __future__ import annotations

import re

import pytest

from candidates.briefing_models import choose_model
from config.onboarding import ensure_platform
from providers.catalog import PROVIDERS
from providers.keys.saving import disable_provider_key
from providers.models import ProviderKey
from routing.services import save_routing
from tests.builders import NOW, connect_key, connect_managed_key, give_credits, import_people, route_to_own_key
from tests.builders import write_briefing as write

PAGES = [
    "",
    "settings",
    "settings/routing/",
    "credits/",
    "candidates/",
    "briefings/",
    "briefings/new/",
    "consumption/",
    "consumption/calls/",
    "checks/",
]
NOT_YET = "No model serves checks yet"


def words(page: str) -> str:
    """What a person reads of a page, but for the filter of past calls and checks by mode."""
    main = page.partition("<main")[2].partition("</main>")[0]
    main = re.sub(r'<select[^>]*name="mode".*?</select>', "", main, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", main).replace("“", "").split())


@pytest.fixture(params=["no managed key", "a broken one"])
def unmanaged(request, acme, simulated_providers) -> None:
    give_credits(acme, 10)
    ensure_platform()
    if request.param == "a broken one":
        connect_managed_key()
        ProviderKey.objects.update(status="no_credit")


@pytest.mark.parametrize("who", ["as_alice", "as_bob"])
def test_no_page_speaks_of_managed_mode(request, acme, unmanaged, who):
    client = request.getfixturevalue(who)
    briefing = write(acme, ("Django", "must"))
    import_people(acme, "Builds Django services.")

    for path in [*PAGES, f"briefings/{briefing.pk}/?tab=candidates"]:
        page = client.get(f"/o/acme/{path}")
        assert page.status_code == 200, path
        assert "managed" not in words(page.content.decode()).lower(), path


@pytest.mark.parametrize("path", ["", "settings", "credits/"])
def test_they_say_what_to_do_instead(as_alice, unmanaged, path):
    page = as_alice.get(f"/o/acme/{path}").content.decode()

    assert f"{NOT_YET}: " in words(page)
    assert "connect a key" in words(page)


@pytest.mark.parametrize("path", ["", "settings", "credits/"])
def test_where_briefings_alone_have_a_model_that_is_what_is_said(as_alice, acme, unmanaged, path):
    briefing, key = write(acme, ("Django", "must")), connect_key(acme)
    choose_model(briefing=briefing, key=key, model="openai/gpt-4.1-mini", actor=None)

    shown = words(as_alice.get(f"/o/acme/{path}").content.decode())

    assert "Only briefings with a model of their own can be checked: no model serves the others yet." in shown
    assert NOT_YET not in shown

    disable_provider_key(key=key, actor=None, now=NOW)  # then nothing serves any check

    assert NOT_YET in words(as_alice.get(f"/o/acme/{path}").content.decode())


def test_the_quote_names_no_price_that_nobody_would_pay(as_alice, acme, unmanaged):
    briefing = write(acme, ("Django", "must"))
    (person,) = import_people(acme, "Builds Django services.")

    quote = as_alice.post(f"/o/acme/briefings/{briefing.pk}/quote/", {"candidates": person.pk}).content.decode()

    assert NOT_YET in quote
    assert "credit" not in words(f"<main{quote}</main>").replace("no credits", "")


def test_the_prices_of_credits_are_those_that_can_be_paid(as_alice, acme, unmanaged):
    page = words(as_alice.get("/o/acme/credits/").content.decode())

    assert "Your own keys (BYOK) 1 credit 0 credits" in page
    assert "4 credits" not in page


def test_with_a_working_managed_key_they_do(as_alice, acme, simulated_providers):
    connect_managed_key()

    for path in ("", "settings", "credits/"):
        page = words(as_alice.get(f"/o/acme/{path}").content.decode())
        assert "managed" in page.lower(), path
        assert NOT_YET not in page, path


# A routed key that broke -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "settings"])
def test_a_broken_routed_key_is_said_with_the_way_to_it(as_alice, acme, simulated_providers, path):
    connect_managed_key()
    key = route_to_own_key(acme)
    ProviderKey.objects.filter(pk=key.pk).update(status="invalid", status_detail="The provider said no.")

    page = as_alice.get(f"/o/acme/{path}").content.decode()
    above = page.partition('id="routing-table"')[0]

    assert "Candidate check is routed to your OpenRouter key" in above
    assert "#provider-openrouter" in above
    assert "Checks run in BYOK mode" not in page
    if not path:
        assert "Requirement generation is routed to your OpenRouter key" in page


def test_nothing_is_said_where_everything_runs(as_alice, acme, simulated_providers):
    route_to_own_key(acme)

    assert "callout" not in as_alice.get("/o/acme/").content.decode()


def test_one_key_of_two_broken_is_said_of_its_action_alone(as_alice, acme, simulated_providers):
    route_to_own_key(acme)
    other = connect_key(acme, "openai", label="Other")
    save_routing(organization=acme, action="requirement_generation", key=other, model="gpt-4o", actor=None)
    ProviderKey.objects.filter(pk=other.pk).update(status="no_credit")

    overview = as_alice.get("/o/acme/").content.decode()
    settings = as_alice.get("/o/acme/settings").content.decode()

    assert "Requirement generation is routed to your OpenAI key" in overview
    assert "Candidate check is routed to" not in overview
    assert "Checks run in BYOK mode" in settings


# The checklist and the cards ---------------------------------------------------------------------------------


def test_the_checklist_names_every_provider(as_alice, acme):
    page = words(as_alice.get("/o/acme/").content.decode())

    assert [provider.name for provider in PROVIDERS.values() if provider.name not in page] == []


def test_the_recommended_card_says_why(as_alice, acme):
    page = words(as_alice.get("/o/acme/settings").content.decode())

    for reason in (
        "One key for the models of all makers",
        "a free choice per action",
        "another host serves the same model",
    ):
        assert reason in page


def test_no_text_claims_that_defaults_are_tuned(settings):
    texts = [
        *settings.BASE_DIR.glob("templates/**/*.*"),
        *settings.BASE_DIR.glob("docs/*.md"),
        settings.BASE_DIR / "README.md",
    ]

    assert len(texts) > 100
    assert [path for path in texts if re.search(r"\btuned\b", path.read_text(), re.IGNORECASE)] == []
