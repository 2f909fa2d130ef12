"""Which key and model serve an action: the organization's own rule, else the managed default. Never a mixture."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Self

from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from providers.adapters.base import ChatRequest
from providers.catalog import PROVIDERS
from providers.custody.inspection import try_again
from providers.models import USABLE_STATUSES, ProviderKey
from routing.actions import ACTIONS, Action, actions_of
from routing.models import ManagedDefault, RoutingRule
from routing.reasons import RouteReason, of_state
from usage.facts import CallFacts
from usage.models import Mode


class RouteUnavailable(Exception):
    """The action cannot run now; the text is a sentence that says what is missing and who can mend it."""

    def __init__(self, reason: RouteReason) -> None:
        self.reason = reason
        super().__init__(reason.sentence)


class NoModel(RouteUnavailable):
    """The action is not routed, and no managed default serves it."""

    def __init__(self, action: Action) -> None:
        code = "route.no_model.agent" if action.is_agent else "route.no_model"
        super().__init__(RouteReason(code, {"work": action.work, "action": action.name}))


class Paused(RouteUnavailable):
    """The action is routed, and somebody has paused it."""

    def __init__(self, action: Action, since: datetime) -> None:
        code = "route.paused.agent" if action.is_agent else "route.paused"
        super().__init__(RouteReason(code, {"action": action.name, "since": f"{since:%Y-%m-%d %H:%M}"}))


CLOSED, GONE = RouteReason("route.closed", {}), RouteReason("route.gone", {})


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
    # Of its rule, see `sent_with`.
    temperature: float | None = None
    most_output_tokens: int | None = None
    reasoning_effort: str = ""
    is_own_model: bool = False  # chosen for what is asked, not for the action

    def sent_with(self, request: ChatRequest) -> ChatRequest:
        """A question of ours with what the rule says of how it is sent."""
        return replace(
            request,
            max_output_tokens=self.most_output_tokens or request.max_output_tokens,
            is_limit_fixed=self.most_output_tokens is not None,
            temperature=self.temperature,
            reasoning_effort=self.reasoning_effort,
        )

    @property
    def facts(self) -> CallFacts:
        """What calls on this route are counted by."""
        return CallFacts(**{field.name: getattr(self, field.name) for field in fields(CallFacts)})

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "key_id": str(self.key_id), "mode": self.mode.value}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        return cls(**{**fields, "key_id": uuid.UUID(fields["key_id"]), "mode": Mode(fields["mode"])})


def _trust(key: ProviderKey) -> None:
    """What is known of it holds."""


@dataclass(frozen=True, slots=True)
class RoutingRow:
    """How one action is routed: one line of the routing table."""

    action: Action
    rule: RoutingRule | None
    default: ManagedDefault | None  # as staff set it, whether a managed key serves it or not
    managed_key: ProviderKey | None  # the one that serves the default now

    @property
    def is_managed(self) -> bool:
        """Whether the default can serve the action now."""
        return self.managed_key is not None

    @property
    def is_unserved(self) -> bool:
        """Whether no model serves the action at all, be it in order or not."""
        return self.rule is None and not self.is_managed

    @property
    def unrouted(self) -> str:
        """What the choice of no key of one's own is called."""
        return "Managed default" if self.is_managed else "No key"

    @property
    def trouble(self) -> str:
        """Why the action cannot run now, "" if it can."""
        try:
            self.route()
        except RouteUnavailable as refusal:
            return str(refusal)
        return ""

    def route(self) -> Route:
        """Where calls go, by what is known of their key. Raises RouteUnavailable."""
        if self.rule is not None:
            if self.rule.paused_at is not None:
                raise Paused(self.action, self.rule.paused_at)
            if not self.rule.key.is_usable:
                raise _broken(self.action, self.rule.key, is_managed=self.is_managed)
            return _own_route(self.rule)
        if self.default is None or self.managed_key is None:
            raise NoModel(self.action)
        return Route(
            action=self.action.slug,
            provider=self.default.provider,
            model=self.default.model,
            key_id=self.managed_key.pk,
            key_label=self.managed_key.label,
            mode=Mode.MANAGED,
        )


def resolve(*, organization: Organization, action: str) -> Route:
    """
    The route of `action` for `organization` as set now. Raises RouteUnavailable; never falls back.

    A key that is known to be unreadable is tried once more before it is refused: its master key may be back, or be in
    this process alone.
    """
    return _resolve(organization, action, try_again)


