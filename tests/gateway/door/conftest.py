"""A door on a real socket, with an agent for every provider and a token that may call them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from django.db.models import QuerySet

from gateway.door.application import Door, alone
from gateway.snapshots import open_snapshots
from organizations.api_tokens import make_token
from organizations.models import Organization, User
from organizations.permissions import Permission
from organizations.tenancy import EVERY, scope
from providers.models import ProviderKey
from routing.models import Agent, CallableAgent, CallAccess, DirectKey, RoutingRule
from tests.builders import connect_key
from tests.gateway.callers import usable_key
from tests.gateway.door.upstream import Upstream
from tests.served import served
from usage.models import UsageEvent

MODELS = {
    "openai": "gpt-4.1-mini",
    "openrouter": "openai/gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
}
SECRETS = {
    "openai": "sk-proj-of-the-tests-of-the-door-0001",
    "anthropic": "sk-ant-api03-of-the-tests-of-the-door-02",
    "google": "AQ.of-the-tests-of-the-door-000000003",
}


@dataclass
class RunningDoor:
    """`token` may call the agents "<provider>-agent", and every provider directly."""

    organization: Organization
    owner: User
    token: str = field(repr=False)
    address: str = ""

    def post(self, path: str, content: object, *, token: str | None = None, **headers: str) -> httpx.Response:
        return self.send("POST", path, content, token=token, **headers)

    def get(self, path: str, *, token: str | None = None, **headers: str) -> httpx.Response:
        return self.send("GET", path, None, token=token, **headers)

    def send(
        self, method: str, path: str, content: object, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Names of headers are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("authorization", f"Bearer {self.token if token is None else token}")
        given: dict[str, Any] = {"content": content} if isinstance(content, bytes) else {"json": content}
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.request(
                method, f"{self.address}{path}", headers=named, **(given if content is not None else {})
            )

    def chat(self, text: str = "Hello", *, model: str = "openai-agent", **more: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", question(text, model=model, **more))

    @property
    def events(self) -> QuerySet[UsageEvent]:
        """Of the organization, in the order they were written."""
        return UsageEvent.objects.for_organization(self.organization).order_by("pk")

    @property
    def event(self) -> UsageEvent:
        """The only one there is."""
        return self.events.get()


def question(text: str = "Hello", *, model: str = "openai-agent", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def make_agent(organization: Organization, slug: str, key: ProviderKey, model: str) -> Agent:
    agent = Agent.objects.create(organization=organization, slug=slug, name=slug)
    RoutingRule.objects.create(organization=organization, action=slug, key=key, model=model)
    return agent


def token_for(organization: Organization, owner: User, *agents: Agent, name: str = "Tests", **access: Any) -> str:
    """A token that calls these agents, or every one where none is named, and all connected providers directly."""
    made = make_token(
        organization=organization, name=name, scopes=[Permission.CALL_AGENTS], expires_at=None, actor=owner
    )
    granted = CallAccess.objects.create(
        organization=organization, token=made.token, member=owner, every_agent=not agents, **access
    )
    for agent in agents:
        CallableAgent.objects.create(organization=organization, access=granted, agent=agent)
    if not agents:
        for key in ProviderKey.objects.for_organization(organization):
            DirectKey.objects.create(organization=organization, access=granted, provider=key.provider, key=key)
    return made.value


@contextmanager
def served_door(**options: Any) -> Iterator[str]:
    """The address of a door in this process."""
    fast = {"lifespan": "on", "http": "httptools", "loop": "uvloop"}
    with served(alone(Door(open_snapshots)), **fast, **options) as port:
        yield f"http://127.0.0.1:{port}"


def serving_simulated(organization: Organization, owner: User, models: Mapping[str, str]) -> RunningDoor:
    """Not served yet: an agent for each provider of `models`, which the simulator plays."""
    with scope(EVERY, "a test"):
        for provider, model in models.items():
            make_agent(organization, f"{provider}-agent", connect_key(organization, provider), model)
        return RunningDoor(organization, owner, token_for(organization, owner))


@pytest.fixture
def running_door(transactional_db, simulated_providers, acme, alice) -> Iterator[RunningDoor]:
    door = serving_simulated(acme, alice, MODELS)
    with served_door() as door.address:
        yield door


@pytest.fixture
def short_waits(monkeypatch) -> list[float]:
    """How long a door waited before it sent a call again; none of it takes any time."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr("gateway.door.forwarding.sleep", sleep)
    return noted


@dataclass
class DoorBefore(RunningDoor):
    """One whose providers are an `Upstream`."""

    upstream: Upstream = field(default_factory=Upstream)


@pytest.fixture
def door(transactional_db, settings, acme, alice) -> Iterator[DoorBefore]:
    """With the agents "openai-agent", "anthropic-agent" and "google-agent"; the keys are SECRETS."""
    upstream = Upstream()
    with served(upstream) as upstream_port:
        address = f"http://127.0.0.1:{upstream_port}"
        settings.KEYFARE_PROVIDER_ORIGINS = {provider: f"{address}/{provider}" for provider in SECRETS}
        with scope(EVERY, "a test"):
            for provider, secret in SECRETS.items():
                key = usable_key(acme, "Default", secret, provider=provider)
                make_agent(acme, f"{provider}-agent", key, MODELS[provider])
            running = DoorBefore(acme, alice, token_for(acme, alice), upstream=upstream)
        with served_door() as running.address:
            yield running
