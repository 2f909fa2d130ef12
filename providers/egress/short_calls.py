"""One call at a time, in an event loop of its own: validation, lists of models, reports. By httpx."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from httpx_aiohttp import AiohttpTransport

from providers.adapters.base import HttpAnswer, HttpCall, ProviderError
from providers.egress.addresses import PUBLIC, Reach
from providers.egress.client import LARGEST_BODY, Head, Limits, whole_answer
from providers.egress.connections import CONNECT_SECONDS, OUR_HEADERS, Egress, certificates, open_client


def send_now(
    call: HttpCall,
    *,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int = LARGEST_BODY,
    reach: Reach = PUBLIC,
) -> HttpAnswer:
    """`client.send` for code that is not asynchronous; raises the same."""
    once = partial(_alone, call, credential_headers, Limits(timeout_seconds, max_bytes), reach)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        outcome = asyncio.run(once())
    else:  # a loop already runs in this thread
        with ThreadPoolExecutor(max_workers=1) as thread:
            outcome = thread.submit(asyncio.run, once()).result()
    if isinstance(outcome, HttpAnswer):
        return outcome
    del credential_headers, once  # so that no traceback's frame holds the key
    raise outcome


async def _alone(
    call: HttpCall, credential_headers: Mapping[str, str], limits: Limits, reach: Reach
) -> HttpAnswer | ProviderError:
    async with open_client() as egress:
        return await whole_answer(by_httpx, egress, call, credential_headers, limits, reach)


def client(egress: Egress, reach: Reach) -> httpx.AsyncClient:
    """httpx over the connections of `egress`."""
    proxy = httpx.Proxy(reach.proxy) if reach.proxy else None
    return httpx.AsyncClient(
        transport=AiohttpTransport(client=egress.session(reach), verify=certificates(), trust_env=False, proxy=proxy),
        trust_env=False,
        follow_redirects=False,
        event_hooks={"response": [_forget_location]},
        # The deadline of each call is its own, and covers everything.
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers=OUR_HEADERS,
    )


async def by_httpx(egress: Egress, reach: Reach, call: HttpCall, sent: Mapping[str, str]) -> Head:
    asking = client(egress, reach)  # closing it would close the connections, which are not its own
    request = asking.build_request(call.method, call.url, headers=dict(sent), content=call.body)
    response = await asking.send(request, stream=True)
    chunks = response.aiter_raw()

    async def read() -> bytes:
        return await anext(chunks, b"")

    headers = {name.lower(): value for name, value in response.headers.items()}
    return Head(response.status_code, headers, read, response.aclose)


async def _forget_location(response: httpx.Response) -> None:
    """httpx prepares the next request, key and all, even where it does not make it; and fails on odd locations."""
    response.headers.pop("location", None)
