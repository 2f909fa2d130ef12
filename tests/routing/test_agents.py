from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from organizations.api_tokens import make_token
from organizations.edits import ChangedMeanwhile, stamp
from organizations.models import ApiToken, AuditEvent
from organizations.permissions import Permission
from routing.actions import ACTIONS, DIRECT, action_names_of, actions_of
from routing.agents import (
    MOST_AGENTS,
    MOST_OF_DESCRIPTION,
    MOST_OF_NAME,
    MOST_OF_SLUG,
    AgentRefused,
    agent_parts,
    archive_agent,
    close_managed,
    create_agent,
    edit_agent,
    open_agent,
    open_managed,
    proposed_slug,
)
from routing.models import Agent, CallableAgent, CallAccess, RoutingRule
from routing.resolve import NoModel, RouteUnavailable, resolve, resolve_all
from routing.services import RuleRefused, save_routing
from tests.builders import connect_managed_key
from tests.routing.conftest import MODEL
from usage.models import Mode

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def made(acme, name: str = "Support bot", **fields: str) -> Agent:
    return create_agent(organization=acme, name=name, actor=None, **fields)


def events(acme) -> list[str]:
    return list(AuditEvent.objects.filter(organization=acme).order_by("seq").values_list("action", flat=True))


def test_a_new_agent_is_an_action_of_its_organization_alone(acme, globex):
    made(acme, description="Answers mail.")

    assert actions_of(acme)["support-bot"].name == "Support bot"
    assert actions_of(acme)["support-bot"].is_agent
    assert "support-bot" not in actions_of(globex)
    assert events(acme) == ["agent.created"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Support bot", "support-bot"),
        ("Übersetzer  №1", "ubersetzer-no1"),
        ("🤖🤖", "agent"),
        ("Candidate_Check", "candidate-check"),
        ("direct", "direct-2"),
        ("New", "new-2"),
        ("x" * 80, "x" * 40),
        ("--__--", "agent"),
    ],
)
def test_a_slug_is_made_of_the_name(acme, name, slug):
    assert proposed_slug(acme, name) == slug
    assert made(acme, name).slug == slug


def test_a_slug_that_is_taken_gets_a_number_and_stays_within_its_length(acme):
    made(acme, "x" * 80)

    assert proposed_slug(acme, "x" * 79) == "x" * 38 + "-2"


@pytest.mark.parametrize("slug", [*ACTIONS, DIRECT, "new"])
def test_slugs_with_a_meaning_of_their_own_are_refused(acme, slug):
    with pytest.raises(AgentRefused, match="meaning of its own") as refused:
        made(acme, slug=slug)

    assert refused.value.field == "slug"
    assert not Agent.objects.exists()


@pytest.mark.parametrize("slug", ["A", "a b", "a--b", "-a", "a/b", "ä", "x" * 41, "a\n", "\0", "a.b"])
def test_a_slug_that_is_none_is_refused(acme, slug):
    with pytest.raises(AgentRefused, match="small letters"):
        made(acme, slug=slug)


def test_a_slug_is_not_given_again_even_after_its_agent_was_archived(acme, globex):
    agent = made(acme, slug="bot")
    with pytest.raises(AgentRefused, match="another agent “Support bot”"):
        made(acme, "Other", slug="bot")

    archive_agent(agent=agent, actor=None, now=NOW)

    with pytest.raises(AgentRefused, match="an archived agent"):
        made(acme, "Other", slug="bot")
    assert made(globex, slug="bot").slug == "bot"


@pytest.mark.parametrize("name", ["support BOT", "Candidate check", "", "  ", "\0", "\u200b", "x" * 81])
def test_a_name_that_is_taken_or_none_is_refused(acme, name):
    made(acme)

    with pytest.raises(AgentRefused):
        made(acme, name)
    assert Agent.objects.count() == 1


def test_there_are_so_many_agents_as_a_page_can_show(acme):
    Agent.objects.bulk_create(
        Agent(organization=acme, name=f"Agent {number}", slug=f"agent-{number}") for number in range(MOST_AGENTS)
    )
    with pytest.raises(AgentRefused, match="Archive one"):
        made(acme)

    archive_agent(agent=Agent.objects.get(slug="agent-0"), actor=None, now=NOW)

    assert made(acme).pk


def test_an_edit_changes_name_and_description_and_never_the_slug(acme, alice):
    agent = made(acme)

    edit_agent(agent=agent, name="Help desk", description="Answers.", actor=alice)

    agent.refresh_from_db()
    assert (agent.name, agent.description, agent.slug) == ("Help desk", "Answers.", "support-bot")
    event = AuditEvent.objects.get(action="agent.edited")
    assert (event.target, event.details["name_before"]) == ("Help desk", "Support bot")


