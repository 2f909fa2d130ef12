"""Calls of many organizations at the same time: each upstream sees its own key only, each book has its own rows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest

from organizations.models import Membership, Organization
from organizations.tenancy import EVERY, scope
from tests.conftest import person
from tests.gateway.callers import usable_key
from tests.gateway.door.conftest import make_agent, question, served_door, token_for
from tests.gateway.door.upstream import Received, Scripted, Upstream, chat_answer, chat_stream
from tests.served import served
from usage.models import InFlightCall, UsageEvent

ORGANIZATIONS, CALLS = 20, 10


@dataclass
class Named(Upstream):
    """Answers each call with the name that it was asked with, after a while of its own."""

    by_key: Counter[tuple[str, str]] = field(default_factory=Counter)

    def answer_to(self, received: Received) -> Scripted:
        content = json.loads(received.body)
        text = content["messages"][0]["content"]
        self.by_key[received.headers["authorization"], text] += 1
        pause = (len(text) * 7 + hash(text)) % 20 / 1_000
        if content.get("stream"):
            answer = chat_stream(text, "and", text)
            return Scripted([part for chunk in answer.chunks for part in (pause, chunk)], headers=answer.headers)
        return Scripted([pause, chat_answer(text)])


@pytest.mark.django_db(transaction=True)
def test_calls_and_streams_of_twenty_organizations_never_mix(settings) -> None:
    upstream = Named()
    with served(upstream) as upstream_port:
        settings.KEYFARE_PROVIDER_ORIGINS = {"openai": f"http://127.0.0.1:{upstream_port}/v1"}
        tokens: dict[str, str] = {}
        with scope(EVERY, "a test"):
            for number in range(ORGANIZATIONS):
                name = f"org-{number}"
                organization = Organization.objects.create(name=name, slug=name)
                owner = person(f"owner@{name}.example", organization, Membership.Role.OWNER)
                secret = f"sk-proj-{number:02}-of-organization-{number:02}-of-these-tests"
                make_agent(organization, "bot", usable_key(organization, secret=secret), "gpt-4.1-mini")
                tokens[name] = token_for(organization, owner)
        with served_door() as address:
            answers = asyncio.run(ask_all(address, tokens))
    for (name, is_stream), text in answers:
        assert text.count(name) == (2 if is_stream else 1)
    for (authorization, text), count in upstream.by_key.items():
        assert authorization.split("-")[2] == f"{int(text.split()[0].split('-')[1]):02}"
        assert count == 1
    assert len(upstream.by_key) == ORGANIZATIONS * CALLS
    with scope(EVERY, "a test"):
        booked = Counter(UsageEvent.objects.values_list("organization__slug", flat=True))
        assert booked == dict.fromkeys(tokens, CALLS)
        assert set(UsageEvent.objects.values_list("status", flat=True)) == {"answered"}
        assert not InFlightCall.objects.exists()


async def ask_all(address: str, tokens: dict[str, str]) -> list[tuple[tuple[str, bool], str]]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:

        async def ask(name: str, number: int) -> tuple[tuple[str, bool], str]:
            is_stream, text = bool(number % 2), f"{name} call {number}."
            answer = await client.post(
                f"{address}/v1/chat/completions",
                json=question(text, model="bot", stream=is_stream),
                headers={"authorization": f"Bearer {tokens[name]}"},
            )
            assert answer.status_code == 200, answer.text
            return (text, is_stream), answer.text

        return await asyncio.gather(*(ask(name, number) for number in range(CALLS) for name in tokens))
