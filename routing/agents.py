"""Agents: actions that an organization defines itself, and what its clients name as the model."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import count

from django.db import transaction
from django.utils.text import slugify

from organizations.api_tokens import NewToken
from organizations.audit import events_last, record
from organizations.edits import check_seen
from organizations.models import ApiToken, Organization, User
from organizations.names import clean_name
from organizations.permissions import Permission
from organizations.storable import storable
from providers.models import ProviderKey
from routing.actions import ACTIONS, DIRECT, TRIAL
from routing.call_access import Access, make_calling_token
from routing.models import Agent, CallableAgent
from routing.services import lock_routes, reset_routing, save_routing

MOST_AGENTS = 100  # that are not archived: pages show all of them
SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
NEW = "new"  # what the address of the form is called
RESERVED = frozenset({*ACTIONS, DIRECT, TRIAL, NEW})
MOST_OF_SLUG, MOST_OF_NAME, MOST_OF_DESCRIPTION = 40, 80, 300  # as the columns of Agent are wide


class AgentRefused(Exception):
    """The agent cannot be that; the text is a sentence, and `field` what it is about."""

    def __init__(self, sentence: str, *, field: str = "name") -> None:
        super().__init__(sentence)
        self.field = field


def create_agent(
    *, organization: Organization, name: str, slug: str = "", description: str = "", actor: User | None
) -> Agent:
    """A new agent, not routed yet. Without a `slug` it gets one made of its name. Raises AgentRefused."""
    with transaction.atomic():
        lock_routes(organization)
        agents = Agent.objects.for_organization(organization)
        _check_room(organization)
        name = _free_name(organization, name)
        slug = _free_slug(organization, slug) if slug else proposed_slug(organization, name)
        agent = agents.create(
            organization=organization,
            slug=slug,
            name=name,
            description=_described(description),
            created_by=actor,
        )
        record(organization=organization, actor=actor, action="agent.created", target=agent.name, slug=slug)
    return agent


def open_agent(
    *,
    organization: Organization,
    name: str,
    slug: str = "",
    description: str = "",
    key: ProviderKey | None,
    model: str = "",
    with_token: bool,
    token_expires_at: datetime | None,
    actor: User,
) -> tuple[Agent, NewToken | None]:
    """
    An agent with all that it needs to call: routed to `model` on `key`, if there is one, and with a token bound to it,
    if it is to have one. All or nothing. Raises AgentRefused, RuleRefused, TokenNotMade, and ProviderKey.DoesNotExist.
    """
    with transaction.atomic(), events_last():
        agent = create_agent(organization=organization, name=name, slug=slug, description=description, actor=actor)
        if key is not None:
            save_routing(organization=organization, action=agent.slug, key=key, model=model, actor=actor)
        if not with_token:
            return agent, None
        made = make_calling_token(
            organization=organization,
            name=_token_name(organization, agent.name),
            scopes=[Permission.CALL_AGENTS],
            expires_at=token_expires_at,
            access=Access(member=actor, agents=[agent]),
            actor=actor,
        )
    return agent, made


def _token_name(organization: Organization, name: str) -> str:
    tokens = ApiToken.objects.for_organization(organization).filter(revoked_at=None)
    taken = set(tokens.values_list("name", flat=True))
    return next(each for number in count(1) if (each := name if number == 1 else f"{name} {number}") not in taken)


def edit_agent(*, agent: Agent, name: str, description: str, actor: User | None, seen: str | None = None) -> Agent:
    """
    Another name or description; its slug stays. Raises AgentRefused, and ChangedMeanwhile where they are not what the
    page had `seen`.
    """
    with transaction.atomic():
        lock_routes(agent.organization)
        stored = Agent.objects.for_organization(agent.organization).get(pk=agent.pk)
        if stored.archived_at:
            raise AgentRefused(f"{stored.name} is archived. Bring it back first.")
        name, description = clean_name(storable(name)), _described(description)
        if (stored.name, stored.description) == (name, description):
            return stored
        check_seen(
            seen,
            agent_parts(stored),
            what=f"this agent to “{stored.name}”",
            organization=stored.organization,
            actions=["agent.edited"],
            target=stored.name,
            reader=actor,
        )
        was, stored.description = stored.name, description
        stored.name = _free_name(stored.organization, name, but=stored)
        stored.save(update_fields=["name", "description"])
        record(
            organization=stored.organization,
            actor=actor,
            action="agent.edited",
            target=stored.name,
            slug=stored.slug,
            **({"name_before": was} if was != stored.name else {}),
        )
    return stored


def archive_agent(*, agent: Agent, actor: User | None, now: datetime) -> bool:
    """
    Take an agent out of use: it is routed no more, no token names it any more, and its figures stay. Returns whether
    it was not archived before.
    """
    with transaction.atomic(), events_last():
        lock_routes(agent.organization)
        stored = Agent.objects.for_organization(agent.organization).get(pk=agent.pk)
        if stored.archived_at:
            return False
        reset_routing(organization=stored.organization, action=stored.slug, actor=actor)
        named = CallableAgent.objects.for_organization(stored.organization).filter(agent=stored)
        tokens, _ = named.delete()
        stored.archived_at = now
        stored.save(update_fields=["archived_at"])
        record(
            organization=stored.organization,
            actor=actor,
            action="agent.archived",
            target=stored.name,
            slug=stored.slug,
            tokens=tokens,
        )
    return True


def bring_back_agent(*, agent: Agent, actor: User | None) -> bool:
    """
    Have an archived agent in use again, with its slug and figures, but not routed and named by no token. Returns
    whether it was archived. Raises AgentRefused.
    """
    with transaction.atomic():
        lock_routes(agent.organization)
        stored = Agent.objects.for_organization(agent.organization).get(pk=agent.pk)
        if stored.archived_at is None:
            return False
        _check_room(stored.organization)
        if _is_taken(stored.organization, stored.name):
            raise AgentRefused(f"There is an action named “{stored.name}” by now. Give that one another name first.")
        stored.archived_at = None
        stored.save(update_fields=["archived_at"])
        record(
            organization=stored.organization,
            actor=actor,
            action="agent.brought_back",
            target=stored.name,
            slug=stored.slug,
        )
    return True


def open_managed(
    *, agent: Agent, provider: str, model: str, calls_a_day: int, nanousd_a_day: int, actor: User | None
) -> None:
    """Let an agent run on the operator's key where it is not routed, for so much a UTC day."""
    _set_managed(agent, actor, "agent.managed_opened", provider, model, calls_a_day, nanousd_a_day)


