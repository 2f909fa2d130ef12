"""Calls of agents on a managed key: within the day's cap, which is looked at before each of them."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from gateway.callers import Target
from gateway.daily_cap import DailyCapReached, refuse_over_cap
from gateway.door.errors import DoorError, redirected
from gateway.ticket import Ticket
from gateway.writer import NotAdmittedInTime, Writer, admitted_by
from organizations.tenancy import scope
from providers.adapters.dialects.request import Request
from providers.adapters.exchange import HttpAnswer, ProviderError
from providers.adapters.kind_sentences import sentence_of
from providers.adapters.reading import text_of
from usage.facts import Admission, CallFacts
from usage.models import Mode
from usage.price_list import most_list_price

Agent = tuple[int, str]  # the organization's id, and the agent's slug

# More than that no model reads, or writes where nobody limits it.
MOST_INPUT_TOKENS = 2_000_000
MOST_OUTPUT_TOKENS = 128_000
# What a body names and does not hold: earlier responses, and what its provider fetches. Any letter can be escaped.
_NAMED = re.compile(r'"(?:previous_response_id|item_reference)"|"\s*(?:https?|gs):|\\u00[4-7]', re.IGNORECASE)
_RUN_BY_PROVIDERS = ("mcp_servers", "web_search_options")
_RUN_BY_CLIENTS = frozenset({"function", "custom"})
_DECLARED = frozenset({"functionDeclarations", "function_declarations"})


def not_handed_on(error: ProviderError, answer: HttpAnswer, mode: str) -> DoorError | None:
    """What the caller is told in the place of an error that none is to get as it is, with its status."""
    if 300 <= answer.status < 400:
        return redirected()
    if mode == Mode.MANAGED:  # the provider's own words are for the operator: they may tell of its account
        code = "managed_key"
        more = "It was called with a managed key, which whoever runs this installation looks after."
    elif answer.headers.get("content-encoding", "identity") not in ("", "identity"):  # whose bytes could be a bomb
        code, more = "upstream_compressed", "What it says is compressed, which was not asked for."
    else:
        return None
    return DoorError(
        answer.status,
        code,
        f"{sentence_of(error.kind, 'The provider')} {more}",
        can_retry=error.kind.is_temporary,
        retry_after_seconds=error.retry_after_seconds,
    )


class ManagedCaps:
    """
    Lets calls of one agent through one after the other until each is admitted, so that the next one counts it; what it
    may cost is reserved until it `ended`. Together they cost less than the cap and one call more. Other processes do
    the same, each for its own calls.
    """

    def __init__(self) -> None:
        self._turns: defaultdict[Agent, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reserved: defaultdict[Agent, dict[UUID, int]] = defaultdict(dict)  # nano-USD, by call

    async def admit(self, writer: Writer, ticket: Ticket, target: Target, request: Request) -> None:
        """Raises DoorError where the day's cap is reached, and NotAdmittedInTime."""
        by = admitted_by()
        if target.managed_calls_a_day is None or target.managed_nanousd_a_day is None:
            await writer.admit(ticket, by=by)
            return
        try:
            async with asyncio.timeout_at(by) as patience:
                await self._admit_capped(writer, ticket, target, request, patience, by)
        except TimeoutError:
            raise NotAdmittedInTime from None

    async def _admit_capped(
        self, writer: Writer, ticket: Ticket, target: Target, request: Request, patience: asyncio.Timeout, by: float
    ) -> None:
        call = ticket.call
        agent = _agent_of(call)
        async with self._turns[agent]:
            reserved = sum(self._reserved[agent].values())

            def look() -> None:
                with scope(call.organization_id, "the calls of one agent"):
                    refuse_over_cap(
                        organization_id=call.organization_id,
                        agent=call.facts.action,
                        most_calls=target.managed_calls_a_day or 0,
                        most_nanousd=target.managed_nanousd_a_day or 0,
                        reserved_nanousd=reserved,
                        now=call.started_at,
                    )

            try:
                await sync_to_async(look)()
            except DailyCapReached as reached:
                raise DoorError(
                    429,
                    "managed_cap",
                    str(reached),
                    can_retry=reached.can_retry,
                    retry_after_seconds=reached.seconds,
                ) from None
            patience.reschedule(None)  # the writer itself sees to it
            await writer.admit(ticket, by=by)
            self._reserved[agent][call.id] = most_nanousd(call.facts, request, at=call.started_at)

    def ended(self, call: Admission) -> None:
        """What it cost stands in the books."""
        if reserved := self._reserved.get(_agent_of(call)):
            reserved.pop(call.id, None)


def _agent_of(call: Admission) -> Agent:
    return call.organization_id, call.facts.action


def most_nanousd(facts: CallFacts, request: Request, *, at: datetime) -> int:
    """What a call may cost by the price list; 0 where that does not tell."""
    written = (request.most_output_tokens or MOST_OUTPUT_TOKENS) * request.answers
    sent = MOST_INPUT_TOKENS
    if not _brings_in_more(request):
        sent = min(len(request.body.text), sent)  # none is shorter than a character
    return max(
        most_list_price(
            provider=facts.provider,
            model=facts.model,
            input_tokens=sent,
            output_tokens=written,
            tier=tier,
            at=at,
        )
        or 0
        for tier in {"", text_of(request.body.value("service_tier"), 40), text_of(request.body.value("speed"), 40)}
    )


def _brings_in_more(request: Request) -> bool:
    """Whether a model may read more than the text of the request."""
    tools = request.body.value("tools")
    return (
        _NAMED.search(request.body.text) is not None
        or request.body.value(*_RUN_BY_PROVIDERS) is not None
        or (isinstance(tools, list) and not all(map(_is_run_by_client, tools)))
    )


def _is_run_by_client(tool: Any) -> bool:
    if not isinstance(tool, dict):
        return False
    kind = tool.get("type")
    return kind in _RUN_BY_CLIENTS if isinstance(kind, str) else "input_schema" in tool or tool.keys() <= _DECLARED
