"""However long a stream is and however many calls there were: a process of the door takes no more memory."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from django.db import connection

from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.test_killed_door import door_process
from tests.gateway.door.upstream import DONE, EVENTS, USAGE, Received, Scripted, chat_answer, chat_event
from tests.security.budget import IS_FULL
from tests.served import free_port
from usage.models import InFlightCall

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a second process needs the PostgreSQL pass"),
]
MB = 1024**2
STREAM_MB = 100
FIRST_CALLS, CALLS, AT_ONCE = 300, 5_000 if IS_FULL else 500, 16
MOST_MORE_MB = 16
PIECE = chat_event("a" * 1_000) * 64


def peak_mb(pid: int) -> float:
    """The most memory that the process had since this was asked last."""
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


async def ask_often(client: httpx.AsyncClient, calls: int) -> None:
    left = iter(range(calls))

    async def ask_on() -> None:
        for number in left:
            answer = await client.post("/v1/chat/completions", json=question(stream=bool(number % 2)))
            assert answer.status_code == 200, answer.text

    await asyncio.gather(*(ask_on() for _ in range(AT_ONCE)))


async def read(client: httpx.AsyncClient) -> int:
    asked = question("long", stream=True, stream_options={"include_usage": True})
    async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        return sum([len(chunk) async for chunk in answer.aiter_bytes()])


def test_memory_stays_as_it_is(door: DoorBefore, monkeypatch) -> None:
    long = Scripted([*[PIECE] * (STREAM_MB * MB // len(PIECE)), chat_event(usage=USAGE), DONE], headers=EVENTS)
    short = Scripted([chat_event("one"), chat_event(usage=USAGE), DONE], headers=EVENTS)

    def answer_to(received: Received) -> Scripted:
        if b'"long"' in received.body:
            return long
        return short if b'"stream":true' in received.body else Scripted([chat_answer()])

    monkeypatch.setattr(door.upstream, "answer_to", answer_to)
    port = free_port()
    process = door_process(port)

    async def peaks() -> list[float]:
        headers = {"authorization": f"Bearer {door.token}"}
        address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False, timeout=120) as client:
            await ask_often(client, FIRST_CALLS)
            peak_mb(process.pid)
            found = [peak_mb(process.pid)]
            assert await read(client) >= STREAM_MB * MB * 0.99
            found.append(peak_mb(process.pid))
            await ask_often(client, CALLS)
            return [*found, peak_mb(process.pid)]

    try:
        before, *later = asyncio.run(peaks())
    finally:
        process.kill()
        process.wait()
    assert max(later) < before + MOST_MORE_MB, (before, later)
    assert not InFlightCall.objects.exists()
    assert door.events.filter(status="answered").count() == FIRST_CALLS + 1 + CALLS
