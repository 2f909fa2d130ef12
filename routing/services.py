"""Choosing keys and models for actions, and removing keys that actions may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from organizations.audit import record
from organizations.models import Organization, User
from providers.models import ProviderKey
from providers.services import delete_provider_key
from routing.actions import ACTIONS, Action
from routing.models import ManagedDefault, RoutingRule


class RuleRefused(Exception):
    """The rule cannot be saved; the text is a sentence."""


class KeyInUse(Exception):
    """The key cannot go while actions are routed to it."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self.actions = actions
        names = ", ".join(action.name for action in actions)
        super().__init__(f"This key is used by: {names}. Reset them to the managed default, or route them elsewhere.")


@dataclass(frozen=True, slots=True)
class RoutingRow:
    """One line of the routing table."""

    action: Action
    rule: RoutingRule | None
    default: ManagedDefault | None


def ensure_managed_defaults() -> None:
    """Give every built-in action that has none its managed default; changes nothing that staff set."""
    for action in ACTIONS.values():
        ManagedDefault.objects.get_or_create(
            action=action.slug, defaults={"provider": action.managed_provider, "model": action.managed_model}
        )


def routing_table(organization: Organization) -> list[RoutingRow]:
    """Every action with the organization's rule, if it has one, and the managed default."""
    rules = {
        rule.action: rule
        for rule in RoutingRule.objects.for_organization(organization).select_related("key", "updated_by")
    }
    defaults = {default.action: default for default in ManagedDefault.objects.all()}
    return [RoutingRow(action, rules.get(slug), defaults.get(slug)) for slug, action in ACTIONS.items()]


def save_routing(
    *, organization: Organization, action: str, key: ProviderKey, model: str, actor: User | None
) -> RoutingRule:
    """
    Route `action` to `model` on the organization's own `key`. Raises RuleRefused.

    Only a Connected or Limited key can be chosen, and only a model that it lists (where its provider lists any).
    """
    if action not in ACTIONS:
        raise RuleRefused("There is no such action.")
    with transaction.atomic():
        key = ProviderKey.objects.select_for_update().get(pk=key.pk)
        if key.organization_id != organization.pk:
            raise RuleRefused("Choose one of your own keys.")
        if not key.is_usable:
            raise RuleRefused(f"Validate the key “{key.label}” first: only a connected key can be chosen.")
        listed = key.available_models.values_list("model", flat=True)
        if not model or (listed and model not in set(listed)):
            raise RuleRefused(f"“{model}” is not among the models this key can call. Choose one from the list.")
        rule = RoutingRule.objects.for_organization(organization).filter(action=action).first()
        if rule and (rule.key_id, rule.model) == (key.pk, model):
            return rule
        rule = rule or RoutingRule(organization=organization, action=action, version=0)
        rule.key, rule.model, rule.updated_by = key, model, actor
        rule.version += 1
        rule.save()
        record(
            organization=organization,
            actor=actor,
            action="routing.saved",
            target=ACTIONS[action].name,
            provider=key.provider,
            key_label=key.label,
            model=model,
            version=rule.version,
        )
    return rule


def reset_routing(*, organization: Organization, action: str, actor: User | None) -> bool:
    """Back to the managed default. Returns whether there was a rule to remove."""
    with transaction.atomic():
        removed, _ = RoutingRule.objects.for_organization(organization).filter(action=action).delete()
        if removed:
            record(organization=organization, actor=actor, action="routing.reset", target=ACTIONS[action].name)
    return bool(removed)


def actions_using(key: ProviderKey) -> list[Action]:
    slugs = RoutingRule.objects.filter(key=key).order_by("action").values_list("action", flat=True)
    return [ACTIONS[slug] for slug in slugs]


def remove_provider_key(*, key: ProviderKey, reset_actions: bool, actor: User | None) -> None:
    """Remove `key` for good. Raises KeyInUse, unless `reset_actions` puts its actions on the managed default."""
    with transaction.atomic():
        key = ProviderKey.objects.select_related("organization").select_for_update(of=("self",)).get(pk=key.pk)
        used_by = actions_using(key)
        if used_by and not reset_actions:
            raise KeyInUse(used_by)
        for action in used_by:
            reset_routing(organization=key.organization, action=action.slug, actor=actor)
        delete_provider_key(key=key, actor=actor)
