"""What changes while a call waits to be sent again holds for what is sent then."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from organizations.models import ApiToken
from organizations.tenancy import EVERY, scope
from providers.models import ProviderKey
from routing.call_access import Access
from routing.models import Agent, RoutingRule
from routing.token_edits import edit_token
from tests.builders import NOW
from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.upstream import Scripted, chat_stream
from tests.served import PATIENCE_SECONDS, wait_until
from usage.models import UsageEvent

OVERLOADED = Scripted([b'{"error": {"message": "overloaded"}}'], status=503)


def asked_around(door: DoorBefore, monkeypatch, change: Callable[[], object], is_seen: Callable[[], bool]):
    """The answer to a call that is refused for the moment, where `change` comes before it is sent again."""
    waits, may_go = threading.Event(), threading.Event()

    async def sleep(seconds: float) -> None:
        waits.set()
        await asyncio.to_thread(may_go.wait, PATIENCE_SECONDS)

    monkeypatch.setattr("gateway.door.forwarding.sleep", sleep)
    door.upstream.answers.append(OVERLOADED)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(door.chat, "First")
        assert waits.wait(PATIENCE_SECONDS)
        with scope(EVERY, "a test"):
            change()
        wait_until(is_seen)
        may_go.set()
        answer: httpx.Response = asking.result()
    models = [json.loads(sent.body)["model"] for sent in door.upstream.received if b"First" in sent.body]
    return answer, models


def test_a_token_that_was_narrowed_is_refused_what_it_called_before(door) -> None:
    direct = "openai/gpt-4.1-mini"
    assert door.chat().status_code == door.chat(model=direct).status_code == 200
    with scope(EVERY, "a test"):
        token = ApiToken.objects.select_related("organization").get()
        left = list(Agent.objects.exclude(slug="openai-agent"))
        access = Access(member=door.owner, agents=left)
        assert edit_token(token=token, name="Less", expires_at=None, access=access, actor=door.owner, now=NOW)

    wait_until(lambda: door.chat().status_code != 200)

    sent = len(door.upstream.received)
    refused = [door.chat(), door.chat(model=direct)]
    codes = [(answer.status_code, answer.headers["x-keyfare-error"]) for answer in refused]
    assert codes == [(404, "unknown_model"), (400, "no_key_for_provider")]
    assert "anthropic-agent" in refused[0].text
    assert len(door.upstream.received) == sent


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: RoutingRule.objects.filter(action="openai-agent").update(paused_at=NOW), "paused"),
        (lambda: ApiToken.objects.update(revoked_at=NOW), "revoked_token"),
        (lambda: ProviderKey.objects.filter(provider="openai").update(status="disabled"), "key_unusable"),
    ],
    ids=["paused", "revoked", "disabled"],
)
def test_nothing_is_sent_again_by_a_right_that_was_taken_away(door, monkeypatch, change, code) -> None:
    answer, models = asked_around(door, monkeypatch, change, lambda: door.chat().status_code != 200)

    assert answer.headers["x-keyfare-error"] == code
    assert models == ["gpt-4.1-mini"]
    assert door.events.first().http_status == 503


@pytest.mark.parametrize(
    "change",
    [
        lambda: ApiToken.objects.update(revoked_at=NOW),
        lambda: Agent.objects.filter(slug="openai-agent").update(archived_at=NOW),
        lambda: ProviderKey.objects.filter(provider="openai").update(status="disabled"),
    ],
    ids=["revoked", "archived", "disabled"],
)
def test_a_stream_that_has_begun_goes_on_to_its_end_and_is_booked(door, monkeypatch, change) -> None:
    may_go, chunks = threading.Event(), door.upstream._chunks

    async def held_up(answer: Scripted, leaving: asyncio.Future[object]):
        async for chunk in chunks(answer, leaving):
            yield chunk
            if answer is stream:
                await asyncio.to_thread(may_go.wait, PATIENCE_SECONDS)

    stream = chat_stream("one", "two")
    monkeypatch.setattr(door.upstream, "_chunks", held_up)
    door.upstream.answers.append(stream)
    asked, headers = question(stream=True), {"authorization": f"Bearer {door.token}"}
    with (
        httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client,
        client.stream("POST", f"{door.address}/v1/chat/completions", json=asked, headers=headers) as answer,
    ):
        lines = answer.iter_lines()
        assert "one" in next(lines)
        with scope(EVERY, "a test"):
            change()
        wait_until(lambda: door.chat().status_code != 200)
        may_go.set()
        assert list(lines)[-2] == "data: [DONE]"
    event = door.events.filter(is_stream=True).get()
    assert (event.status, event.output_tokens) == (UsageEvent.Status.ANSWERED, 5)


def test_what_is_sent_again_goes_by_the_route_of_then(door, monkeypatch) -> None:
    def change() -> None:
        RoutingRule.objects.filter(action="openai-agent").update(model="gpt-4.1")

    answer, models = asked_around(
        door, monkeypatch, change, lambda: door.chat() and b'"gpt-4.1"' in door.upstream.received[-1].body
    )

    assert (answer.status_code, answer.headers["x-keyfare-attempts"]) == (200, "2")
    assert models == ["gpt-4.1-mini", "gpt-4.1"]
    assert [(event.attempt, event.model) for event in (door.events.first(), door.events.last())] == [
        (1, "gpt-4.1-mini"),
        (2, "gpt-4.1"),
    ]
