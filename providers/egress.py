"""
The one way out: every call to a provider leaves through here.

Speed: httpx over aiohttp's transport (plain httpx falls to about 100 calls a second with 64 in flight).
Safety: no proxy or credentials from the environment, no redirects, no cookies, no compression, one wall-clock
deadline over connecting, headers and body, and a byte budget counted on the stream. Whatever fails becomes a
ProviderError whose text and chain hold nothing of the key.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.adapters.error_body import LARGEST_ERROR_BODY

logger = logging.getLogger(__name__)

LARGEST_BODY = 32 * 1024 * 1024


def open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """
    The socket for one connection attempt.

    Sees the resolved address of every attempt just before it is made, so this is the place that refuses
    addresses.
    """
    family, kind, protocol, _, _ = address
    return socket.socket(family=family, type=kind, proto=protocol)


@asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    """A client for many calls at a time in one event loop; it keeps connections and nothing else."""
    certificates = _certificates()
    connector = aiohttp.TCPConnector(limit=0, use_dns_cache=False, ssl=certificates, socket_factory=open_socket)
    session = aiohttp.ClientSession(
        connector=connector, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    )
    transport = AiohttpTransport(client=session, verify=certificates, trust_env=False)
    async with httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # the deadline of each call is its own  # noqa: S113
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"user-agent": "Keyfare", "accept-encoding": "identity"},
    ) as client:
        yield client


async def send(
    client: httpx.AsyncClient,
    call: HttpCall,
    *,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int = LARGEST_BODY,
) -> HttpAnswer:
    """
    Make one call and read the whole answer, whatever its status; of an error's body at most 64 KiB.

    `timeout_seconds` is wall clock over everything. Raises ProviderError: UNREACHABLE if no whole answer came
    in time, UNEXPECTED if it was larger than `max_bytes`, compressed, or could not be asked for.
    """
    outcome = await _attempt(client, call, credential_headers, timeout_seconds, max_bytes)
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
) -> HttpAnswer:
    """`send` for code that is not asynchronous: one call in an event loop of its own."""
    once = partial(_attempt_alone, call, credential_headers, timeout_seconds, max_bytes)
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
    call: HttpCall, credential_headers: Mapping[str, str], timeout_seconds: float, max_bytes: int
) -> HttpAnswer | ProviderError:
    async with open_client() as client:
        return await _attempt(client, call, credential_headers, timeout_seconds, max_bytes)


async def _attempt(
    client: httpx.AsyncClient,
    call: HttpCall,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int,
) -> HttpAnswer | ProviderError:
    """The answer, or what went wrong: returned, as an error raised here would carry frames and a chain."""
    host = urlsplit(call.url).hostname or "The provider"
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _exchange(client, call, credential_headers, max_bytes, host)
    except TimeoutError:
        return ProviderError(
            ErrorKind.UNREACHABLE,
            f"{host} did not answer within {timeout_seconds:g} seconds. Try again in a while.",
        )
    except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
        logger.info("No connection to %s: %s", host, type(error).__name__)
        return ProviderError(
            ErrorKind.UNREACHABLE,
            f"{host} could not be reached. Check this server's internet connection and try again in a while.",
        )
    except Exception as error:  # whatever it is, its text may hold a header
        logger.error("A call to %s could not be made: %s", host, type(error).__name__)
        return ProviderError(
            ErrorKind.UNEXPECTED,
            f"The call to {host} could not be made. Try again; if it stays so, tell whoever runs this installation.",
        )


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
                    http_status=response.status_code,
                )
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(response.status_code, headers, bytes(body))
    finally:
        await response.aclose()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Built once: loading the certificates takes longer than most calls."""
    return httpx.create_ssl_context(trust_env=False)
