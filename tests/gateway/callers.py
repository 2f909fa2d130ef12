"""An organization with an agent and a token that calls it; and what a process sees of who calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.callers import Caller, CallerRefused, Refusal, Target
from gateway.snapshots import Snapshots
from organizations.api_tokens import make_token
from organizations.models import ApiToken, Membership, Organization, User
from organizations.permissions import Permission
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from routing.models import Agent, CallableAgent, CallAccess, DirectKey, RoutingRule
from tests.builders import NOW

PATIENCE_SECONDS = 60
KEY = "sk-proj-canary-of-the-snapshots-0001"


@dataclass(frozen=True)
class Calling:
    organization: Organization
    person: User
    key: ProviderKey
    agent: Agent
    rule: RoutingRule
    access: CallAccess
    token: ApiToken
    value: str = ""


def usable_key(
    organization: Organization, label: str = "Main", secret: str = KEY, *, provider: str = "openai"
) -> ProviderKey:
    """Without asking anybody."""
    key = save_provider_key(
        organization=organization, provider=provider, secret=Secret(secret), actor=None, now=NOW, label=label
    )
    ProviderKey.objects.filter(organization=organization, pk=key.pk).update(status=ProviderKey.Status.CONNECTED)
    return ProviderKey.objects.get(pk=key.pk)


def calling(slug: str = "acme") -> Calling:
    organization = Organization.objects.create(name=slug.title(), slug=slug)
    person = User.objects.create_user(f"maker@{slug}.example", "correct horse battery")
    Membership.objects.create(organization=organization, user=person, role=Membership.Role.ADMIN)
    key = usable_key(organization)
    agent = Agent.objects.create(organization=organization, slug="support", name="Support")
    rule = RoutingRule.objects.create(organization=organization, action="support", key=key, model="gpt-4.1-mini")
    token, value = token_for(organization, person, "Server")
    access = CallAccess.objects.create(organization=organization, token=token, member=person)
    CallableAgent.objects.create(organization=organization, access=access, agent=agent)
    DirectKey.objects.create(organization=organization, access=access, provider="openai", key=key)
    return Calling(organization, person, key, agent, rule, access, token, value)


def token_for(organization: Organization, person: User, name: str) -> tuple[ApiToken, str]:
    made = make_token(
        organization=organization,
        name=name,
        scopes=[Permission.VIEW, Permission.CALL_AGENTS],
        expires_at=None,
        actor=person,
    )
    return made.token, made.value


async def seen(snapshots: Snapshots, token: str) -> str:
    """What calls with `token` get, in one line: the refusal, or each target by its name."""
    try:
        caller = await snapshots.caller(token)
    except CallerRefused as refused:
        return f"{refused.status} {refused.code}"
    return described(caller)


def described(caller: Caller) -> str:
    targets = [(slug, target) for slug, target in caller.agents.items()]
    targets += [(f"{provider}/", target) for provider, target in caller.direct.items()]
    return "; ".join(f"{name}: {_described(target)}" for name, target in targets) or "nothing"


def _described(target: Target | Refusal) -> str:
    if isinstance(target, Refusal):
        return target.code
    secret = target.sealed_key.opened().open()
    return f"{target.facts.model} {target.facts.mode} …{secret.last4} of data key {target.sealed_key.key_version}"


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.005)
