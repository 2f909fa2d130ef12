"""
Servers of the door killed in the middle of calls and streams, on PostgreSQL, with real processes and real SIGKILLs.

`make test-security` kills a hundred of them at random points, `make test` five.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from datetime import timedelta

import httpx
import pytest
from django.conf import settings as django_settings
from django.db import connection

from gateway.sweeping import sweep_lost_calls
from organizations import clock
from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.upstream import Scripted, chat_answer, chat_stream
from tests.security.budget import IS_FULL
from tests.served import database_url, free_port, is_listening, wait_until
from usage.models import InFlightCall, UsageEvent

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a second process needs the PostgreSQL pass"),
]
KILLS = 100 if IS_FULL else 5
AT_ONCE = 24
LONGEST_LIFE_SECONDS = 0.4


def door_process(port: int) -> subprocess.Popen[bytes]:
    origins = ",".join(f"{name}={url}" for name, url in django_settings.KEYFARE_PROVIDER_ORIGINS.items())
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "tests.web_settings",
        "KEYFARE_PROVIDER_ORIGINS": origins,
    }
    command = [sys.executable, "-m", "uvicorn", "config.gateway:application", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(
        command, cwd=django_settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: is_listening(port) or process.poll() is not None)
    assert process.poll() is None, "The door did not start."
    return process


async def ask_until_killed(port: int, token: str, process: subprocess.Popen[bytes], after: float) -> list[str]:
    """The ids of calls that were answered as a whole before the process was killed."""
    answered: list[str] = []
    async with httpx.AsyncClient(trust_env=False, timeout=30, base_url=f"http://127.0.0.1:{port}") as client:

        async def ask_on(number: int) -> None:
            headers = {"authorization": f"Bearer {token}"}
            content = question(stream=bool(number % 2))
            while True:
                try:
                    answer = await client.post("/v1/chat/completions", json=content, headers=headers)
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200, answer.text
                answered.append(answer.headers["x-keyfare-call"])

        asking = [asyncio.create_task(ask_on(number)) for number in range(AT_ONCE)]
        while not answered:  # it opens with the first call
            await asyncio.sleep(0.005)
        await asyncio.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        await asyncio.gather(*asking)
    return answered


def test_whatever_a_door_is_killed_at_every_admission_is_one_event_and_no_answer_lacks_its_own(
    door: DoorBefore, monkeypatch
) -> None:
    slow = [Scripted([0.01, chat_answer()]), chat_stream("one", "two"), chat_stream("three")]
    chance = random.Random(KILLS)

    class Endless:
        def __bool__(self) -> bool:
            return True

        def popleft(self) -> Scripted:
            return chance.choice(slow)

    monkeypatch.setattr(door.upstream, "answers", Endless())
    answered: list[str] = []
    for _ in range(KILLS):
        port = free_port()
        process = door_process(port)
        try:
            answered += asyncio.run(
                ask_until_killed(port, door.token, process, chance.uniform(0, LONGEST_LIFE_SECONDS))
            )
        finally:
            process.kill()
            process.wait()
    admitted = InFlightCall.objects.count()
    assert sweep_lost_calls(now=clock.now() + timedelta(hours=1)) == admitted
    assert not InFlightCall.objects.exists()
    events = list(UsageEvent.objects.for_organization(door.organization).values_list("call_id", "status"))
    statuses = {str(call_id): status for call_id, status in events}
    assert len(statuses) == len(events), "none twice"
    assert {statuses.get(call_id) for call_id in answered} == {"answered"}, "no answer without its event"
    assert len(events) >= len(door.upstream.received), "no call that left without one"
    assert sum(status == "lost" for status in statuses.values()) == admitted
