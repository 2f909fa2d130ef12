"""Where the models of a token or of a route are a closed list, a call brings in no other."""

from __future__ import annotations

from typing import Any

import pytest

from organizations.tenancy import EVERY, scope
from routing.models import CallAccess, RoutingRule
from tests.gateway.door.conftest import DoorBefore

BRINGS_IN: list[dict[str, Any]] = [
    {"models": ["openai/gpt-5.4"]},
    {"route": "fallback"},
    {"plugins": [{"id": "web"}]},
    {"preset": "dear"},
    {"fallbacks": ["gpt-5.4"]},
    {"tools": [{"type": "advisor", "model": "claude-opus-4-6"}]},
]


@pytest.fixture(params=["token", "route"])
def closed(request, door: DoorBefore) -> DoorBefore:
    with scope(EVERY, "a test"):
        if request.param == "token":
            CallAccess.objects.for_organization(door.organization).update(allowed_models=["openai/gpt-4.1-mini"])
        else:
            RoutingRule.objects.filter(action="openai-agent").update(allowed_models=["openai"])
    return door


@pytest.mark.parametrize("more", BRINGS_IN)
def test_what_could_bring_in_others_is_refused(closed, more) -> None:
    refused = closed.chat(**more)
    assert refused.status_code == 400
    assert refused.headers["x-keyfare-error"] == "model_not_allowed"
    assert not closed.upstream.received


def test_the_model_itself_and_tools_of_ones_own_pass(closed) -> None:
    parameters = {"type": "object", "properties": {"model": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert closed.chat(tools=tools, models=None).status_code == 200


def test_an_open_one_passes_all_of_it_on(door) -> None:
    for more in BRINGS_IN:
        assert door.chat(**more).status_code == 200


@pytest.mark.parametrize("name", ["openai/gpt-4.1", "openai/gpt-4.1-mini:online", "openai/GPT-4.1-mini"])
def test_another_name_is_not_the_same_model(door, name) -> None:
    CallAccess.objects.for_organization(door.organization).update(allowed_models=["openai/gpt-4.1-mini"])
    assert door.chat(model=name).status_code in (403, 404)
    assert not door.upstream.received
