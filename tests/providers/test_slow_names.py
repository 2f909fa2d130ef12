"""Name servers that answer late or never: who waits is ended by the deadline, and nobody else waits with them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.egress import client as egress
from providers.egress import lookups
from providers.egress.addresses import ANYWHERE, PUBLIC, Reach
from providers.egress.client import send
from providers.egress.connections import Egress, open_client
from providers.egress.short_calls import send_now
from tests.providers.test_egress import answering, reply, server

CUSTOM = Reach(ports=frozenset({443}), is_custom=True)
HONEST = Reach(networks=ANYWHERE.networks, is_custom=True)
DEADLINE = 0.5


class NameServer:
    """Answers "…honest.example.com" with loopback, and every other name not before it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: Counter[str] = Counter()
        self._resolve = socket.getaddrinfo

    def getaddrinfo(self, host, port, *args, **kwargs):
        if not str(host).endswith("example.com"):
            return self._resolve(host, port, *args, **kwargs)
        self.asked[host] += 1
        if not host.endswith("honest.example.com"):
            self.released.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def names(monkeypatch) -> Iterator[NameServer]:
    asked = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", asked.getaddrinfo)
    monkeypatch.setattr(egress, "FASTEST_FAILURE_SECONDS", 0)
    yield asked
    asked.released.set()
    deadline = time.monotonic() + 10
    while lookups.under_way():
        assert time.monotonic() < deadline, "Lookups were left behind."
        time.sleep(0.01)


async def unanswered(client: Egress, host: str, reach: Reach) -> float:
    """How long a call to a name without an answer takes."""
    started = time.monotonic()
    with pytest.raises(ProviderError) as ended:
        await send(
            client,
            HttpCall("GET", f"https://{host}/v1/models", {}, None),
            credential_headers={},
            timeout_seconds=DEADLINE,
            reach=reach,
        )
    assert ended.value.kind is ErrorKind.UNREACHABLE
    return time.monotonic() - started


async def answered(client: Egress, address: str, reach: Reach) -> HttpAnswer:
    url = address.replace("127.0.0.1", "honest.example.com")
    return await send(client, HttpCall("GET", url, {}, None), credential_headers={}, timeout_seconds=5, reach=reach)


def test_a_lookup_without_an_answer_does_not_outlast_the_deadline(names):
    started = time.monotonic()

    with pytest.raises(ProviderError) as ended:
        send_now(
            HttpCall("GET", "https://slow.example.com/", {}, None),
            credential_headers={},
            timeout_seconds=DEADLINE,
            reach=PUBLIC,
        )

    assert ended.value.kind is ErrorKind.UNREACHABLE
    assert time.monotonic() - started < DEADLINE + 1


def test_many_calls_to_one_slow_name_hold_up_nobody(names):
    """Three hundred calls wait for one lookup, which takes one thread; an honest server of the same kind answers."""

    async def run() -> tuple[list[float], float]:
        async with server(answering(reply("HTTP/1.1 200 OK", "Content-Length: 0"))) as address, open_client() as client:
            waiting = [asyncio.create_task(unanswered(client, "slow.example.com", CUSTOM)) for _ in range(300)]
            while not names.asked["slow.example.com"]:
                await asyncio.sleep(0.01)
            threads = threading.active_count()
            started = time.monotonic()
            assert (await answered(client, address, HONEST)).status == 200
            took = time.monotonic() - started
            assert threading.active_count() - threads <= 1
            return await asyncio.gather(*waiting), took

    waited, honest = asyncio.run(run())

    assert max(waited) < DEADLINE + 1
    assert honest < DEADLINE
    assert names.asked["slow.example.com"] == 1


def test_slow_names_of_custom_servers_hold_up_no_built_in_provider(names):
    """Not even when they are more than there are threads for them, again and again."""

    async def run() -> float:
        async with server(answering(reply("HTTP/1.1 200 OK", "Content-Length: 0"))) as address, open_client() as client:
            slow = [f"slow{number}.example.com" for number in range(3 * lookups.MOST_AT_A_TIME)]
            before = threading.active_count()
            waiting = [asyncio.create_task(unanswered(client, host, CUSTOM)) for host in slow]
            while len(names.asked) < lookups.MOST_AT_A_TIME:
                await asyncio.sleep(0.01)
            started = time.monotonic()
            assert (await answered(client, address, ANYWHERE)).status == 200
            took = time.monotonic() - started
            assert max(await asyncio.gather(*waiting)) < DEADLINE + 1
            assert threading.active_count() - before <= lookups.MOST_AT_A_TIME + 1
            return took

    assert asyncio.run(run()) < DEADLINE


def test_who_gives_up_does_not_end_the_lookup_for_others(names):
    """Not even one that waits for a thread, and could still be called off."""

    async def run() -> lookups.Rows:
        def asking(host: str) -> asyncio.Task[lookups.Rows]:
            return asyncio.create_task(lookups.look_up(host, 443, socket.AF_INET, is_custom=True))

        slow = [asking(f"slow{number}.example.com") for number in range(lookups.MOST_AT_A_TIME)]
        patient, impatient = asking("honest.example.com"), asking("honest.example.com")
        await asyncio.sleep(0)
        assert lookups.under_way() == lookups.MOST_AT_A_TIME + 1
        for task in (impatient, *slow):
            task.cancel()
        await asyncio.wait([impatient, *slow])
        names.released.set()
        return await patient

    assert asyncio.run(run())[0][4] == ("127.0.0.1", 443)
    assert names.asked["honest.example.com"] == 1


def test_a_loop_that_ended_is_not_told_of_its_late_answer(names, caplog):
    with pytest.raises(ProviderError):
        send_now(
            HttpCall("GET", "https://slow.example.com/", {}, None),
            credential_headers={},
            timeout_seconds=0.1,
            reach=CUSTOM,
        )
    names.released.set()
    while lookups.under_way():
        time.sleep(0.01)

    assert not [record for record in caplog.records if record.levelname == "ERROR"]
