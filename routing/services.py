"""Choosing keys and models for actions, and removing keys that actions may use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from organizations.audit import events_last, record
from organizations.edits import check_seen
from organizations.models import Organization, User
from providers.keys.saving import delete_provider_key
from providers.models import ProviderKey
from routing import own_models
from routing.actions import ACTIONS, Action, actions_of
from routing.allowed_models import is_allowed
from routing.call_access import forget_direct_key
from routing.models import ManagedDefault, RoutingRule
from usage.names import provider_name


class RuleRefused(Exception):
    """The rule cannot be saved; the text is a sentence, and `field` what it is about."""

    def __init__(self, sentence: str, *, field: str = "model") -> None:
        super().__init__(sentence)
        self.field = field


class KeyUse(NamedTuple):
    """What a key serves: an action, or what has a model of its own under one."""

    mark: str  # names it in a form, without spaces: of an action its slug
    name: str
    is_action: bool


class KeyInUse(Exception):
    """The key cannot go while something is served by it."""

    def __init__(self, uses: Sequence[KeyUse]) -> None:
        self.uses = uses
        names = ", ".join(use.name for use in uses)
        super().__init__(f"This key is used by: {names}. Choose what they use from now on.")


def ensure_managed_defaults() -> None:
    """Give every built-in action that has none its managed default; changes nothing that staff set."""
    for action in ACTIONS.values():
        ManagedDefault.objects.get_or_create(
            action=action.slug, defaults={"provider": action.managed_provider, "model": action.managed_model}
        )


def save_routing(
    *,
    organization: Organization,
    action: str,
    key: ProviderKey,
    model: str,
    actor: User | None,
    seen: str | None = None,
) -> RoutingRule:
    """
    Route `action` to `model` on the organization's own `key`. Raises RuleRefused, and ChangedMeanwhile where the route
    is not the one that the page had `seen`.

    Only a Connected or Limited key can be chosen, and only a model that it lists (where its provider lists any).
    """
    actions = actions_of(organization)
    if action not in actions:
        raise RuleRefused("There is no such action.")
    with transaction.atomic():
        lock_routes(organization)
        key = lock_chosen_key(organization, key, model)
        rules = RoutingRule.objects.for_organization(organization).select_related("key")
        rule = rules.filter(action=action).first()
        if rule and (rule.key_id, rule.model) == (key.pk, model):
            return rule
        check_allowed(rule, actions[action], key, model)
        _check_seen(organization, actions[action], rule, seen, reader=actor)
        rule = rule or RoutingRule(organization=organization, action=action, version=0)
        rule.key, rule.model, rule.updated_by = key, model, actor
        rule.version += 1
        rule.save()
        record(
            organization=organization,
            actor=actor,
            action="routing.saved",
            target=actions[action].name,
            provider=key.provider,
            key_label=key.label,
            model=model,
            version=rule.version,
        )
    return rule


def route_parts(key_id: str, model: str) -> dict[str, object]:
    """A route as a form shows it; both "" for the managed default."""
    return {"key": key_id, "model": model}


def lock_routes(organization: Organization) -> None:
    """Routes of an organization change one after another: where there is no rule yet, there is no row to lock."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)


def _check_seen(
    organization: Organization, action: Action, rule: RoutingRule | None, seen: str | None, *, reader: User | None
) -> None:
    now = f"{provider_name(rule.key.provider)} · {rule.key.label}, {rule.model}" if rule else "no key of yours"
    check_seen(
        seen,
        route_parts(str(rule.key_id), rule.model) if rule else route_parts("", ""),
        what=f"this route to {now}",
        organization=organization,
        actions=["routing.saved", "routing.reset"],
        target=action.name,
        reader=reader,
        what_to_do="Do it again to overrule.",
    )


def lock_chosen_key(organization: Organization, key: ProviderKey, model: str) -> ProviderKey:
    """`key`, locked, which can serve `model` now. Raises RuleRefused, and ProviderKey.DoesNotExist where it is gone."""
    key = ProviderKey.objects.select_for_update().get(organization=key.organization_id, pk=key.pk)
    if key.organization_id != organization.pk:
        raise RuleRefused("Choose one of your own keys.")
    if not key.is_usable:
        is_broken = key.state.status == key.Status.NEEDS_REENTRY
        how = "Paste the key “{}” again" if is_broken else "Validate the key “{}”"
        raise RuleRefused(f"{how.format(key.label)} first: only a connected key can be chosen.")
    listed = key.available_models.filter(organization=organization).values_list("model", flat=True)
    if not model or (listed and model not in set(listed)):
        raise RuleRefused(f"“{model}” is not among the models this key can call. Choose one from the list.")
    return key


