"""Which key and model serve an action: the organization's own rule, else the managed default. Never a mixture."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from providers.catalog import PROVIDERS
from providers.custody.inspection import try_again
from providers.models import USABLE_STATUSES, ProviderKey
from routing.actions import ACTIONS
from routing.models import ManagedDefault, RoutingRule
from usage.facts import CallFacts
from usage.models import Mode

CLOSED = "This organization was closed."


class RouteUnavailable(Exception):
    """The action cannot run now; the text is a sentence that says what is missing and who can mend it."""


class NoModel(RouteUnavailable):
    """The action is not routed, and no managed default serves it."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"No model serves {ACTIONS[action].work} yet: connect a key in Settings and route {ACTIONS[action].name} "
            "to it."
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Where a call of `action` goes. A value: pinned with the work it was resolved for."""

    action: str
    provider: str
    model: str
    key_id: uuid.UUID
    key_label: str
    mode: Mode
    rule_version: int | None = None

    @property
    def facts(self) -> CallFacts:
        """What calls on this route are counted by."""
        return CallFacts(**{field.name: getattr(self, field.name) for field in fields(CallFacts)})

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "key_id": str(self.key_id), "mode": self.mode.value}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        return cls(**{**fields, "key_id": uuid.UUID(fields["key_id"]), "mode": Mode(fields["mode"])})


def resolve(*, organization: Organization, action: str) -> Route:
    """
    The route of `action` for `organization` as set now. Raises RouteUnavailable; never falls back.

    A key that is known to be unreadable is tried once more before it is refused: its master key may be back, or be in
    this process alone.
    """
    if organization.closed_at is not None:
        raise RouteUnavailable(CLOSED)
    rule = RoutingRule.objects.for_organization(organization).select_related("key").filter(action=action).first()
    if rule is None:
        return _managed_route(action)
    try_again(rule.key)
    return own_route(rule)


def has_model(
    *, organization: Organization, actions: Iterable[str], defaults: Mapping[str, ManagedDefault] | None = None
) -> bool:
    """
    Whether each of `actions` is routed (be the key as it may), or its managed default works: is among `defaults`, the
    `working_defaults` where they were asked for before.
    """
    routed = RoutingRule.objects.for_organization(organization).filter(action__in=set(actions))
    unrouted = set(actions) - set(routed.values_list("action", flat=True))
    return not unrouted or unrouted <= (working_defaults() if defaults is None else defaults).keys()


def mode_of(*, organization: Organization, actions: Iterable[str]) -> Mode:
    """BYOK only if every one of `actions` runs on the organization's own key."""
    wanted = set(actions)
    own = RoutingRule.objects.for_organization(organization).filter(action__in=wanted).count()
    return Mode.BYOK if own == len(wanted) else Mode.MANAGED


def own_route(rule: RoutingRule) -> Route:
    """Where an organization's own rule leads. Raises RouteUnavailable."""
    key = rule.key
    if not key.is_usable:
        mend = "enable" if key.state.status == ProviderKey.Status.DISABLED else "validate or replace"
        instead = "reset the action to the managed default" if rule.action in working_defaults() else "choose another"
        raise RouteUnavailable(
            f"{ACTIONS[rule.action].name} is routed to your {PROVIDERS[key.provider].name} key “{key.label}”, whose "
            f"status is {key.state.label}. {key.state.detail} An owner or admin can {mend} the "
            f"key in Settings, or {instead}.".replace("  ", " ")
        )
    return Route(
        action=rule.action,
        provider=key.provider,
        model=rule.model,
        key_id=key.pk,
        key_label=key.label,
        mode=Mode.BYOK,
        rule_version=rule.version,
    )


def _managed_route(action: str) -> Route:
    default = ManagedDefault.objects.filter(action=action).first()
    key = managed_key(default.provider, and_try=try_again) if default else None
    if default is None or key is None:
        raise NoModel(action)
    return Route(
        action=action,
        provider=default.provider,
        model=default.model,
        key_id=key.pk,
        key_label=key.label,
        mode=Mode.MANAGED,
    )


def working_defaults(defaults: Iterable[ManagedDefault] | None = None) -> dict[str, ManagedDefault]:
    """The managed defaults that a managed key serves now, by action; of all there are, where they were read before."""
    if defaults is None:
        defaults = ManagedDefault.objects.all()
    defaults = [default for default in defaults if default.action in ACTIONS]
    served = {provider for provider in {default.provider for default in defaults} if managed_key(provider)}
    return {default.action: default for default in defaults if default.provider in served}


def managed_key(provider: str, *, and_try: Callable[[ProviderKey], None] = lambda key: None) -> ProviderKey | None:
    """The managed key that calls to `provider` leave with: the oldest that works."""
    keys = ProviderKey.objects.filter(organization__is_platform=True, provider=provider, status__in=USABLE_STATUSES)
    with scope(EVERY, "managed keys are the platform's"):
        for key in keys.order_by("created_at"):
            and_try(key)
            if key.is_usable:
                return key
    return None
