"""The provider simulator on a real port, for the tests of every app that calls models."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from simulator.app import Simulator, create_app, origins


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """`app.delay_seconds` may be set (it is reset after each test); `address` is "http://127.0.0.1:…"."""

    address: str
    app: Simulator

    @property
    def origins(self) -> dict[str, str]:
        return origins(self.address)


@pytest.fixture(scope="session")
def simulator() -> Iterator[RunningSimulator]:
    """One simulator for the whole run; KEYFARE_SIMULATOR_DELAY_SECONDS slows its model calls."""
    app = create_app(float(os.environ.get("KEYFARE_SIMULATOR_DELAY_SECONDS", "0")))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline, "The simulator did not start."
            time.sleep(0.01)
        yield RunningSimulator(f"http://127.0.0.1:{listening.getsockname()[1]}", app)
        server.force_exit = server.should_exit = True  # connections are kept open by who asked
        thread.join(timeout=10)


@pytest.fixture
def simulated_providers(settings, simulator) -> Iterator[RunningSimulator]:
    """Sends the traffic of all four providers to the simulator."""
    settings.KEYFARE_PROVIDER_ORIGINS = simulator.origins
    delay = simulator.app.delay_seconds
    simulator.app.received.clear()
    yield simulator
    simulator.app.upcoming.clear()
    simulator.app.spent.clear()
    simulator.app.delay_seconds = delay


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """How long was waited before calls were repeated; none of it takes any time."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr("gateway.asking.sleep", sleep)
    return noted