def check_allowed(rule: RoutingRule | None, action: Action, key: ProviderKey, model: str) -> None:
    """Raises RuleRefused unless the `rule` of `action`, if it has one, allows `model` of `key`."""
    if rule and not is_allowed(rule.allowed_models, key.provider, model):
        raise RuleRefused(
            f"“{key.provider}/{model}” is not among the models that {action.name} may be routed to. "
            "Choose one of them, or change that list first."
        )


def lock_keys(organization: Organization, keys: Iterable[ProviderKey]) -> dict[UUID, ProviderKey]:
    """Those of `keys` that are there, locked in one order, so that two people who choose among the same keys queue."""
    rows = ProviderKey.objects.for_organization(organization).filter(pk__in=[key.pk for key in keys])
    locked = rows.select_related("organization").select_for_update(of=("self",)).order_by("pk")
    return {key.pk: key for key in locked}


def reset_routing(*, organization: Organization, action: str, actor: User | None, seen: str | None = None) -> bool:
    """
    Back to the managed default, or to no route at all where there is none. Returns whether there was a rule to remove.
    Raises ChangedMeanwhile where the route is not the one that the page had `seen`.
    """
    with transaction.atomic():
        lock_routes(organization)
        rule = RoutingRule.objects.for_organization(organization).select_related("key").filter(action=action).first()
        if rule is None:
            return False
        named = actions_of(organization)[action]
        _check_seen(organization, named, rule, seen, reader=actor)
        rule.delete()
        record(organization=organization, actor=actor, action="routing.reset", target=named.name)
    return True


def uses_of(key: ProviderKey) -> list[KeyUse]:
    """The actions that are routed to it, then what has a model of its own on it."""
    own = (own for _, own in own_models.served_by(key))
    return [
        *(KeyUse(action.slug, action.name, is_action=True) for action in _actions_using(key)),
        *(KeyUse(each.mark, each.name, is_action=False) for each in own),
    ]


def _actions_using(key: ProviderKey) -> list[Action]:
    slugs = (
        RoutingRule.objects.filter(organization=key.organization_id, key=key)
        .order_by("action")
        .values_list("action", flat=True)
    )
    actions = actions_of(key.organization_id)
    return [actions[slug] for slug in slugs]


def remove_provider_key(
    *,
    key: ProviderKey,
    actor: User | None,
    reset_actions: bool = False,
    successor: ProviderKey | None = None,
    model: str = "",
    shown: Collection[str] | None = None,
) -> None:
    """
    Remove `key` for good, once nothing is served by it any more.

    Its actions, and what has a model of its own on it, go to `model` on `successor`, another usable key of the
    organization; or, with `reset_actions`, actions to the managed default, and the others as their action is routed.
    Tokens that call its provider directly lose that. Raises KeyInUse where neither was chosen, or where one of its uses
    is not among those that were `shown` when it was (None: whoever asks means all); RuleRefused where the successor
    cannot serve them and ProviderKey.DoesNotExist where either key is gone; then nothing was changed.
    """
    if successor and successor.organization_id != key.organization_id:
        raise RuleRefused("Choose one of your own keys.")
    with transaction.atomic(), events_last():
        lock_routes(key.organization)
        own = own_models.served_by(key, lock=True)
        wanted = [key, successor] if successor else [key]
        found = lock_keys(key.organization, wanted)
        if found.keys() != {each.pk for each in wanted}:
            raise ProviderKey.DoesNotExist
        key = found[key.pk]
        uses = uses_of(key)
        is_news = shown is not None and any(use.mark not in shown for use in uses)
        if uses and (is_news or not (successor or reset_actions)):
            raise KeyInUse(uses)
        if successor and successor.pk == key.pk:
            raise RuleRefused("Choose another key than the one that is removed.")
        for action in _actions_using(key):
            if successor:
                save_routing(
                    organization=key.organization, action=action.slug, key=found[successor.pk], model=model, actor=actor
                )
            else:
                reset_routing(organization=key.organization, action=action.slug, actor=actor)
        for keeper, each in own:
            keeper.move(own=each, key=found[successor.pk] if successor else None, model=model, actor=actor)
        forget_direct_key(key=key, actor=actor)
        delete_provider_key(key=key, actor=actor)
