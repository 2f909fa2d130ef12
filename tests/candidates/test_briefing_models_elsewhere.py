"""Models of briefings' own, elsewhere: lists of allowed models ask before they leave one out; the API names them."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.briefing_archive import archive_briefing
from candidates.briefing_models import choose_model
from candidates.models import Briefing, CandidateCheck
from candidates.worker import run_pending_checks
from routing.models import RoutingRule
from routing.rule_settings import LeavesOut, RuleSettings, save_rule_settings
from tests.builders import NOW, connect_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.page_forms import form_of
from usage.models import UsageEvent

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


def test_the_api_and_the_receipt_of_a_call_name_it(as_alice, as_bob, acme, harder):
    give_credits(acme, 10)
    plain = write_briefing(acme, ("Django", "must"), title="As routed")
    people = import_people(acme, "Ten years of Django.")
    for briefing in (Briefing.objects.get(pk=harder.pk), plain):
        accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    run_pending_checks()
    wanted = {"name": "CI", "days": "30", "scopes": ["view"]}
    token = as_alice.post("/o/acme/api-tokens/new/", wanted).context["made"].value

    for briefing, is_own in ((harder, True), (plain, False)):
        check = CandidateCheck.objects.get(briefing=briefing)
        bearer = {"Authorization": f"Bearer {token}"}
        found = as_bob.get(f"/api/v1/candidate-check/{check.pk}", headers=bearer).json()
        assert (found["provider"], found["isOwnModel"]) == ("openrouter", is_own)
        assert found["model"] == (HARDER if is_own else "openai/gpt-4.1-mini")
        call = UsageEvent.objects.get(run_id=check.run_id)
        receipt = as_bob.get(reverse("call", args=["acme", call.call_id])).content.decode()
        assert ("the briefing has a model of its own" in receipt) == is_own
        told = as_bob.get(f"/api/v1/calls/{call.call_id}", headers=bearer).json()
        assert (told["isOwnModel"], told["ruleVersion"]) == (is_own, None if is_own else 1)
        assert 0 <= told["attempts"][0]["firstByteMs"] <= told["attempts"][0]["endMs"]


def test_nothing_is_asked_where_nothing_is_cut_off(acme, harder):
    wider = RuleSettings(allowed_models=("openrouter",))
    save_rule_settings(organization=acme, action=CHECK, settings=wider, actor=None, told=())
    archive_briefing(briefing=harder, now=NOW)

    save_rule_settings(
        organization=acme, action=CHECK, settings=RuleSettings(allowed_models=(ROUTED,)), actor=None, told=()
    )
