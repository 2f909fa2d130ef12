"""Counting tokens: a provider does it for nothing, so it stands in no book and within no limit of tokens."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.door import headers as door_headers
from gateway.door.asgi import Send, send_whole
from gateway.door.bodies import LARGEST_BODY, MB
from gateway.door.calls import Way
from gateway.door.choice import Chosen
from gateway.door.endpoints import Endpoint
from gateway.door.errors import DoorError
from gateway.door.managed import not_handed_on
from providers.adapters.base import ProviderError
from providers.adapters.dialects.request import Request
from providers.catalog import PROVIDERS
from providers.custody.sealing import SealBroken
from providers.egress.client import Limits, open_call

LARGEST_COUNT = MB
LONGEST_SECONDS = 60.0


async def count(
    way: Way, endpoint: Endpoint, chosen: Chosen, request: Request, headers: Mapping[str, str], send: Send
) -> None:
    """Raises DoorError."""
    target = chosen.target
    adapter = PROVIDERS[target.facts.provider].adapter
    call = adapter.door_call(
        target.destination.base_url,
        endpoint.path_of(request, chosen.model),
        door_headers.upstream(headers, endpoint.wire),
        request.rewritten(model=chosen.model),
    )
    limits = Limits(min(way.timeout_seconds, LONGEST_SECONDS), LARGEST_COUNT, None, LARGEST_BODY + MB)
    try:
        answer = await open_call(
            way.egress,
            call,
            credential_headers=adapter.credential_headers(target.sealed_key.opened().open()),
            limits=limits,
            reach=target.destination.reach,
        )
        async with answer:
            whole = await answer.whole()
    except SealBroken as broken:
        raise DoorError(400, "key_unreadable", str(broken)) from None
    except ProviderError as error:
        raise DoorError(502, "upstream_failed", error.sentence, can_retry=True) from None
    if isinstance(whole, ProviderError):
        raise DoorError(502, "upstream_failed", whole.sentence, can_retry=True)
    if whole.status >= 300 and (refused := not_handed_on(adapter.failure(whole), whole, target.facts.mode)):
        raise refused
    await send_whole(send, whole.status, door_headers.downstream(whole.headers), whole.body)
