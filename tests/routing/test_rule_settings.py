from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from candidates.prompts.questions import question
from organizations.edits import ChangedMeanwhile, stamp
from organizations.models import AuditEvent
from providers.adapters.base import HttpAnswer
from providers.catalog import PROVIDERS
from routing.allowed_models import ListRefused, is_allowed, read_allowed
from routing.models import RoutingRule
from routing.resolve import Paused, Route, known_route, mode_of, resolve
from routing.rule_settings import (
    RuleSettings,
    pause_routing,
    resume_routing,
    save_rule_settings,
    settings_of,
    words_of_settings,
)
from routing.services import RuleRefused, reset_routing, save_routing
from tests.builders import connect_managed_key
from tests.routing.conftest import MODEL
from usage.models import Mode

CHECK = "candidate_check"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
WARM = RuleSettings(temperature=Decimal("0.7"), most_output_tokens=1000, reasoning_effort="low")


def test_settings_move_the_version_and_are_noted(acme, alice, routed):
    saved = save_rule_settings(organization=acme, action=CHECK, settings=WARM, actor=alice)

    stored = RoutingRule.objects.get()
    assert settings_of(stored) == settings_of(saved)
    assert (stored.version, stored.updated_by, stored.temperature) == (routed.version + 1, alice, Decimal("0.70"))
    event = AuditEvent.objects.get(action="routing.settings_saved")
    assert event.details == {
        "temperature": "0.70",
        "most_output_tokens": 1000,
        "reasoning_effort": "low",
        "allowed_models": "",
        "version": 2,
    }
    assert words_of_settings(stored) == "Temperature 0.7, 1,000 tokens at most, effort low"


def test_what_is_there_already_is_not_saved_again(acme, routed):
    save_rule_settings(organization=acme, action=CHECK, settings=WARM, actor=None)

    save_rule_settings(organization=acme, action=CHECK, settings=WARM, actor=None, seen="")

    assert RoutingRule.objects.get().version == 2


def test_settings_that_somebody_else_changed_meanwhile_are_not_overwritten(acme, alice, ada, routed):
    seen = stamp(settings_of(routed).parts)
    save_rule_settings(organization=acme, action=CHECK, settings=WARM, actor=ada, seen=seen)

    with pytest.raises(ChangedMeanwhile, match="Ada changed what Candidate check is sent with"):
        save_rule_settings(organization=acme, action=CHECK, settings=RuleSettings(Decimal(1)), actor=alice, seen=seen)
    assert RoutingRule.objects.get().temperature == Decimal("0.70")


