"""Calls of agents on a managed key: within the day's cap, which is looked at before each of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from asgiref.sync import sync_to_async

from gateway.callers import Target
from gateway.daily_cap import DailyCapReached, refuse_over_cap
from gateway.door.errors import DoorError, redirected
from gateway.ticket import Ticket
from gateway.writer import Writer
from organizations.tenancy import scope
from providers.adapters.exchange import ProviderError
from providers.adapters.kind_sentences import sentence_of
from usage.models import Mode


def managed_failure(error: ProviderError, status: int) -> DoorError:
    """What a provider's error on a managed key means, in our words and with its status."""
    return DoorError(
        status,
        "managed_key",
        f"{sentence_of(error.kind, 'The provider')} It was called with a managed key, which whoever runs this "
        "installation looks after.",
        can_retry=error.kind.is_temporary,
        retry_after_seconds=error.retry_after_seconds,
    )


def refuse_to_hand_on(status: int, mode: str, error: Callable[[], ProviderError]) -> None:
    """Raises DoorError for an error that no caller is to get as it is: see `managed_failure`, or a redirect."""
    if 300 <= status < 400:
        raise redirected()
    if status >= 400 and mode == Mode.MANAGED:
        raise managed_failure(error(), status)


class ManagedCaps:
    """
    Lets calls of one agent through one after the other until each is admitted, so that the next one counts it. Other
    processes do the same: together they overshoot the cap by less than one call each.
    """

    def __init__(self) -> None:
        self._turns: defaultdict[tuple[int, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def admit(self, writer: Writer, ticket: Ticket, target: Target) -> None:
        """Raises DoorError where the day's cap is reached."""
        if target.managed_calls_a_day is None or target.managed_nanousd_a_day is None:
            await writer.admit(ticket)
            return
        call = ticket.call
        async with self._turns[call.organization_id, call.facts.action]:

            def look() -> None:
                with scope(call.organization_id, "the calls of one agent"):
                    refuse_over_cap(
                        organization_id=call.organization_id,
                        agent=call.facts.action,
                        most_calls=target.managed_calls_a_day or 0,
                        most_nanousd=target.managed_nanousd_a_day or 0,
                        now=call.started_at,
                    )

            try:
                await sync_to_async(look)()
            except DailyCapReached as reached:
                raise DoorError(429, "managed_cap", str(reached), retry_after_seconds=reached.seconds) from None
            await writer.admit(ticket)
