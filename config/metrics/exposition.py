"""
`/metrics`, for Prometheus: before the doors and the pages, with a token of its own and without a session.

Everything that is told of calls and work comes from the database, so that it is the same whichever process is asked;
of the process that answers there is what the database cannot know. Nobody is named: no organization, no token, no run,
and a model only by the name that the price list has for it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from django.db import DatabaseError, connections
from prometheus_client import CollectorRegistry, GCCollector, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from config.metrics.counting import count_new_calls
from config.metrics.families import of_calls, of_now, of_the_build
from gateway.door.application import Door
from gateway.door.asgi import Application, Headers, Receive, Scope, Send, send_whole
from organizations.tenancy import EVERY, scope

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 8.0  # Prometheus has ten
NEVER_KEPT: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
TEXT = b"text/plain; charset=utf-8"


class Metrics:
    """Answers GET and HEAD of /metrics to who has the token, and leaves all else to `application`."""

    path = "/metrics"

    def __init__(self, application: Application, door: Door, token: str) -> None:
        self._application, self._token = application, token.encode()
        self._registry = CollectorRegistry()
        self._registry.register(_OfTheInstallation())
        self._registry.register(_OfTheDoor(door))
        for of_the_process in (ProcessCollector, PlatformCollector, GCCollector):
            of_the_process(registry=self._registry)
        self._thread = ThreadPoolExecutor(1, "metrics")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self._application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["method"] not in ("GET", "HEAD"):
            await _say(send, 405, b"Only GET.\n", (b"allow", b"GET, HEAD"))
        elif not self._may_read(headers.get(b"authorization", b"")):
            sentence = b"Send KEYFARE_METRICS_TOKEN as a Bearer token.\n"
            await _say(send, 401, sentence, (b"www-authenticate", b"Bearer"))
        else:
            await self._tell(send, headers.get(b"accept", b"").decode("latin-1"))

    def _may_read(self, authorization: bytes) -> bool:
        kind, _, token = authorization.partition(b" ")
        return kind.lower() == b"bearer" and secrets.compare_digest(token.strip(), self._token)

    async def _tell(self, send: Send, accepted: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                kind, body = await loop.run_in_executor(self._thread, self._text, accepted)
        except TimeoutError:
            await _say(send, 503, b"The database takes too long.\n")
            return
        await send_whole(send, 200, [(b"content-type", kind.encode()), *NEVER_KEPT], body)

    def _text(self, accepted: str) -> tuple[str, bytes]:
        try:
            encode, kind = choose_encoder(accepted)
        except (TypeError, ValueError):  # a version that is no number
            encode, kind = choose_encoder("")
        return kind, encode(self._registry)


async def _say(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send_whole(send, status, [(b"content-type", TEXT), *NEVER_KEPT, *headers], body)


class _OfTheInstallation(Collector):
    """Runs in a thread of its own, whose connection it gives back."""

    def collect(self) -> Iterator[Metric]:
        found: list[Metric] = []
        try:
            with scope(EVERY, "metrics are of the whole installation"):
                count_new_calls()
                found = [*of_calls(), *of_now()]
        except DatabaseError as error:
            logger.warning("Metrics lack what the database knows: %s", error)
        finally:
            connections.close_all()
        yield GaugeMetricFamily("keyfare_database_up", "1: the database answers.", value=1 if found else 0)
        yield of_the_build()
        yield from found


class _OfTheDoor(Collector):
    """What only the process knows: its part of the gateway."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def collect(self) -> Iterator[Metric]:
        load = self._door.load
        for name, about, value in (
            ("calls", "Calls through the doors of this process that are under way.", load.calls),
            ("most_calls", "As many as it takes; the next one gets 503.", load.most_calls),
            ("writes_waiting", "Admissions and ends of calls that are not in the books yet.", load.writes_waiting),
        ):
            yield GaugeMetricFamily(f"keyfare_process_{name}", about, value=value)
