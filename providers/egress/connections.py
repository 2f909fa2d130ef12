"""
Connections to providers: each is allowed or refused on its resolved address, in the moment before it exists.

No proxy or credentials from the environment, no cookies, at most 128 headers of 8 KiB, nothing unpacked. Through the
operator's proxy, the address is that of the proxy; the name is held to by its certificate.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

from providers.egress.addresses import ANYWHERE, Reach
from providers.egress.lookups import look_up

MOST_HEADERS, LONGEST_HEADER = 128, 8190
CONNECT_SECONDS = 5
OUR_HEADERS = {"user-agent": "Keyfare", "accept-encoding": "identity"}


class AddressRefused(OSError):
    """A connection attempt to an address outside the call's reach. Reads as "unreachable" everywhere."""


def open_socket(address: aiohttp.AddrInfoType, *, reach: Reach) -> socket.socket:
    """
    The socket for one connection attempt. Raises AddressRefused.

    Sees the resolved address of every attempt just before it is made (of names, rebound ones too, and of addresses
    written into the URL), so no connection exists that was not decided here.
    """
    family, kind, protocol, _, peer = address
    if family not in (socket.AF_INET, socket.AF_INET6) or not reach.permits(str(peer[0]), int(peer[1])):
        raise AddressRefused("address refused")
    return socket.socket(family=family, type=kind, proto=protocol)


class WholeAnswerResolver(AbstractResolver):
    """Refuses a name of which any address is out of reach: one honest address must not vouch for the others."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        rows = await look_up(host, port, family, is_custom=self._reach.is_custom)
        found = [(int(family), protocol, str(peer[0])) for family, _, protocol, _, peer in rows]
        if not all(self._reach.permits(address, port) for _, _, address in found):
            raise AddressRefused("address refused")
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": family,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for family, protocol, address in found
        ]

    async def close(self) -> None:
        """Keeps nothing."""


class Egress:
    """
    The connections of one event loop. It keeps connections and nothing else.

    Those of each reach are apart, so that a call never rides on a connection that was allowed for another one.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._sessions: dict[Reach, aiohttp.ClientSession] = {}

    def session(self, reach: Reach) -> aiohttp.ClientSession:
        if reach not in self._sessions:
            self._sessions[reach] = session = _session(reach)
            self._stack.push_async_callback(session.close)
        return self._sessions[reach]


@asynccontextmanager
async def open_client() -> AsyncIterator[Egress]:
    """For many calls at a time in one event loop."""
    async with AsyncExitStack() as stack:
        yield Egress(stack)


@dataclass(slots=True)
class Departure:
    """Whether a call has left: from then on its provider may work on it, and bill it, whatever comes back."""

    has_left: bool = False

    @classmethod
    def of_next_call(cls) -> Departure:
        """Of the call that this task makes next."""
        departure = cls()
        _departure.set(departure)
        return departure


_departure: ContextVar[Departure | None] = ContextVar("departure", default=None)


class _NotedRequest(aiohttp.ClientRequest):
    """Notes its departure once there is a connection; aiohttp's own tracing of that costs a tenth of a call."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        if departure := _departure.get():
            departure.has_left = True
        return await super().send(conn)


def _session(reach: Reach) -> aiohttp.ClientSession:
    connects_to = Reach(ANYWHERE.networks, frozenset({urlsplit(reach.proxy).port or 0})) if reach.proxy else reach
    connector = aiohttp.TCPConnector(
        limit=0,
        use_dns_cache=False,
        ssl=certificates(),
        resolver=WholeAnswerResolver(connects_to),
        socket_factory=partial(open_socket, reach=connects_to),
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=OUR_HEADERS,
        skip_auto_headers=("content-type",),
        # The deadline of each call is its own, and covers everything.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        request_class=_NotedRequest,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=MOST_HEADERS,
    )


@lru_cache(maxsize=1)
def certificates() -> ssl.SSLContext:
    """Built once: loading the certificates takes longer than most calls."""
    return httpx.create_ssl_context(trust_env=False)