def known_route(*, organization: Organization, action: str) -> Route:
    """The same by what is known of keys, for pages: no key is opened to show where calls would go."""
    return _resolve(organization, action, _trust)


def resolve_all(*, organization: Organization, keys: Iterable[ProviderKey] = ()) -> list[RoutingRow]:
    """
    Every action with the organization's rule, if it has one, and the managed default, by what is known of keys; four
    statements, however many actions. `keys` are those of the organization's keys that were read before.
    """
    rules = {
        rule.action: rule
        for rule in RoutingRule.objects.for_organization(organization).select_related("key", "updated_by")
    }
    read = {key.pk: key for key in keys}
    for rule in rules.values():
        rule.key = read.get(rule.key_id, rule.key)
    actions = actions_of(organization)
    stored = {default.action: default for default in ManagedDefault.objects.all()}
    defaults = {slug: _opened(action) if action.is_agent else stored.get(slug) for slug, action in actions.items()}
    serving = managed_keys({default.provider for default in defaults.values() if default})
    rows = []
    for slug, action in actions.items():
        default = defaults[slug]
        rows.append(RoutingRow(action, rules.get(slug), default, serving.get(default.provider) if default else None))
    return rows


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


def working_defaults() -> dict[str, ManagedDefault]:
    """The managed defaults that a managed key serves now, by action."""
    defaults = [default for default in ManagedDefault.objects.all() if default.action in ACTIONS]
    serving = managed_keys({default.provider for default in defaults})
    return {default.action: default for default in defaults if default.provider in serving}


def managed_key(provider: str) -> ProviderKey | None:
    """The managed key that calls to `provider` leave with: the oldest that works."""
    return managed_keys([provider]).get(provider)


def managed_keys(
    providers: Collection[str], *, and_try: Callable[[ProviderKey], None] = _trust
) -> dict[str, ProviderKey]:
    """The same of several providers at once; a provider that no managed key serves is left out."""
    keys = ProviderKey.objects.filter(
        organization__is_platform=True, provider__in=providers, status__in=USABLE_STATUSES
    )
    serving: dict[str, ProviderKey] = {}
    with scope(EVERY, "managed keys are the platform's"):
        for key in keys.order_by("created_at"):
            if key.provider in serving:
                continue
            and_try(key)
            if key.is_usable:
                serving[key.provider] = key
    return serving


def _resolve(organization: Organization, action: str, and_try: Callable[[ProviderKey], None]) -> Route:
    if organization.closed_at is not None:
        raise RouteUnavailable(CLOSED)
    rule = RoutingRule.objects.for_organization(organization).select_related("key").filter(action=action).first()
    if rule is not None:
        and_try(rule.key)
        if rule.key.is_usable and rule.paused_at is None:
            return _own_route(rule)
    named = ACTIONS.get(action) or actions_of(organization).get(action)
    if named is None:
        raise RouteUnavailable(GONE)
    default = _opened(named) if named.is_agent else ManagedDefault.objects.filter(action=action).first()
    serving = managed_keys([default.provider], and_try=and_try).get(default.provider) if default else None
    return RoutingRow(named, rule, default, serving).route()


def _opened(agent: Action) -> ManagedDefault | None:
    """The managed model of an agent, where staff opened it one: not stored, since it is in its row."""
    if not agent.managed_model:
        return None
    return ManagedDefault(action=agent.slug, provider=agent.managed_provider, model=agent.managed_model)


def _own_route(rule: RoutingRule) -> Route:
    return Route(
        action=rule.action,
        provider=rule.key.provider,
        model=rule.model,
        key_id=rule.key_id,
        key_label=rule.key.label,
        mode=Mode.BYOK,
        rule_version=rule.version,
        temperature=None if rule.temperature is None else float(rule.temperature),
        most_output_tokens=rule.most_output_tokens,
        reasoning_effort=rule.reasoning_effort,
    )


def _broken(action: Action, key: ProviderKey, *, is_managed: bool) -> RouteUnavailable:
    is_disabled = key.state.status == ProviderKey.Status.DISABLED
    return RouteUnavailable(
        of_state(
            "route.broken",
            key,
            action=action.name,
            provider=PROVIDERS[key.provider].name,
            label=key.label,
            mend=RouteReason("route.mend.enable" if is_disabled else "route.mend.replace", {}),
            instead=RouteReason("route.instead.reset" if is_managed else "route.instead.other", {}),
        )
    )
