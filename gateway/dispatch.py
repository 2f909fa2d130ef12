"""
The one door through which every model call leaves.

    prepare   admits the call: what will run it, and a row that a crash cannot lose     (short transaction)
    ask       opens the key, asks the provider, settles whatever comes of it            (async)
    settle    writes what was used and what it cost, removes the admission row          (own transaction, idempotent)

A call that is refused for an optional field of ours is asked again without it, as a call of its own, and the refusal
remembered for the key and model (`providers.keys.model_quirks`).

Nothing here knows of requests or tasks. A call is in the books before anybody looks at its answer, so that nothing
which fails afterwards can take a paid call out of them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction

from gateway.ticket import Ticket
from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from providers.adapters.base import ChatRequest, ChatResult, ErrorKind, ProviderError
from providers.adapters.quirks import Quirk
from providers.catalog import PROVIDERS
from providers.custody import sealing
from providers.custody.inspection import show_unreadable
from providers.custody.sealing import SealBroken, SealedKey
from providers.egress.client import send as send_call
from providers.egress.connections import Egress
from providers.keys.destinations import BaseUrlRefused, Destination, destination_of
from providers.keys.model_quirks import quirks_of, remember_quirks
from providers.keys.validation import mark_key_refused, note_key_used
from providers.models import ProviderKey
from routing.resolve import CLOSED, Route, RouteUnavailable
from usage.metering import Finished, admit_call, record_calls
from usage.models import Mode, UsageEvent
from usage.tokens import NOTHING_SAID, Report

# Added to the call's own deadline before its admission counts as left behind by a crash.
SETTLE_GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a call: exactly one of `result` and `error` is set.

    `refused` is the optional field that the error is about, if it is about one; `output_limit` the limit in tokens that
    was sent; `iteration` the number of the last call, where one led to another.
    """

    result: ChatResult | None = None
    error: ProviderError | None = None
    latency_ms: int = 0
    refused: Quirk | None = None
    output_limit: int | None = None
    iteration: int = 1

    @property
    def report(self) -> Report:
        """What the answer says of itself, of whichever kind it is."""
        answer = self.result or self.error
        return answer.report if answer else NOTHING_SAID


INTERRUPTED = ProviderError(
    ErrorKind.UNEXPECTED,
    "The call was interrupted here. Try again; if it stays so, tell whoever runs this installation.",
    may_have_run=True,
)


def prepare(*, organization: Organization, route: Route, run_id: uuid.UUID, iteration: int, now: datetime) -> Ticket:
    """
    Admit one call on `route`. Raises RouteUnavailable when its key was removed, broke or belongs to somebody else, and
    when the organization was closed.

    The key is found from the organization that asks (or the platform, in Managed mode), never from the route alone.
    """
    if not Organization.objects.filter(pk=organization.pk, closed_at=None).exists():
        raise RouteUnavailable(CLOSED)
    with scope(_behind_the_wall_of(organization.pk, route.mode), "a managed key is the platform's"):
        key, sealed_key, destination = _open_route(organization, route)
        quirks = quirks_of(key=key, model=route.model)
    call = admit_call(
        organization_id=organization.pk,
        facts=replace(route.facts, key_label=key.label),
        run_id=run_id,
        iteration=iteration,
        no_token_charges=key.has_no_token_charges,
        now=now,
        deadline_at=now + timedelta(seconds=settings.KEYFARE_CALL_TIMEOUT_SECONDS) + SETTLE_GRACE,
    )
    return Ticket(
        call=call,
        sealed_key=sealed_key,
        key_organization_id=key.organization_id,
        secret_version=key.secret_version,
        destination=destination,
        quirks=quirks,
    )


async def ask(
    client: Egress,
    ticket: Ticket,
    request: ChatRequest,
    *,
    prepare_next: Callable[[int], Ticket] | None = None,
) -> Outcome:
    """
    Ask the provider and settle the call. What a provider or a broken seal can cause is the outcome's error.

    Each optional field is left out or changed at most once; every refused call is settled, too. The calls after the
    first are admitted by `prepare_next`, which gets the number of the call; what it raises is passed on, and without it
    none follows. A bug of ours or the end of the task is raised, after the call was recorded as one that may have been
    billed.
    """
    outcome, learnt = await _ask_once(client, ticket, request), dict[str, Quirk]()
    while prepare_next and outcome.refused is not None and outcome.refused.field not in learnt:
        learnt[outcome.refused.field] = outcome.refused
        try:
            following = await sync_to_async(prepare_next)(ticket.call.iteration + 1)
        except RouteUnavailable:
            break
        ticket = replace(following, quirks=(*ticket.quirks, outcome.refused))
        outcome = await _ask_once(client, ticket, request)
    if learnt and outcome.result is not None:
        await sync_to_async(_remember)(ticket, learnt)
    return replace(outcome, iteration=ticket.call.iteration)


