"""Calls of many organizations at the same time: each upstream sees its own key only, each book has its own rows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pytest

from gateway.door.application import Door, alone
from gateway.snapshots import open_snapshots
from organizations.models import Membership, Organization
from organizations.tenancy import EVERY, scope
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from tests.builders import NOW
from tests.conftest import person
from tests.gateway.door.conftest import make_agent, question, token_for
from tests.gateway.door.upstream import Scripted, Upstream, chat_answer, chat_stream
from tests.served import served
from usage.models import InFlightCall, UsageEvent

ORGANIZATIONS, CALLS = 20, 10


class Named(Upstream):
    """Answers each call with the name that it was asked with, after a while of its own."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        messages = []
        while True:
            messages.append(await receive())
            if not messages[-1].get("more_body"):
                break
        body = b"".join(message.get("body", b"") for message in messages)
        content = json.loads(body)
        text = content["messages"][0]["content"]
        pause = (len(text) * 7 + hash(text)) % 20 / 1_000
        if content.get("stream"):
            answer = chat_stream(text, "and", text)
            answer = Scripted([part for chunk in answer.chunks for part in (pause, chunk)], headers=answer.headers)
        else:
            answer = Scripted([pause, chat_answer(text)])
        self.by_key[dict(scope["headers"])[b"authorization"].decode(), text] += 1
        await self.reply(answer, receive, send)

    @property
    def by_key(self) -> Counter[tuple[str, str]]:
        return self.__dict__.setdefault("_by_key", Counter())


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
                secret = Secret(f"sk-proj-{number:02}-of-organization-{number:02}-of-these-tests")
                key = save_provider_key(
                    organization=organization, provider="openai", secret=secret, actor=None, now=NOW, label="Default"
                )
                ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.CONNECTED)
                make_agent(organization, "bot", key, "gpt-4.1-mini")
                tokens[name] = token_for(organization, owner)
        with served(alone(Door(open_snapshots)), lifespan="on", http="httptools", loop="uvloop") as port:
            answers = asyncio.run(ask_all(port, tokens))
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


async def ask_all(port: int, tokens: dict[str, str]) -> list[tuple[tuple[str, bool], str]]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:

        async def ask(name: str, number: int) -> tuple[tuple[str, bool], str]:
            is_stream, text = bool(number % 2), f"{name} call {number}."
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json=question(text, model="bot", stream=is_stream),
                headers={"authorization": f"Bearer {tokens[name]}"},
            )
            assert answer.status_code == 200, answer.text
            return (text, is_stream), answer.text

        return await asyncio.gather(*(ask(name, number) for number in range(CALLS) for name in tokens))
