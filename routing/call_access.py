"""Tokens that call through the gateway: what each may call, in whose name, and how much."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from organizations.api_tokens import NewToken, TokenNotMade, make_token
from organizations.audit import events_last, record
from organizations.models import ApiToken, Membership, Organization, TenantQuerySet, User
from organizations.permissions import Permission
from providers.models import ProviderKey
from routing.allowed_models import ListRefused, allows_some, checked, is_allowed
from routing.models import Agent, CallableAgent, CallAccess, DirectKey, RoutingRule
from usage.names import provider_name

MOST_A_MINUTE = 1_000_000
MOST_TOKENS_A_MINUTE = 1_000_000_000
MOST_AT_ONCE = 10_000
TOKENS_SHOWN = 50  # on the page of an agent


class AccessRefused(TokenNotMade):
    """A token cannot be given this access; the text is a sentence, and `field` what it is about."""

    def __init__(self, sentence: str, *, field: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Access:
    """
    What a token is to call: agents by their routes, and any model of the providers of `direct_keys`, one key a
    provider. Limits are None where the installation's own are enough.
    """

    member: User
    every_agent: bool = False
    agents: Sequence[Agent] = ()
    direct_keys: Sequence[ProviderKey] = ()
    allowed_models: Sequence[str] = ()
    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None
    calls_at_once: int | None = None

    @property
    def is_of_nothing(self) -> bool:
        return not (self.every_agent or self.agents or self.direct_keys)

    @property
    def is_bound(self) -> bool:
        return len(self.agents) == 1 and not self.every_agent and not self.direct_keys


def make_calling_token(
    *,
    organization: Organization,
    name: str,
    scopes: Collection[Permission],
    expires_at: datetime | None,
    access: Access | None,
    actor: User,
) -> NewToken:
    """
    A new token; one with the scope to call agents has an `access`, and no other one has. Raises what `make_token`
    raises, and AccessRefused.
    """
    with transaction.atomic(), events_last():
        made = make_token(organization=organization, name=name, scopes=scopes, expires_at=expires_at, actor=actor)
        if (access is not None) != (Permission.CALL_AGENTS in scopes):
            raise AccessRefused("Say what the token may call, or leave its scope to call agents out.", field="scopes")
        if access is not None:
            _give(made.token, access, actor)
    return made


def _give(token: ApiToken, access: Access, actor: User) -> None:
    check_access(token.organization, access)
    store_access(token, access, is_bound=access.is_bound)
    record(
        organization=token.organization,
        actor=actor,
        action="api_token.calls_allowed",
        target=str(token),
        member=access.member.email,
        **told_of(access),
    )


def store_access(token: ApiToken, access: Access, *, is_bound: bool) -> None:
    """In the place of what the token could call before, if it could."""
    organization = token.organization
    stored, _ = CallAccess.objects.for_organization(organization).update_or_create(
        organization=organization,
        token=token,
        defaults={
            "member": access.member,
            "every_agent": access.every_agent,
            "is_bound": is_bound,
            "allowed_models": list(access.allowed_models),
            "requests_a_minute": access.requests_a_minute,
            "tokens_a_minute": access.tokens_a_minute,
            "calls_at_once": access.calls_at_once,
        },
    )
    named = CallableAgent.objects.for_organization(organization).filter(access=stored)
    named.delete()
    named.bulk_create(CallableAgent(organization=organization, access=stored, agent=agent) for agent in access.agents)
    direct = DirectKey.objects.for_organization(organization).filter(access=stored)
    direct.delete()
    direct.bulk_create(
        DirectKey(organization=organization, access=stored, provider=key.provider, key=key)
        for key in access.direct_keys
    )


def told_of(access: Access) -> dict[str, str | int | None]:
    """What the audit log says of it, but for its member."""
    return {
        "agents": "all" if access.every_agent else ", ".join(agent.slug for agent in access.agents),
        "direct": ", ".join(f"{key.provider}: {key.label}" for key in access.direct_keys),
        "allowed_models": ", ".join(access.allowed_models),
        "requests_a_minute": access.requests_a_minute,
        "tokens_a_minute": access.tokens_a_minute,
        "calls_at_once": access.calls_at_once,
    }


def check_access(organization: Organization, access: Access, *, may_be_of_nothing: bool = False) -> None:
    """Raises AccessRefused. The organization is locked, as whoever archives agents or removes members locks it."""
    if access.is_of_nothing and not may_be_of_nothing:
        raise AccessRefused("Choose what the token may call: agents, or a key for direct calls.", field="agents")
    if access.every_agent and access.agents:
        raise AccessRefused("Choose all agents or some by name, not both.", field="agents")
    agents = Agent.objects.for_organization(organization).filter(
        pk__in=[agent.pk for agent in access.agents], archived_at=None
    )
    if agents.count() != len(access.agents):
        raise AccessRefused("One of these agents was archived meanwhile. Choose again.", field="agents")
    members = Membership.objects.for_organization(organization).filter(user=access.member)
    if not members.filter(user__is_active=True).exists():
        raise AccessRefused("Choose a member of this organization.", field="member")
    keys = ProviderKey.objects.for_organization(organization).filter(
        pk__in=[key.pk for key in access.direct_keys], replaces=None
    )
    if keys.count() != len(access.direct_keys):
        raise AccessRefused("One of these keys was removed meanwhile. Choose again.", field="direct")
    if len({key.provider for key in access.direct_keys}) != len(access.direct_keys):
        raise AccessRefused("Choose one key a provider.", field="direct")
    try:
        checked(access.allowed_models)
    except ListRefused as refusal:
        raise AccessRefused(str(refusal), field="allowed_models") from None
    limits = (
        ("requests_a_minute", access.requests_a_minute, MOST_A_MINUTE),
        ("tokens_a_minute", access.tokens_a_minute, MOST_TOKENS_A_MINUTE),
        ("calls_at_once", access.calls_at_once, MOST_AT_ONCE),
    )
    for name, limit, most in limits:
        if limit is not None and not 1 <= limit <= most:
            raise AccessRefused(f"Enter a number from 1 to {most:,}, or nothing.", field=name)


def left_out(organization: Organization, access: Access) -> dict[str, str]:
    """
    What `access` names and its list of models keeps it from, as agents are routed now: by a mark for a form, in words.
    """
    if not access.allowed_models:
        return {}
    agents: Iterable[Agent] = access.agents
    if access.every_agent:
        agents = Agent.objects.for_organization(organization).filter(archived_at=None).order_by("name", "pk")
    rules = RoutingRule.objects.for_organization(organization).filter(action__in=[agent.slug for agent in agents])
    routes = {rule.action: (rule.key.provider, rule.model) for rule in rules.select_related("key")}
    found = {}
    for agent in agents:
        provider, model = routes.get(agent.slug, (agent.managed_provider, agent.managed_model))
        if provider and not is_allowed(access.allowed_models, provider, model):
            found[agent.slug] = f"{agent.name} ({provider}/{model})"
    for key in access.direct_keys:
        if not allows_some(access.allowed_models, key.provider):
            found[f"direct:{key.provider}"] = f"{provider_name(key.provider)} directly"
    return found


def forget_direct_key(*, key: ProviderKey, actor: User | None) -> int:
    """Before a key is removed: no token calls with it any more. Returns of how many tokens that is news."""
    with transaction.atomic():
        direct = DirectKey.objects.for_organization(key.organization_id).filter(key=key)
        tokens = _that_work(direct).count()
        direct.delete()
        if tokens:
            record(
                organization=key.organization,
                actor=actor,
                action="api_token.direct_key_removed",
                target=f"{provider_name(key.provider)} · {key.label}",
                tokens=tokens,
            )
    return tokens


def tokens_calling_with(key: ProviderKey) -> int:
    """How many tokens that were not revoked make direct calls with `key`."""
    return _that_work(DirectKey.objects.for_organization(key.organization_id).filter(key=key)).count()


def _that_work(direct: TenantQuerySet[DirectKey]) -> TenantQuerySet[DirectKey]:
    return direct.filter(access__token__revoked_at=None)


@dataclass(frozen=True, slots=True)
class AccessWords:
    """What a token may call, for pages."""

    access: CallAccess
    agents: list[Agent] = field(default_factory=list)
    keys: list[ProviderKey] = field(default_factory=list)

    @property
    def is_of_nothing(self) -> bool:
        """All that it could call is gone."""
        return not (self.access.every_agent or self.agents or self.keys)

    @property
    def lines(self) -> list[str]:
        access = self.access
        lines = []
        if access.every_agent:
            lines.append("Calls every agent")
        elif self.agents:
            lines.append(f"Calls {', '.join(agent.name for agent in self.agents)}")
        elif self.is_of_nothing:
            lines.append("Calls nothing any more: its agents were archived, or its keys removed")
        lines += [
            f"Calls {provider_name(key.provider)} directly with “{key.label}”"
            for key in sorted(self.keys, key=lambda key: key.provider)
        ]
        if access.allowed_models:
            lines.append(f"Only {', '.join(access.allowed_models)}")
        limits = (
            (access.requests_a_minute, "requests a minute"),
            (access.tokens_a_minute, "tokens a minute"),
            (access.calls_at_once, "calls at once"),
        )
        said = [f"{limit:,} {words}" for limit, words in limits if limit is not None]
        if said:
            lines.append(f"At most {', '.join(said)}")
        if access.member_id != access.token.created_by_id:
            lines.append(f"In the name of {access.member.get_full_name()}")
        return lines


def words_of(organization: Organization, tokens: Collection[ApiToken]) -> dict[int, AccessWords]:
    """By token id, of those that call at all; `tokens` were read with their `call_access` and its `member`."""
    words = {token.call_access.pk: AccessWords(token.call_access) for token in tokens if hasattr(token, "call_access")}
    named = CallableAgent.objects.for_organization(organization).filter(access__in=words)
    for each in named.select_related("agent").order_by("agent__name"):
        if each.agent.archived_at is None:
            words[each.access_id].agents.append(each.agent)
    direct = DirectKey.objects.for_organization(organization).filter(access__in=words)
    for key in direct.select_related("key"):
        words[key.access_id].keys.append(key.key)
    return {each.access.token_id: each for each in words.values()}


def tokens_calling(agent: Agent) -> list[ApiToken]:
    """Those not revoked that may call an agent, the newest first; TOKENS_SHOWN at most."""
    tokens = _calling(agent).select_related("created_by", "call_access")
    return list(tokens.order_by("-created_at", "-pk")[:TOKENS_SHOWN])


def count_tokens_calling(agent: Agent) -> int:
    """How many those are; of an archived agent, which none names, those of every agent, which will call it again."""
    return _calling(agent).count()


def _calling(agent: Agent) -> TenantQuerySet[ApiToken]:
    named = CallableAgent.objects.for_organization(agent.organization_id).filter(
        agent=agent, access=OuterRef("call_access")
    )
    return ApiToken.objects.for_organization(agent.organization_id).filter(
        Q(call_access__every_agent=True) | Exists(named), revoked_at=None
    )
