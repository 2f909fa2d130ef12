"""The page of API tokens, as far as tokens call agents."""

from __future__ import annotations

from typing import Any

import pytest

from organizations.models import ApiToken
from routing.agents import archive_agent, create_agent, open_managed
from routing.models import Agent, CallAccess, DirectKey
from routing.services import save_routing
from tests.builders import NOW, connect_key
from tests.page_forms import form_of
from tests.routing.conftest import MODEL

PAGE, MAKE = "/o/acme/api-tokens/", "/o/acme/api-tokens/new/"


@pytest.fixture
def bot(acme) -> Agent:
    return create_agent(organization=acme, name="Bot", actor=None)


def posted(**fields: Any) -> dict[str, Any]:
    return {"name": "CI", "days": "30", "scopes": ["call_agents"], **fields}


def text(response: Any) -> str:
    return response.content.decode()


def test_a_token_is_made_with_what_it_calls_and_listed_with_it(as_alice, alice, bob, acme, bot, key):
    wanted = posted(
        agents=["bot"],
        allowed_models="openrouter\n",
        member=str(bob.pk),
        requests_a_minute="1,000",
        **{"direct-openrouter": str(key.pk)},
    )

    response = as_alice.post(MAKE, wanted)

    access = CallAccess.objects.get(token=response.context["made"].token)
    assert (access.member, access.is_bound, access.allowed_models) == (bob, False, ["openrouter"])
    assert access.requests_a_minute == 1000
    assert [each.agent for each in access.named_agents.select_related("agent")] == [bot]
    assert [each.key for each in DirectKey.objects.select_related("key")] == [key]
    (line,) = as_alice.get(PAGE).context["lines"]
    assert line.may == [
        "Calls Bot",
        "Calls OpenRouter directly with “Default”",
        "Only openrouter",
        "At most 1,000 requests a minute",
        "In the name of Bob",
    ]


def test_the_form_begins_as_before_without_calls_and_with_its_maker_as_member(as_alice, alice, acme, bot):
    response = as_alice.get(PAGE)

    assert 'value="call_agents"' in text(response)
    assert response.context["form"]["scopes"].value() == ["view", "check_candidates"]
    assert form_of(response, MAKE)["member"] == str(alice.pk)
    assert not response.context["form"].is_about_calls


def test_a_token_without_calls_is_made_as_before(as_alice, acme):
    as_alice.post(MAKE, posted(scopes=["view"]))

    assert ApiToken.objects.get().scopes == ["view"]
    assert not CallAccess.objects.exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Choose what the token may call"),
        ({"agents": ["nobody"]}, "archived meanwhile"),
        ({"agents": ["bot"], "every_agent": "on", "scopes": ["view"]}, "Tick “Call agents”"),
        ({"agents": ["bot"], "scopes": ["view"]}, "Tick “Call agents”"),
        ({"agents": ["bot"], "member": "987654321"}, "Choose a member of this organization."),
        ({"agents": ["bot"], "direct-openrouter": "nonsense"}, "Choose a connected key."),
        ({"agents": ["bot"], "allowed_models": "nobody"}, "begins with no provider"),
        ({"agents": ["bot"], "allowed_models": "sk-proj-abcdefghijklmnop"}, "key"),
        ({"agents": ["bot"], "requests_a_minute": "0"}, "Enter a number from 1 to 1,000,000."),
        ({"agents": ["bot"], "tokens_a_minute": "1e30"}, "Enter a whole number"),
        ({"agents": ["bot"], "calls_at_once": "9" * 30}, "Enter a number from 1 to 10,000."),
    ],
)
def test_a_token_that_cannot_call_so_is_refused_with_a_sentence(as_alice, acme, bot, key, fields, sentence):
    response = as_alice.post(MAKE, posted(**fields))

    assert response.status_code == 422
    assert sentence in text(response)
    assert response.context["form"].is_about_calls
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("pasted", ["sk-proj-abcdefghijklmnop", "kf_AbCdEfGh_0123456789abcdefghijABCDEFGHIJ0123456789"])
def test_a_key_pasted_as_the_name_of_a_token_is_refused_and_not_shown_again(as_alice, acme, bot, pasted):
    response = as_alice.post(MAKE, posted(name=pasted, agents=["bot"]))

    assert response.status_code == 422
    assert "looks like a key" in text(response)
    assert pasted not in text(response)
    assert not ApiToken.objects.exists()


def test_a_refused_name_loses_nothing_that_was_ticked(as_alice, acme, bot):
    create_agent(organization=acme, name="Helper", actor=None)
    ticked = posted(name=f"sk-proj-{'a1B2' * 12}", scopes=["view", "call_agents"], agents=["bot", "helper"])

    form = as_alice.post(MAKE, ticked).context["form"]

    assert (form["scopes"].value(), form["agents"].value()) == (["view", "call_agents"], ["bot", "helper"])
    assert form["name"].value() == ""


