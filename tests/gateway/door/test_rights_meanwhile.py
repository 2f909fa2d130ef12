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
from routing.models import RoutingRule
from tests.builders import NOW
from tests.gateway.door.conftest import DoorBefore
from tests.gateway.door.upstream import Scripted
from tests.served import PATIENCE_SECONDS, wait_until

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
