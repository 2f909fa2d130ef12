"""Servers that an organization names, behind the doors: each in its own wire, below the base URL that it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import SERVERS
from tests.gateway.door.conftest import RunningDoor, served_door, serving_simulated
from usage.models import UsageEvent

MODELS = {
    "ollama": "qwen3:8b",
    "openai_compatible": "Qwen/Qwen3-32B",
    "anthropic_compatible": "zai-org/GLM-4.6",
    "gemini_compatible": "gemma-3-27b-it",
}
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


@pytest.fixture
def door(transactional_db, simulated_providers, acme, alice) -> Iterator[RunningDoor]:
    door = serving_simulated(acme, alice, MODELS)
    with served_door() as door.address:
        yield door


def request_to(provider: str, model: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """The path and the body of a call in the provider's wire."""
    if provider == "gemini_compatible":
        return f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}", CONTENTS
    body = {**CHAT, "model": model, "stream": stream}
    if provider == "anthropic_compatible":
        return "/v1/messages", {**body, "max_tokens": 100}
    return "/v1/chat/completions", body


def test_every_kind_of_server_is_tried_here():
    assert set(MODELS) == set(SERVERS)


@pytest.mark.parametrize("stream", [False, True])
def test_each_serves_agents_and_is_called_directly_in_its_own_wire(door, stream):
    for provider, model in MODELS.items():
        for named in (f"{provider}-agent", f"{provider}/{model}"):
            path, body = request_to(provider, named, stream=stream)

            answer = door.post(path, body)

            event = door.events.order_by("-pk")[0]
            assert answer.status_code == 200, answer.text
            assert "simulated answer" in answer.text or stream
            assert (event.provider, event.model, event.is_stream) == (provider, model, stream)
            assert (event.status, event.usage_reported) == (UsageEvent.Status.ANSWERED, True)
            # Nobody knows what a server costs that is not one's own.
            assert event.cost_nanousd == (0 if provider == "ollama" else None)