def test_what_a_list_of_models_keeps_a_token_from_is_said_before_it_is_made(as_alice, acme, bot, key):
    save_routing(organization=acme, action="bot", key=key, model=MODEL, actor=None)
    managed = create_agent(organization=acme, name="Managed", actor=None)
    open_managed(agent=managed, provider="openai", model="gpt-5.4", calls_a_day=1, nanousd_a_day=1, actor=None)
    create_agent(organization=acme, name="Unrouted", actor=None)
    wanted = posted(every_agent="on", allowed_models="anthropic", **{"direct-openrouter": str(key.pk)})

    asked = as_alice.post(MAKE, wanted)

    sentence = (
        f"With this list the token could not call Bot (openrouter/{MODEL}), Managed (openai/gpt-5.4), OpenRouter "
        "directly. Add what is missing to the list, or make the token once more to have it so."
    )
    assert asked.status_code == 422
    assert asked.context["form"].errors == {"allowed_models": [sentence]}
    assert not ApiToken.objects.exists()

    wanted["told"] = form_of(asked, MAKE)["told"]
    assert as_alice.post(MAKE, {**wanted, "allowed_models": "openai"}).status_code == 200  # leaves out less
    assert as_alice.post(MAKE, {**posted(name="B", agents=["bot"]), "allowed_models": "openrouter"}).status_code == 200


def test_who_pays_is_said_as_it_is(as_alice, acme, bot):
    said = "but for agents that run on a key of the operator"
    assert said not in text(as_alice.get(PAGE))

    open_managed(agent=bot, provider="openai", model="gpt-5.4", calls_a_day=1, nanousd_a_day=1, actor=None)

    assert said in text(as_alice.get(PAGE))


def test_the_page_of_an_agent_says_which_tokens_may_not_use_its_model(as_alice, acme, bot, key):
    as_alice.post(MAKE, posted(agents=["bot"], allowed_models="anthropic"))  # not routed yet: nothing to say
    save_routing(organization=acme, action="bot", key=key, model=MODEL, actor=None)

    assert f"Its list leaves out {MODEL}" in text(as_alice.get("/o/acme/agents/bot/"))


def test_that_the_last_agent_was_archived_meanwhile_is_said(as_alice, acme):
    response = as_alice.post(MAKE, posted(agents=["bot"]))

    assert response.status_code == 422
    assert "One of these agents was archived meanwhile. Choose again." in text(response)
    assert "There are no agents yet." in text(response)


def test_what_there_is_nothing_of_is_said_where_it_is_seen(as_alice, acme):
    response = as_alice.post(MAKE, posted())

    assert response.status_code == 422
    assert "Choose what the token may call" in text(response)
    assert "There are no agents yet." in text(response)


@pytest.mark.parametrize("field", ["agents", "direct-openrouter", "allowed_models", "member", "calls_at_once"])
def test_no_input_is_a_server_error(as_alice, acme, bot, key, field):
    for nasty in ("\0", "🤖", "x" * 40_000, "9" * 400, "1e30", "-1", "‮"):
        assert as_alice.post(MAKE, posted(**{"agents": "bot", field: nasty})).status_code in (200, 422), nasty
        ApiToken.objects.all().delete()


def test_keys_and_agents_of_another_organization_are_not_offered(as_alice, acme, globex, simulated_providers):
    theirs = connect_key(globex)
    create_agent(organization=globex, name="Theirs", actor=None)
    connect_key(acme, "openai")

    page = text(as_alice.get(PAGE))

    assert "Theirs" not in page
    assert str(theirs.pk) not in page
    assert "direct-openai" in page


def test_a_token_whose_agents_are_gone_says_so(as_alice, acme, bot):
    as_alice.post(MAKE, posted(agents=["bot"]))
    archive_agent(agent=bot, actor=None, now=NOW)

    (line,) = as_alice.get(PAGE).context["lines"]

    assert line.may == ["Calls nothing any more: its agents were archived, or its keys removed"]
    assert line.state == "Calls nothing"


def test_a_revoked_token_calls_nothing(as_alice, acme, bot):
    as_alice.post(MAKE, posted(agents=["bot"]))
    token = ApiToken.objects.get()

    as_alice.post(f"/o/acme/api-tokens/{token.pk}/revoke/")

    (line,) = as_alice.get(PAGE).context["lines"]
    assert line.state == "Revoked"
    assert "No token calls it yet." in text(as_alice.get("/o/acme/agents/bot/"))