def close_managed(*, agent: Agent, actor: User | None) -> None:
    """Back to the organization's own keys alone."""
    _set_managed(agent, actor, "agent.managed_closed", "", "", None, None)


def _set_managed(
    agent: Agent,
    actor: User | None,
    action: str,
    provider: str,
    model: str,
    calls_a_day: int | None,
    nanousd_a_day: int | None,
) -> None:
    with transaction.atomic():
        lock_routes(agent.organization)
        wanted = {
            "managed_provider": provider,
            "managed_model": model,
            "managed_calls_a_day": calls_a_day,
            "managed_nanousd_a_day": nanousd_a_day,
        }
        rows = Agent.objects.for_organization(agent.organization).filter(pk=agent.pk)
        if rows.filter(**wanted).exists():
            return
        rows.update(**wanted)
        # What a cap in USD is stays between the operator and its staff: the organization reads this log.
        told = {"provider": provider, "model": model, "calls_a_day": calls_a_day} if provider else {}
        record(organization=agent.organization, actor=actor, action=action, target=agent.name, **told)
    for name, value in wanted.items():
        setattr(agent, name, value)


def agent_parts(agent: Agent) -> dict[str, object]:
    """What the form of an agent shows."""
    return {"name": agent.name, "description": agent.description}


def proposed_slug(organization: Organization, name: str) -> str:
    """A free slug made of a name; a name without Latin letters and digits makes it “agent”."""
    base = re.sub(r"[-_]+", "-", slugify(name)[:MOST_OF_SLUG]).strip("-") or "agent"
    taken = RESERVED | set(Agent.objects.for_organization(organization).values_list("slug", flat=True))
    slug, number = base, 1
    while slug in taken:
        number += 1
        end = f"-{number}"
        slug = base[: MOST_OF_SLUG - len(end)].rstrip("-") + end
    return slug


def _free_slug(organization: Organization, slug: str) -> str:
    if len(slug) > MOST_OF_SLUG or SLUG.fullmatch(slug) is None:
        raise AgentRefused(
            f"Write the slug in small letters a to z, digits, and single hyphens between them, {MOST_OF_SLUG} at most.",
            field="slug",
        )
    if slug in RESERVED:
        raise AgentRefused(f"“{slug}” has a meaning of its own in Keyfare. Choose another slug.", field="slug")
    taken = Agent.objects.for_organization(organization).filter(slug=slug).first()
    if taken is not None:
        whose = "an archived agent, whose figures are counted by it," if taken.archived_at else "another agent"
        raise AgentRefused(f"“{slug}” is the slug of {whose} “{taken.name}”. Choose another one.", field="slug")
    return slug


def _free_name(organization: Organization, name: str, *, but: Agent | None = None) -> str:
    name = clean_name(storable(name))
    if not name or len(name) > MOST_OF_NAME:
        raise AgentRefused(f"Give the agent a name of 1 to {MOST_OF_NAME} characters.")
    if _is_taken(organization, name, but=but):
        raise AgentRefused(f"There is an action named “{name}” already. Choose another name.")
    return name


def _is_taken(organization: Organization, name: str, *, but: Agent | None = None) -> bool:
    agents = Agent.objects.for_organization(organization).filter(archived_at=None)
    others = agents.exclude(pk=but.pk) if but else agents
    taken = {*others.values_list("name", flat=True), *(action.name for action in ACTIONS.values())}
    return name.casefold() in {each.casefold() for each in taken}


def _check_room(organization: Organization) -> None:
    if Agent.objects.for_organization(organization).filter(archived_at=None).count() >= MOST_AGENTS:
        raise AgentRefused(f"There are {MOST_AGENTS} agents already. Archive one that is not used any more.")


def _described(description: str) -> str:
    description = clean_name(storable(description))
    if len(description) > MOST_OF_DESCRIPTION:
        raise AgentRefused(f"Describe it in {MOST_OF_DESCRIPTION} characters at most.", field="description")
    return description