def test_an_edit_of_nothing_is_not_noted(acme):
    agent = made(acme)

    edit_agent(agent=agent, name=" Support  bot ", description="", actor=None)

    assert events(acme) == ["agent.created"]


def test_an_edit_of_what_somebody_else_changed_meanwhile_is_refused(acme, alice, ada):
    agent = made(acme)
    seen = stamp(agent_parts(agent))
    edit_agent(agent=agent, name="Help desk", description="", actor=ada, seen=seen)

    with pytest.raises(ChangedMeanwhile, match="Ada changed this agent to “Help desk”"):
        edit_agent(agent=agent, name="Desk", description="", actor=alice, seen=seen)
    agent.refresh_from_db()
    assert agent.name == "Help desk"


def test_an_archived_agent_loses_its_route_and_its_tokens_and_keeps_its_name_in_the_books(acme, alice, key):
    agent, _ = open_agent(
        organization=acme, name="Bot", key=key, model=MODEL, with_token=True, token_expires_at=None, actor=alice
    )

    assert archive_agent(agent=agent, actor=alice, now=NOW)

    assert not RoutingRule.objects.exists()
    assert not CallableAgent.objects.exists()
    assert CallAccess.objects.get().is_bound
    assert "bot" not in actions_of(acme)
    assert action_names_of(acme)["bot"] == "Bot"
    assert events(acme)[-2:] == ["routing.reset", "agent.archived"]
    assert not archive_agent(agent=agent, actor=alice, now=NOW)
    with pytest.raises(RouteUnavailable, match="no such agent any more"):
        resolve(organization=acme, action="bot")
    with pytest.raises(AgentRefused, match="Bring it back first"):
        edit_agent(agent=agent, name="Other", description="", actor=None)
    with pytest.raises(RuleRefused):
        save_routing(organization=acme, action="bot", key=key, model=MODEL, actor=None)


def test_an_agent_is_opened_with_route_and_token_or_not_at_all(acme, alice, key):
    with pytest.raises(RuleRefused):
        open_agent(
            organization=acme, name="Bot", key=key, model="no/such", with_token=True, token_expires_at=None, actor=alice
        )
    assert not Agent.objects.exists()

    agent, made_token = open_agent(
        organization=acme, name="Bot", key=key, model=MODEL, with_token=True, token_expires_at=NOW, actor=alice
    )

    assert made_token is not None
    assert resolve(organization=acme, action=agent.slug).mode == Mode.BYOK
    access = CallAccess.objects.get(token=made_token.token)
    assert (access.is_bound, access.every_agent, access.member) == (True, False, alice)
    assert [each.agent for each in CallableAgent.objects.filter(access=access)] == [agent]
    assert made_token.token.scopes == [Permission.CALL_AGENTS]
    assert made_token.token.expires_at == NOW


def test_the_token_of_an_agent_finds_a_name_that_is_free(acme, alice):
    for name in ("Bot", "Bot 2"):
        make_token(organization=acme, name=name, scopes=[Permission.VIEW], expires_at=None, actor=alice)

    open_agent(organization=acme, name="Bot", key=None, with_token=True, token_expires_at=None, actor=alice)

    assert ApiToken.objects.latest("pk").name == "Bot 3"


def test_an_agent_that_is_not_routed_says_where_to_route_it_and_never_takes_the_managed_key(acme):
    agent = made(acme)

    with pytest.raises(NoModel, match="route it to a connected key on its page under Agents"):
        resolve(organization=acme, action=agent.slug)


@pytest.mark.usefixtures("simulated_providers")
def test_an_agent_that_staff_opened_runs_on_the_managed_key_until_they_close_it(acme, staff):
    managed = connect_managed_key()
    agent = made(acme)
    open_managed(agent=agent, provider="openrouter", model=MODEL, calls_a_day=10, nanousd_a_day=10**9, actor=staff)

    route = resolve(organization=acme, action=agent.slug)
    (row,) = [row for row in resolve_all(organization=acme) if row.action.slug == agent.slug]

    assert (route.mode, route.key_id, route.model) == (Mode.MANAGED, managed.pk, MODEL)
    assert row.route() == route
    close_managed(agent=agent, actor=staff)
    with pytest.raises(NoModel):
        resolve(organization=acme, action=agent.slug)
    assert events(acme) == ["agent.created", "agent.managed_opened", "agent.managed_closed"]
    assert "nanousd" not in str(AuditEvent.objects.get(action="agent.managed_opened").details)


def test_the_limits_are_those_of_the_columns():
    fields: list[Any] = [Agent._meta.get_field(name) for name in ("slug", "name", "description")]
    columns = [field.max_length for field in fields]

    assert columns == [MOST_OF_SLUG, MOST_OF_NAME, MOST_OF_DESCRIPTION]
