from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.keys import KEYS_TO_TRY
from tests.gateway.door.conftest import running_door, short_waits  # noqa: F401  # fixtures
from tests.gateway.sdk.doors import Door

# What an SDK is given as its base URL below the simulator and below ours, and the models that it asks each for.
PATHS = {"openai": ("/openai/v1", "/v1"), "anthropic": ("/anthropic", ""), "google": ("/google", "")}
MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash"}
EMBEDDING_MODELS = {"openai": "text-embedding-3-small", "google": "gemini-embedding-001"}
DoorOf = Callable[[str], Door]


@pytest.fixture(params=["simulator", pytest.param("gateway", marks=pytest.mark.django_db(transaction=True))])
def door_of(request: pytest.FixtureRequest) -> DoorOf:
    """The door of a wire: of a simulated provider itself, and ours in front of it, where agents are the models."""
    if request.param == "simulator":
        simulator = request.getfixturevalue("simulator")
        return lambda wire: Door(
            f"{simulator.address}{PATHS[wire][0]}", KEYS_TO_TRY[wire], MODELS[wire], EMBEDDING_MODELS.get(wire, "")
        )
    ours = request.getfixturevalue("running_door")
    request.getfixturevalue("short_waits")
    return lambda wire: Door(
        f"{ours.address}{PATHS[wire][1]}", ours.token, f"{wire}-agent", f"{wire}/{EMBEDDING_MODELS.get(wire, '')}"
    )
