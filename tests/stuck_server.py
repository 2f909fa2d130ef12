"""The provider simulator, behind which some keys lead to a server that takes calls and never answers them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from organizations.models import Organization
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, ProviderKey
from routing.actions import ACTIONS
from routing.services import save_routing
from simulator.app import Simulator, origins
from tests.builders import NOW

STUCK = b"never-answers"


class StuckServer(Simulator):
    """`is_stuck` may be set; `held` counts the calls that wait for an answer."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.is_stuck = False
        self.held = 0
        self.address = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if any(STUCK in value for _, value in scope.get("headers", ())):
            self.held += 1
            try:
                while self.is_stuck:
                    await asyncio.sleep(0.02)
            finally:
                self.held -= 1
        await super().__call__(scope, receive, send)

    @property
    def origins(self) -> dict[str, str]:
        return origins(self.address)


@contextmanager
def stuck_server() -> Iterator[StuckServer]:
    app = StuckServer()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        give_up_at = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < give_up_at, "The server did not start."
            time.sleep(0.01)
        try:
            yield app
        finally:
            app.is_stuck = False
            server.should_exit = True
            thread.join(timeout=10)


def route_to(organization: Organization, *, never_answers: bool) -> ProviderKey:
    """Every action on a key of the organization's own, validated while the server still answers."""
    secret = f"sk-or-v1-simulated-valid-{STUCK.decode() if never_answers else 'answers'}"
    key = save_provider_key(
        organization=organization, provider="openrouter", secret=Secret(secret), actor=None, now=NOW
    )
    waiting = KeyValidation.objects.create(
        organization=organization, key=key, secret_version=key.secret_version, requested_at=NOW
    )
    validate_key(validation_id=waiting.pk, now=NOW)
    for action in ACTIONS:
        save_routing(organization=organization, action=action, key=key, model="openai/gpt-4.1-mini", actor=None)
    return key