async def _ask_once(client: Egress, ticket: Ticket, request: ChatRequest) -> Outcome:
    outcome, admitted = Outcome(error=INTERRUPTED), time.monotonic()
    try:
        outcome = await send(client, ticket, request)
    finally:
        # The database's time without asking for it: since it admitted the call.
        now = ticket.call.started_at + timedelta(seconds=time.monotonic() - admitted)
        await asyncio.shield(sync_to_async(settle)(ticket=ticket, outcome=outcome, now=now))
    return outcome


def _remember(ticket: Ticket, learnt: dict[str, Quirk]) -> None:
    with scope(
        _behind_the_wall_of(ticket.call.organization_id, ticket.call.facts.mode), "a managed key is the platform's"
    ):
        remember_quirks(
            organization_id=ticket.key_organization_id,
            key_id=ticket.call.facts.key_id,
            secret_version=ticket.secret_version,
            model=ticket.call.facts.model,
            quirks=learnt.values(),
        )


async def send(client: Egress, ticket: Ticket, request: ChatRequest) -> Outcome:
    """Ask the provider, no more. Whoever does not go through `ask` settles the call in a `finally`."""
    adapter = PROVIDERS[ticket.call.facts.provider].adapter
    started = time.perf_counter()
    result = error = refused = None
    try:
        answer = await send_call(
            client,
            adapter.chat_call(ticket.destination.base_url, request, ticket.quirks),
            credential_headers=adapter.credential_headers(ticket.sealed_key.open()),
            timeout_seconds=settings.KEYFARE_CALL_TIMEOUT_SECONDS,
            reach=ticket.destination.reach,
        )
        try:
            result = adapter.parse_chat(answer)
        except ProviderError as said:
            error, refused = said, adapter.refused_option(answer, request, ticket.quirks)
    except SealBroken as broken:
        error = ProviderError(ErrorKind.NEEDS_REENTRY, str(broken))
    except ProviderError as failed:
        error = failed
    return Outcome(
        result=result,
        error=error,
        latency_ms=round((time.perf_counter() - started) * 1000),
        refused=refused,
        output_limit=adapter.output_limit(request, ticket.quirks),
        iteration=ticket.call.iteration,
    )


def settle(*, ticket: Ticket, outcome: Outcome, now: datetime) -> UsageEvent:
    """
    Record the call, in a transaction of its own; then what a refusal says of the key, in another one.

    Settling twice returns the first event. Raises RuntimeError inside a transaction, which could undo the record.
    """
    call = ticket.call
    with scope(call.organization_id, "the books of the organization that asked"):
        with transaction.atomic(durable=True):
            (event,) = record_calls([finished(ticket, outcome)])
        if call.facts.mode == Mode.BYOK:
            _note_on_key(ticket, outcome.error, now)
    if call.facts.mode != Mode.BYOK:
        with scope(EVERY, "a managed key is the platform's"):
            _note_on_key(ticket, outcome.error, now)
    return event


def finished(ticket: Ticket, outcome: Outcome) -> Finished:
    """What is written of a call that ended so."""
    error = outcome.error
    return Finished(
        call=ticket.call,
        status=UsageEvent.Status.FAILED if outcome.result is None else UsageEvent.Status.ANSWERED,
        latency_ms=outcome.latency_ms,
        report=outcome.report,
        http_status=error.http_status if error else 200,
        error_kind=error.kind if error else "",
        may_have_run=error.may_have_run if error else False,
    )


def _note_on_key(ticket: Ticket, error: ProviderError | None, now: datetime) -> None:
    note_key_used(key_id=ticket.call.facts.key_id, now=now)
    if error is not None:
        mark_key_refused(
            key_id=ticket.call.facts.key_id,
            secret_version=ticket.secret_version,
            kind=error.kind,
            detail=error.sentence_of_key,
            now=now,
        )


def _behind_the_wall_of(organization_id: int, mode: str) -> int | str:
    """Whose keys are within reach: the organization's own only, unless the route is the platform's."""
    return organization_id if mode == Mode.BYOK else EVERY


def _open_route(organization: Organization, route: Route) -> tuple[ProviderKey, SealedKey, Destination]:
    """The key of `route`, what opens it, and where its calls go. Raises RouteUnavailable."""
    keys = ProviderKey.objects.select_related("organization").filter(pk=route.key_id, provider=route.provider)
    if route.mode == Mode.BYOK:
        key = keys.filter(organization=organization).first()
    else:
        key = keys.filter(organization__is_platform=True).first()
    provider = PROVIDERS[route.provider].name
    # How the operator calls its keys is no business of customers.
    name = f"Your {provider} key “{route.key_label}”" if route.mode == Mode.BYOK else f"The managed {provider} key"
    if key is None:
        raise RouteUnavailable(f"{name} was removed.")
    show_unreadable([key])
    if not key.is_usable:
        raise RouteUnavailable(f"{name} has the status {key.get_status_display()}. {key.status_detail}".strip())
    try:
        sealed_key = sealing.sealed_key(key)
        destination = destination_of(key)
    except SealBroken as broken:
        raise RouteUnavailable(f"{name} has the status Needs re-entry. {broken}") from None
    except BaseUrlRefused as refused:
        raise RouteUnavailable(f"{name} cannot be used. {refused}") from None
    return key, sealed_key, destination
