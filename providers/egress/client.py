"""
The one way out: every call to a provider leaves through here.

Speed: httpx over aiohttp's transport (plain httpx falls to about 100 calls a second with 64 in flight).
Safety: every connection attempt is allowed or refused on its resolved address (through the operator's proxy, on that
of the proxy; the name is held to by its certificate), no proxy or credentials from the environment, no redirects, no
cookies, no compression, one wall-clock deadline over connecting, headers and body, at most 128 headers of 8 KiB, and a
byte budget counted on the stream. Whatever fails becomes a ProviderError whose text and chain hold nothing of the key.
An address that is refused reads, and takes as long, as one where nobody answers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.adapters.error_body import LARGEST_ERROR_BODY
from providers.egress.addresses import ANYWHERE, PUBLIC, Reach
from providers.egress.echoes import without_echoes
from providers.egress.lookups import look_up

logger = logging.getLogger(__name__)

LARGEST_BODY = 8 * 1024 * 1024  # of which Python's text takes up to four times as much
LARGEST_REQUEST = 10 * 1024 * 1024
MOST_HEADERS, LONGEST_HEADER = 128, 8190
CONNECT_SECONDS = 5
# No connection to a server that an organization named fails faster, whatever the reason.
FASTEST_FAILURE_SECONDS = 1.0

CHECK_CONNECTION = "Check this server's internet connection and try again in a while."
CHECK_PROXY = (
    "This installation's calls leave through a proxy. Try again in a while; if it stays so, tell whoever runs it."
)
CHECK_CUSTOM = (
    "Check the base URL and that the server runs. One in a private network has to be allowed by whoever runs this "
    "installation."
)


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
        self._clients: dict[Reach, httpx.AsyncClient] = {}

    async def client(self, reach: Reach) -> httpx.AsyncClient:
        if reach not in self._clients:
            client = _client(reach)
            self._clients[reach] = client  # before anything is awaited: calls ask for it at the same time
            self._stack.push_async_callback(client.aclose)
        return self._clients[reach]


@asynccontextmanager
async def open_client() -> AsyncIterator[Egress]:
    """For many calls at a time in one event loop."""
    async with AsyncExitStack() as stack:
        yield Egress(stack)


@dataclass(slots=True)
class Departure:
    """Whether a call has left: from then on its provider may work on it, and bill it, whatever comes back."""

    has_left: bool = False


_departure: ContextVar[Departure | None] = ContextVar("departure", default=None)


async def _note_departure(session: aiohttp.ClientSession, context: object, parameters: object) -> None:
    if departure := _departure.get():
        departure.has_left = True


def _client(reach: Reach) -> httpx.AsyncClient:
    certificates = _certificates()
    proxy = httpx.Proxy(reach.proxy) if reach.proxy else None
    connects_to = Reach(ANYWHERE.networks, frozenset({urlsplit(reach.proxy).port or 0})) if proxy else reach
    connector = aiohttp.TCPConnector(
        limit=0,
        use_dns_cache=False,
        ssl=certificates,
        resolver=WholeAnswerResolver(connects_to),
        socket_factory=partial(open_socket, reach=connects_to),
    )
    departures = aiohttp.TraceConfig()
    departures.on_request_headers_sent.append(_note_departure)
    session = aiohttp.ClientSession(
        connector=connector,
        trace_configs=[departures],
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=MOST_HEADERS,
    )
    return httpx.AsyncClient(
        transport=AiohttpTransport(client=session, verify=certificates, trust_env=False, proxy=proxy),
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [_forget_location]},
        # The deadline of each call is its own, and covers everything.
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"user-agent": "Keyfare", "accept-encoding": "identity"},
    )


async def _forget_location(response: httpx.Response) -> None:
    """httpx prepares the next request, key and all, even where it does not make it; and fails on odd locations."""
    response.headers.pop("location", None)


async def send(
    egress: Egress,
    call: HttpCall,
    *,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int = LARGEST_BODY,
    reach: Reach = PUBLIC,
) -> HttpAnswer:
    """
    Make one call and read the whole answer, whatever its status; of an error's body at most 64 KiB.

    `reach` is where the call may connect to; `timeout_seconds` is wall clock over everything. Raises ProviderError:
    UNREACHABLE if no whole answer came in time, UNEXPECTED if it was larger than `max_bytes`, compressed, or could
    not be asked for.
    """
    outcome = await _attempt(egress, call, credential_headers, timeout_seconds, max_bytes, reach)
    if isinstance(outcome, HttpAnswer):
        return outcome
    del credential_headers  # so that no traceback's frame holds the key
    raise outcome


def send_now(
    call: HttpCall,
    *,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int = LARGEST_BODY,
    reach: Reach = PUBLIC,
) -> HttpAnswer:
    """`send` for code that is not asynchronous: one call in an event loop of its own."""
    once = partial(_attempt_alone, call, credential_headers, timeout_seconds, max_bytes, reach)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        outcome = asyncio.run(once())
    else:  # a loop already runs in this thread
        with ThreadPoolExecutor(max_workers=1) as thread:
            outcome = thread.submit(asyncio.run, once()).result()
    if isinstance(outcome, HttpAnswer):
        return outcome
    del credential_headers, once
    raise outcome


async def _attempt_alone(
    call: HttpCall, credential_headers: Mapping[str, str], timeout_seconds: float, max_bytes: int, reach: Reach
) -> HttpAnswer | ProviderError:
    async with open_client() as egress:
        return await _attempt(egress, call, credential_headers, timeout_seconds, max_bytes, reach)


async def _attempt(
    egress: Egress,
    call: HttpCall,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int,
    reach: Reach,
) -> HttpAnswer | ProviderError:
    """The answer, or what went wrong: returned, as an error raised here would carry frames and a chain."""
    started = time.monotonic()
    outcome = await _attempt_in_time(egress, call, credential_headers, timeout_seconds, max_bytes, reach)
    if reach.is_custom and isinstance(outcome, ProviderError):
        floor = min(FASTEST_FAILURE_SECONDS, timeout_seconds)
        await asyncio.sleep(max(0.0, floor - (time.monotonic() - started)))
    return outcome


async def _attempt_in_time(
    egress: Egress,
    call: HttpCall,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int,
    reach: Reach,
) -> HttpAnswer | ProviderError:
    host = "The provider"
    departure = Departure()
    _departure.set(departure)  # each attempt runs in a task or a loop of its own, or one after the other
    try:
        host = urlsplit(call.url).hostname or host
        async with asyncio.timeout(timeout_seconds):
            client = await egress.client(reach)
            return await _exchange(client, call, credential_headers, max_bytes, host)
    except TimeoutError:
        return ProviderError(
            ErrorKind.UNREACHABLE,
            f"{host} did not answer within {round(timeout_seconds, 1):g} seconds. Try again in a while.",
            may_have_run=departure.has_left,
        )
    except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
        logger.info("No connection to %s: %s", host, type(error).__name__)
        return ProviderError(
            ErrorKind.UNREACHABLE,
            f"{host} could not be reached. {_what_to_check(reach)}",
            may_have_run=departure.has_left,
        )
    except Exception as error:  # whatever it is, its text may hold a header
        logger.error("A call to %s could not be made: %s", host, type(error).__name__)
        return ProviderError(
            ErrorKind.UNEXPECTED,
            f"The call to {host} could not be made. Try again; if it stays so, tell whoever runs this installation.",
            may_have_run=departure.has_left,
        )


def _what_to_check(reach: Reach) -> str:
    if reach.is_custom:
        return CHECK_CUSTOM
    return CHECK_PROXY if reach.proxy else CHECK_CONNECTION


async def _exchange(
    client: httpx.AsyncClient,
    call: HttpCall,
    credential_headers: Mapping[str, str],
    max_bytes: int,
    host: str,
) -> HttpAnswer | ProviderError:
    if not all(value.isascii() and value.isprintable() for value in credential_headers.values()):
        return ProviderError(
            ErrorKind.UNEXPECTED,
            "The key holds characters that no key has and that cannot be sent. Paste it again.",
        )
    if call.body is not None and len(call.body) > LARGEST_REQUEST:
        return ProviderError(
            ErrorKind.BAD_REQUEST, "The text is longer than any model takes. Shorten the profile or the briefing."
        )
    request = client.build_request(
        call.method, call.url, headers={**call.headers, **credential_headers}, content=call.body
    )
    response = await client.send(request, stream=True)
    try:
        is_error = response.status_code >= 300
        encoding = response.headers.get("content-encoding", "identity")
        if encoding not in ("", "identity") and not is_error:
            return ProviderError(
                ErrorKind.UNEXPECTED,
                f"{host} sent a compressed answer, which was not asked for. Try again in a while.",
                http_status=response.status_code,
                may_have_run=True,
            )
        budget = min(max_bytes, LARGEST_ERROR_BODY) if is_error else max_bytes
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > budget:
                if is_error:
                    del body[budget:]
                    break
                return ProviderError(
                    ErrorKind.UNEXPECTED,
                    f"{host} sent an answer of more than {max_bytes} bytes. Choose another model for the action.",
                    sentence_of_key=f"{host} sent an answer of more than {max_bytes} bytes. Try again in a while.",
                    http_status=response.status_code,
                    may_have_run=True,
                )
        named = {name.lower(): value for name, value in response.headers.items()}
        content, headers = without_echoes(bytes(body), named, credential_headers=credential_headers)
        return HttpAnswer(response.status_code, headers, content)
    finally:
        await response.aclose()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Built once: loading the certificates takes longer than most calls."""
    return httpx.create_ssl_context(trust_env=False)
