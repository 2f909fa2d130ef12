from __future__ import annotations

import pytest

from organizations.models import AuditEvent
from providers.models import ProviderKey
from routing.actions import ACTIONS, CANDIDATE_CHECK, REQUIREMENT_GENERATION
from routing.models import ManagedDefault, RoutingRule
from routing.resolve import Route, RouteUnavailable, mode_of, resolve
from routing.services import (
    KeyInUse,
    RuleRefused,
    ensure_managed_defaults,
    remove_provider_key,
    reset_routing,
    save_routing,
)
from tests.builders import connect_key, connect_managed_key, route_to_own_key
from usage.models import Mode

pytestmark = pytest.mark.usefixtures("simulated_providers")
CHECK = CANDIDATE_CHECK.slug
MODEL = "openai/gpt-4.1-mini"


def test_without_a_rule_the_managed_default_serves(acme):
    managed = connect_managed_key()

    route = resolve(organization=acme, action=CHECK)

    assert (route.mode, route.key_id, route.model) == (Mode.MANAGED, managed.pk, CANDIDATE_CHECK.managed_model)


def test_a_rule_serves_with_the_own_key(acme):
    connect_managed_key()
    key = connect_key(acme)
    save_routing(organization=acme, action=CHECK, key=key, model=MODEL, actor=None)

    route = resolve(organization=acme, action=CHECK)

    assert (route.mode, route.key_id, route.model, route.rule_version) == (Mode.BYOK, key.pk, MODEL, 1)


def test_a_route_survives_json(acme):
    connect_managed_key()
    route = resolve(organization=acme, action=CHECK)

    assert Route.from_json(route.as_json()) == route


def test_a_check_is_byok_only_if_every_action_it_calls_is(acme):
    key = connect_key(acme)
    save_routing(organization=acme, action=CHECK, key=key, model=MODEL, actor=None)

    assert mode_of(organization=acme, actions=[CHECK]) == Mode.BYOK
    assert mode_of(organization=acme, actions=[CHECK, REQUIREMENT_GENERATION.slug]) == Mode.MANAGED


@pytest.mark.parametrize("status", [status for status in ProviderKey.Status if status not in ("connected", "limited")])
def test_an_action_on_a_broken_key_refuses_with_a_sentence_and_never_falls_back(acme, status):
    connect_managed_key()
    key = route_to_own_key(acme)
    ProviderKey.objects.filter(pk=key.pk).update(status=status)

    mend = "enable" if status == "disabled" else "validate or replace"
    with pytest.raises(RouteUnavailable, match=f"owner or admin can {mend}"):
        resolve(organization=acme, action=CHECK)


def test_a_rule_of_another_organization_serves_nobody_else(acme, globex):
    route_to_own_key(globex)

    with pytest.raises(RouteUnavailable):
        resolve(organization=acme, action=CHECK)


def test_a_key_of_another_organization_cannot_be_chosen(acme, globex):
    key = connect_key(globex)

    with pytest.raises(RuleRefused):
        save_routing(organization=acme, action=CHECK, key=key, model=MODEL, actor=None)
    assert not RoutingRule.objects.exists()


def test_only_a_validated_key_can_be_chosen(acme):
    key = connect_key(acme, kind="invalid")

    with pytest.raises(RuleRefused, match="Validate the key"):
        save_routing(organization=acme, action=CHECK, key=key, model=MODEL, actor=None)


def test_only_a_model_that_the_key_lists_can_be_chosen(acme):
    key = connect_key(acme)

    with pytest.raises(RuleRefused, match="not among the models"):
        save_routing(organization=acme, action=CHECK, key=key, model="no/such-model", actor=None)


def test_saving_counts_versions_and_saving_the_same_changes_nothing(acme, alice):
    key = connect_key(acme)

    for model in (MODEL, MODEL, "anthropic/claude-sonnet-4.5"):
        rule = save_routing(organization=acme, action=CHECK, key=key, model=model, actor=alice)

    assert rule.version == 2
    assert AuditEvent.objects.filter(action="routing.saved", actor=alice).count() == 2


def test_resetting_brings_the_managed_default_back(acme):
    connect_managed_key()
    route_to_own_key(acme)

    assert reset_routing(organization=acme, action=CHECK, actor=None) is True
    assert reset_routing(organization=acme, action=CHECK, actor=None) is False
    assert resolve(organization=acme, action=CHECK).mode == Mode.MANAGED


def test_a_key_in_use_is_not_removed_unless_its_actions_are_reset(acme):
    key = route_to_own_key(acme)

    with pytest.raises(KeyInUse, match="Candidate check"):
        remove_provider_key(key=key, actor=None)
    assert ProviderKey.objects.filter(pk=key.pk).exists()

    remove_provider_key(key=key, reset_actions=True, actor=None)
    assert not ProviderKey.objects.filter(pk=key.pk).exists()
    assert not RoutingRule.objects.exists()


def test_a_key_in_use_hands_its_actions_to_another_one(acme):
    key, other = route_to_own_key(acme), connect_key(acme, label="Other")

    remove_provider_key(key=key, successor=other, model="anthropic/claude-sonnet-4.5", actor=None)

    assert set(RoutingRule.objects.values_list("action", "key", "model")) == {
        (action, other.pk, "anthropic/claude-sonnet-4.5") for action in ACTIONS
    }
    assert not ProviderKey.objects.filter(pk=key.pk).exists()
    assert AuditEvent.objects.filter(action="routing.saved", details__key_label="Other").count() == len(ACTIONS)


@pytest.mark.parametrize("kind", ["valid", "invalid"])
def test_a_successor_that_cannot_serve_leaves_everything_as_it_was(acme, globex, kind):
    key = route_to_own_key(acme)
    broken, foreign = connect_key(acme, label="Other", kind=kind), connect_key(globex)

    for successor, model in ((broken, MODEL if kind == "invalid" else "no/such-model"), (foreign, MODEL), (key, MODEL)):
        with pytest.raises(RuleRefused):
            remove_provider_key(key=key, successor=successor, model=model, actor=None)
    ProviderKey.objects.filter(pk=broken.pk).delete()
    with pytest.raises(ProviderKey.DoesNotExist):
        remove_provider_key(key=key, successor=broken, model=MODEL, actor=None)

    assert RoutingRule.objects.filter(key=key, model=MODEL).count() == len(ACTIONS)


def test_every_action_gets_a_managed_default_and_what_staff_set_stays(db):
    ManagedDefault.objects.create(action=CHECK, provider="openai", model="gpt-4.1")

    ensure_managed_defaults()

    assert set(ManagedDefault.objects.values_list("action", flat=True)) == set(ACTIONS)
    assert ManagedDefault.objects.get(action=CHECK).model == "gpt-4.1"
