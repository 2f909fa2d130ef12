from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.keys import KEYS_TO_TRY
from tests.gateway.sdk.doors import Door
from tests.simulator_fixtures import RunningSimulator

# What an SDK is given as its base URL, below the simulator, and the models that it asks for.
WIRES = {
    "openai": ("/openai/v1", "gpt-4.1-mini", "text-embedding-3-small"),
    "anthropic": ("/anthropic", "claude-haiku-4-5", ""),
    "google": ("/google", "gemini-2.5-flash", "gemini-embedding-001"),
}
DoorOf = Callable[[str], Door]


@pytest.fixture
def door_of(simulator: RunningSimulator) -> DoorOf:
    """The door of a wire. Point this elsewhere, and all tests here go there."""

    def door_of(wire: str) -> Door:
        path, model, embedding_model = WIRES[wire]
        return Door(f"{simulator.address}{path}", KEYS_TO_TRY[wire], model, embedding_model)

    return door_of