@pytest.mark.parametrize(
    "wrong",
    [
        RuleSettings(temperature=Decimal("2.01")),
        RuleSettings(temperature=Decimal("-0.01")),
        RuleSettings(temperature=Decimal("0.333")),
        RuleSettings(temperature=Decimal("NaN")),
        RuleSettings(temperature=Decimal("Infinity")),
        RuleSettings(most_output_tokens=0),
        RuleSettings(most_output_tokens=10**30),
        RuleSettings(reasoning_effort="immense"),
        RuleSettings(allowed_models=("nobody",)),
        RuleSettings(allowed_models=("openai/",)),
        RuleSettings(allowed_models=tuple(f"openai/{number}" for number in range(101))),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(acme, routed, wrong):
    with pytest.raises(RuleRefused) as refused:
        save_rule_settings(organization=acme, action=CHECK, settings=wrong, actor=None)

    assert str(refused.value).endswith(".")
    assert RoutingRule.objects.get().version == 1


def test_a_route_outside_of_the_allowed_models_is_refused(acme, key, routed):
    allowed = RuleSettings(allowed_models=(f"openrouter/{MODEL}", "anthropic"))
    save_rule_settings(organization=acme, action=CHECK, settings=allowed, actor=None)

    with pytest.raises(RuleRefused, match="is not among the models that Candidate check may be routed to"):
        save_routing(organization=acme, action=CHECK, key=key, model="openai/gpt-5", actor=None)
    with pytest.raises(RuleRefused, match="which is not in this list"):
        save_rule_settings(
            organization=acme, action=CHECK, settings=RuleSettings(allowed_models=("anthropic",)), actor=None
        )
    whole_provider = RuleSettings(allowed_models=("openrouter",))
    save_rule_settings(organization=acme, action=CHECK, settings=whole_provider, actor=None)
    save_routing(organization=acme, action=CHECK, key=key, model="openai/gpt-5", actor=None)
    assert RoutingRule.objects.get().model == "openai/gpt-5"


def test_a_list_is_read_line_by_line():
    assert read_allowed(" openai \n\nopenai/gpt-4.1\r\nopenai\n") == ["openai", "openai/gpt-4.1"]
    assert read_allowed("") == []
    for wrong in ("gpt-4.1", "openai/", "openai/\u202e", "openai/" + "x" * 300, "OpenAI"):
        with pytest.raises(ListRefused):
            read_allowed(wrong)


def test_an_entry_allows_its_provider_or_its_model_and_nothing_that_only_begins_so():
    assert is_allowed([], "openai", "gpt-5")
    assert is_allowed(["openai"], "openai", "gpt-5")
    assert is_allowed(["openai/gpt-5"], "openai", "gpt-5")
    assert not is_allowed(["openai/gpt-5"], "openai", "gpt-5-mini")
    assert not is_allowed(["openai"], "openai_compatible", "gpt-5")


def test_a_paused_action_refuses_with_a_sentence_and_does_not_fall_back(acme, routed):
    connect_managed_key()
    assert pause_routing(organization=acme, action=CHECK, actor=None, now=NOW)

    for ask in (resolve, known_route):
        with pytest.raises(Paused, match=r"is paused since 2026-11-28 12:00 UTC\. An owner or admin can"):
            ask(organization=acme, action=CHECK)
    assert mode_of(organization=acme, actions=[CHECK]) == Mode.BYOK
    assert not pause_routing(organization=acme, action=CHECK, actor=None, now=NOW)
    assert resume_routing(organization=acme, action=CHECK, actor=None)
    assert not resume_routing(organization=acme, action=CHECK, actor=None)
    assert resolve(organization=acme, action=CHECK).rule_version == 3
    assert list(AuditEvent.objects.filter(action__startswith="routing.").order_by("seq").values_list("action")) == [
        ("routing.saved",),
        ("routing.paused",),
        ("routing.resumed",),
    ]


def test_a_new_route_stays_paused_and_a_reset_one_is_not(acme, key, routed):
    connect_managed_key()
    pause_routing(organization=acme, action=CHECK, actor=None, now=NOW)

    save_routing(organization=acme, action=CHECK, key=key, model="openai/gpt-5", actor=None)

    assert RoutingRule.objects.get().paused_at == NOW
    reset_routing(organization=acme, action=CHECK, actor=None)
    assert resolve(organization=acme, action=CHECK).mode == Mode.MANAGED


@pytest.mark.parametrize("action", ["requirement_generation", "no-such-agent"])
def test_what_is_not_routed_has_no_settings_and_cannot_be_paused(acme, routed, action):
    with pytest.raises(RuleRefused):
        pause_routing(organization=acme, action=action, actor=None, now=NOW)
    with pytest.raises(RuleRefused):
        save_rule_settings(organization=acme, action=action, settings=WARM, actor=None)


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("openai", {"temperature": 0.7, "max_completion_tokens": 1000, "reasoning_effort": "low"}),
        ("mistral", {"temperature": 0.7, "max_tokens": 1000, "reasoning_effort": "low"}),
        ("anthropic", {"temperature": 0.7, "max_tokens": 1000}),
        ("google", {"temperature": 0.7, "maxOutputTokens": 1000}),
    ],
)
def test_a_question_of_ours_is_sent_as_its_rule_says_on_every_wire(acme, routed, provider, names):
    save_rule_settings(organization=acme, action=CHECK, settings=WARM, actor=None)
    asked = question(model="m", system="Answer.", text="What?")

    request = resolve(organization=acme, action=CHECK).sent_with(asked)

    options = PROVIDERS[provider].adapter.options(request)
    assert options.items() >= names.items()
    assert request.is_limit_fixed
    assert Route.from_json(resolve(organization=acme, action=CHECK).as_json()).sent_with(asked) == request


def test_a_rule_that_says_nothing_leaves_a_question_as_it_is(acme, routed):
    asked = question(model="m", system="Answer.", text="What?")

    assert resolve(organization=acme, action=CHECK).sent_with(asked) == asked
    assert not PROVIDERS["openai"].adapter.options(asked).keys() & {"temperature", "reasoning_effort"}


def test_a_temperature_that_a_model_refuses_is_left_out():
    adapter = PROVIDERS["openai"].adapter
    request = replace(question(model="m", system="", text="What?"), temperature=0.2)
    body = b'{"error": {"message": "Unsupported value: \'temperature\' does not support 0.2 with this model."}}'

    refused = adapter.refused_option(HttpAnswer(400, {}, body), request, ())

    assert refused is not None
    assert "temperature" not in adapter.options_taken(request, [refused])


def test_the_page_of_a_rule_says_what_it_routes_to(as_bob, acme, routed):
    shown = " ".join(as_bob.get("/o/acme/settings/routing/candidate_check/rule/").content.decode().split())

    assert f'Routed to <span class="mono wrap-anywhere">{MODEL}</span> on your OpenRouter key “Default”.' in shown
    assert "Briefings with a model of their own" not in shown
