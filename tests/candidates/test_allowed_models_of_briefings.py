"""A list of allowed models that leaves out what briefings have of their own: asked about before it holds."""

from __future__ import annotations

import pytest
from django.urls import reverse

from candidates.briefing_archive import archive_briefing
from candidates.briefing_models import choose_model
from routing.models import RoutingRule
from routing.rule_settings import LeavesOut, RuleSettings, save_rule_settings
from tests.builders import NOW, connect_key, route_to_own_key, write_briefing
from tests.page_forms import form_of

pytestmark = pytest.mark.usefixtures("simulated_providers")
CHECK, HARDER = "candidate_check", "anthropic/claude-sonnet-4.5"
RULE, SAVE = (reverse(f"routing:{name}", args=["acme", CHECK]) for name in ("rule", "save-rule"))
ROUTED = "openrouter/openai/gpt-4.1-mini"


@pytest.fixture
def harder(acme):
    route_to_own_key(acme)
    briefing = write_briefing(acme, ("Django", "must"), title="Harder")
    choose_model(briefing=briefing, key=connect_key(acme, label="Harder"), model=HARDER, actor=None)
    return briefing


def test_it_is_said_first_and_holds_when_it_is_saved_once_more(as_alice, acme, harder):
    form = form_of(as_alice.get(RULE), SAVE)

    asked = as_alice.post(SAVE, {**form, "allowed_models": ROUTED, "temperature": "0.5"})

    assert asked.status_code == 422
    assert asked.context["rule_form"].errors == {
        "allowed_models": [
            f"With this list Candidate check would be refused for Briefing “Harder” (openrouter/{HARDER}). Add what is "
            "missing to the list, or save once more to have it so."
        ]
    }
    assert RoutingRule.objects.get(action=CHECK).allowed_models == []
    again = form_of(asked, SAVE)
    assert (again["allowed_models"].strip(), again["temperature"]) == (ROUTED, "0.5")

    assert as_alice.post(SAVE, again).status_code == 302
    assert RoutingRule.objects.get(action=CHECK).allowed_models == [ROUTED]
    assert "Not allowed" in as_alice.get("/o/acme/settings").content.decode()


def test_one_that_came_meanwhile_is_asked_about_anew(as_alice, acme, harder):
    asked = as_alice.post(SAVE, {**form_of(as_alice.get(RULE), SAVE), "allowed_models": ROUTED})
    other = write_briefing(acme, ("Django", "must"), title="Other")
    choose_model(briefing=other, key=harder.__class__.objects.get(pk=harder.pk).key, model=HARDER, actor=None)

    again = as_alice.post(SAVE, form_of(asked, SAVE))

    assert "Briefing “Other”" in again.context["rule_form"].errors["allowed_models"][0]
    assert as_alice.post(SAVE, form_of(again, SAVE)).status_code == 302


def test_who_asks_for_no_page_means_all(acme, harder):
    settings = RuleSettings(allowed_models=(ROUTED,))

    with pytest.raises(LeavesOut):
        save_rule_settings(organization=acme, action=CHECK, settings=settings, actor=None, told=())
    save_rule_settings(organization=acme, action=CHECK, settings=settings, actor=None)


def test_nothing_is_asked_where_nothing_is_cut_off(acme, harder):
    wider = RuleSettings(allowed_models=("openrouter",))
    save_rule_settings(organization=acme, action=CHECK, settings=wider, actor=None, told=())
    archive_briefing(briefing=harder, now=NOW)

    save_rule_settings(
        organization=acme, action=CHECK, settings=RuleSettings(allowed_models=(ROUTED,)), actor=None, told=()
    )
