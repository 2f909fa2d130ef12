"""All actions of an organization are answered for in as many statements as one, whatever keys they are routed to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from providers.models import ProviderKey
from routing import resolve
from routing.actions import ACTIONS, Action, actions_of
from routing.models import ManagedDefault, RoutingRule
from routing.resolve import Route, RouteUnavailable, resolve_all
from routing.services import ensure_managed_defaults
from routing.table import route_forms, routing_page
from tests.builders import NOW, connect_key, connect_managed_key

pytestmark = pytest.mark.usefixtures("simulated_providers")


def made_up(count: int) -> dict[str, Action]:
    """The built-in actions, and others to make `count`."""
    names = [f"action_{number}" for number in range(count - len(ACTIONS))]
    others = {name: Action(name, name.title(), "Does something.", name, "openai", "gpt-4.1") for name in names}
    return {**ACTIONS, **others}


@pytest.fixture
def keys(acme) -> list[ProviderKey]:
    """One that works, one that is broken and one that is disabled."""
    found = [connect_key(acme, label=label) for label in ("Works", "Broken", "Disabled")]
    for key, status in zip(found[1:], ("invalid", "disabled"), strict=True):
        ProviderKey.objects.filter(pk=key.pk).update(status=status)
    return found


def route_some(acme, keys: list[ProviderKey], actions: Mapping[str, Action]) -> None:
    """To each of `keys` in turn, and some to none; of those some have a default that a managed key serves."""
    ensure_managed_defaults()
    for number, action in enumerate(actions):
        if number % 4 < len(keys):
            RoutingRule.objects.create(organization=acme, action=action, key=keys[number % 4], model="m")
        provider = ("openrouter", "openai", "anthropic")[number % 3]
        ManagedDefault.objects.update_or_create(action=action, defaults={"provider": provider, "model": "m"})


def statements(monkeypatch, acme, keys, count: int) -> tuple[int, int]:
    """Of `resolve_all`, and of the whole table on the page of settings."""
    actions = made_up(count)
    RoutingRule.objects.all().delete()
    monkeypatch.setattr(resolve, "actions_of", lambda organization: actions)
    route_some(acme, keys, actions)
    with CaptureQueriesContext(connection) as answers:
        rows = resolve_all(organization=acme)
        assert len([row.trouble for row in rows]) == count
    with CaptureQueriesContext(connection) as page:
        assert len(routing_page(acme, route_forms(acme), now=NOW).lines) == count
    return len(answers), len(page)


def test_ten_actions_take_no_more_statements_than_three(acme, keys, monkeypatch):
    connect_managed_key()

    three, ten = (statements(monkeypatch, acme, keys, count) for count in (3, 10))

    assert three == ten
    assert ten[0] == 3


def test_each_action_is_answered_for_as_it_is_alone(acme, keys, monkeypatch):
    connect_managed_key()
    actions = made_up(10)
    monkeypatch.setattr(resolve, "actions_of", lambda organization: actions)
    route_some(acme, keys, actions)

    def alone(action: str) -> Route | str:
        try:
            return resolve.resolve(organization=acme, action=action)
        except RouteUnavailable as refusal:
            return str(refusal)

    together = {row.action.slug: row.trouble or row.route() for row in resolve_all(organization=acme)}

    assert together == {slug: alone(slug) for slug in actions}
    assert len({type(answer) for answer in together.values()}) == 2  # routes and sentences


def test_the_built_in_actions_are_those_of_every_organization(acme):
    assert list(actions_of(acme)) == list(actions_of(acme.pk)) == ["candidate_check", "requirement_generation"]
