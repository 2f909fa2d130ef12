"""Who has to confirm who they are in the midst of a form finds it as it was left."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from organizations.models import ApiToken
from organizations.permissions import Permission
from routing.agents import create_agent
from routing.call_access import Access, make_calling_token
from routing.models import Agent
from tests.conftest import confirm_password
from tests.page_forms import form_of

AGENT, TOKEN = (reverse(f"routing:{name}", args=["acme"]) for name in ("new-agent", "make-api-token"))


@pytest.fixture
def as_idle_alice(alice) -> Client:
    client = Client()
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(client, alice, seconds_ago=15 * 60)
    return client


def page_after(client: Client, address: str, typed: dict[str, Any]):
    asked = client.post(address, typed)
    assert asked["Location"].startswith(reverse("account_reauthenticate"))
    (back,) = parse_qs(urlsplit(asked["Location"]).query)["next"]
    return client.get(back)


@pytest.mark.parametrize("is_ticked", [True, False])
def test_a_new_agent_is_as_it_was_typed(as_idle_alice, acme, key, is_ticked):
    typed = {"name": "Bot", "description": "Answers.", "slug": "bot", "key": str(key.pk), "model": "openai/gpt-4o-mini"}
    wanted = {**typed, "days": "30", **({"makes_token": "on"} if is_ticked else {})}

    response = page_after(as_idle_alice, AGENT, wanted)

    assert {name: value for name, value in form_of(response, AGENT).items() if name in wanted} == wanted
    assert ("makes_token" in form_of(response, AGENT)) == is_ticked
    assert not Agent.objects.exists()


def test_a_new_token_is_as_it_was_typed_and_ticked(as_idle_alice, acme, bob, key):
    for name in ("One", "Two", "Three"):
        create_agent(organization=acme, name=name, actor=None)
    wanted = {
        "name": "CI",
        "days": "30",
        "scopes": ["view", "call_agents"],
        "agents": ["one", "two"],
        "allowed_models": "openrouter\nopenai",
        "member": str(bob.pk),
        "requests_a_minute": "1,000",
        "tokens_a_minute": "nonsense",
        "direct-openrouter": str(key.pk),
    }

    form = page_after(as_idle_alice, TOKEN, wanted).context["form"]

    assert {name: form[name].value() for name in wanted} == wanted
    assert form.is_about_calls
    assert not form["every_agent"].value()
    assert not ApiToken.objects.exists()


def test_an_edited_token_is_as_it_was_typed_and_still_says_what_was_seen(as_idle_alice, alice, acme):
    one, two = (create_agent(organization=acme, name=name, actor=None) for name in ("One", "Two"))
    token = make_calling_token(
        organization=acme,
        name="CI",
        scopes=[Permission.CALL_AGENTS],
        expires_at=None,
        access=Access(member=alice, agents=[one, two]),
        actor=alice,
    ).token
    address = reverse("routing:edit-api-token", args=["acme", token.pk])
    shown = form_of(as_idle_alice.get(address), address)
    ApiToken.objects.update(name="Renamed meanwhile")

    form = page_after(as_idle_alice, address, shown | {"agents": ["two"], "calls_at_once": "nonsense"}).context["form"]

    assert (form["name"].value(), form["agents"].value()) == ("CI", ["two"])
    assert (form["calls_at_once"].value(), form["days"].value()) == ("nonsense", "keep")
    assert form["seen"].value() == shown["seen"]


def test_what_looks_like_a_key_is_not_kept_and_costs_nothing_else(as_idle_alice, acme):
    pasted = f"sk-proj-{'a1B2' * 12}"

    response = page_after(as_idle_alice, TOKEN, {"name": pasted, "days": "0", "scopes": ["view"]})

    form = response.context["form"]
    assert (form["name"].value(), form["days"].value(), form["scopes"].value()) == ("", "0", ["view"])
    assert pasted not in response.wsgi_request.get_full_path()
