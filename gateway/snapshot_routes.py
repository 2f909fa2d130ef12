"""Where the calls of one organization go, by what its snapshot may keep: keys sealed under wrapped data keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.callers import Parameters, Refusal, Target
from organizations.models import Organization
from organizations.tenancy import scope
from providers.catalog import PROVIDERS
from providers.custody.sealing import SealBroken, WrappedKey, wrapped_under
from providers.keys.destinations import BaseUrlRefused, Destination, destination_of
from providers.models import OrganizationKey, ProviderKey
from routing.actions import DIRECT
from routing.models import Agent
from routing.reasons import named_key
from routing.resolve import NoModel, Paused, RouteUnavailable, RoutingRow, resolve_all
from usage.facts import CallFacts
from usage.models import Mode

# Its key is none of the organization's, nor one that is lent to it.
REMOVED = Refusal("The key of this route was removed. An owner or admin can route it to another one.", "key_unusable")


@dataclass(frozen=True, slots=True)
class Routes:
    """
    Of every agent that is not archived, by slug, and of direct calls by the key they leave with. `lenders` are the
    organizations whose keys these may be besides its own: the platform, where staff opened an agent a managed one.
    """

    agents: Mapping[str, Target | Refusal]
    direct: Mapping[UUID, Target | Refusal]
    lenders: frozenset[int]


def read_routes(organization: Organization) -> Routes:
    own = list(ProviderKey.objects.for_organization(organization))
    for key in own:
        key.organization = organization
    rows = [row for row in resolve_all(organization=organization, keys=own) if row.action.is_agent]
    agents = Agent.objects.for_organization(organization).filter(managed_calls_a_day__isnull=False)
    managed = {agent.slug: agent for agent in agents}
    platform = Organization.objects.platform() if managed else None
    lent = {row.managed_key.pk: row.managed_key for row in rows if row.managed_key and row.action.slug in managed}
    keys = _usable(own, organization.pk)
    if platform:
        keys |= _usable(lent.values(), platform.pk)
    return Routes(
        agents={row.action.slug: _of_agent(row, managed.get(row.action.slug), keys) for row in rows},
        direct={key.pk: _of_direct_calls(key, keys[key.pk]) for key in own},
        lenders=frozenset({platform.pk} if platform else ()),
    )


@dataclass(frozen=True, slots=True)
class _Usable:
    """What calls with one key have in common."""

    key: ProviderKey
    sealed_key: WrappedKey
    destination: Destination

    def target(self, facts: CallFacts, **of_route: Any) -> Target:
        return Target(
            facts=facts,
            sealed_key=self.sealed_key,
            key_organization_id=self.key.organization_id,
            secret_version=self.key.secret_version,
            destination=self.destination,
            no_token_charges=self.key.has_no_token_charges,
            **of_route,
        )


def _of_agent(row: RoutingRow, managed: Agent | None, keys: Mapping[UUID, _Usable | Refusal]) -> Target | Refusal:
    """By its rule, else on the managed key that staff opened it; never a mixture."""
    key = row.rule.key if row.rule else row.managed_key
    usable = keys.get(key.pk, REMOVED) if key else REMOVED
    if key is not None and isinstance(usable, Refusal) and (usable is REMOVED or key.provider not in PROVIDERS):
        return usable  # no route can say more of it
    try:
        route = row.route()
    except NoModel as unrouted:
        return Refusal(str(unrouted), "unrouted")
    except Paused as paused:
        return Refusal(str(paused), "paused")
    except RouteUnavailable as unavailable:
        return Refusal(str(unavailable), "key_unusable")
    if isinstance(usable, Refusal):
        return usable
    if row.rule is None:
        assert managed is not None  # noqa: S101  # or there were no default
        caps = {
            "managed_calls_a_day": managed.managed_calls_a_day,
            "managed_nanousd_a_day": managed.managed_nanousd_a_day,
        }
        return usable.target(route.facts, is_closed=True, **caps)
    rule = row.rule
    parameters = Parameters(rule.temperature, rule.most_output_tokens, rule.reasoning_effort)
    return usable.target(
        route.facts, rule_version=rule.version, parameters=parameters, is_closed=bool(rule.allowed_models)
    )


def _of_direct_calls(key: ProviderKey, usable: _Usable | Refusal) -> Target | Refusal:
    if isinstance(usable, Refusal):
        return usable
    return usable.target(
        CallFacts(provider=key.provider, model="", action=DIRECT, key_id=key.pk, key_label=key.label, mode=Mode.BYOK)
    )


def _usable(keys: Iterable[ProviderKey], organization_id: int) -> dict[UUID, _Usable | Refusal]:
    """Keys of one organization, as far as calls may leave with them, and why not."""
    keys = list(keys)
    with scope(organization_id, "a managed key is the platform's"):
        organization_keys: Any = OrganizationKey.objects.for_organization(organization_id).with_token()
        tokens = {each.version: bytes(each.token) for each in organization_keys} if keys else {}
        return {key.pk: _judged(key, tokens.get(key.key_version)) for key in keys}


def _judged(key: ProviderKey, token: bytes | None) -> _Usable | Refusal:
    name = named_key(key.provider, key.label, is_own=not key.organization.is_platform).sentence
    if key.provider not in PROVIDERS:
        return Refusal(f"{name} cannot be used: its provider is no longer one of Keyfare's.", "key_unusable")
    if not key.is_usable:
        return Refusal(f"{name} has the status {key.state.label}. {key.state.detail}".strip(), "key_unusable")
    try:
        if token is None:
            raise SealBroken
        sealed_key = wrapped_under(key, token)
        sealed_key.opened()
        return _Usable(key, sealed_key, destination_of(key))
    except SealBroken as broken:
        return Refusal(f"{name} has the status Needs re-entry. {broken}", "key_unusable")
    except BaseUrlRefused as refused:
        return Refusal(f"{name} cannot be used. {refused}", "key_unusable")
