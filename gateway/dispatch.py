"""
The one door through which every model call leaves.

    prepare   finds what will run the call: key, destination, what its model refuses    (the database is read)
    ask       has the call admitted, a row that a crash cannot lose; opens the key, asks the provider, and has
              whatever comes of it settled: what was used and what it cost             (async; gateway.writer writes)

A call that is refused for an optional field of ours is asked again without it, as a call of its own, and the refusal
remembered for the key and model (`providers.keys.model_quirks`).

Nothing here knows of requests or tasks. A call is in the books before anybody looks at its answer, so that nothing
which fails afterwards can take a paid call out of them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.conf import settings

from gateway.ticket import INTERRUPTED, Outcome, Ticket
from gateway.writer import Writer
from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from providers.adapters.base import ChatRequest, ErrorKind, ProviderError
from providers.adapters.quirks import Quirk
from providers.adapters.reasons import reason
from providers.catalog import PROVIDERS
from providers.custody.inspection import tried_seal
from providers.custody.sealing import SealBroken, SealedKey
from providers.egress.client import send as send_call
from providers.egress.connections import Egress
from providers.keys.destinations import BaseUrlRefused, Destination, destination_of
from providers.keys.model_quirks import quirks_of, remember_quirks
from providers.models import UNREADABLE, ProviderKey
from routing.reasons import RouteReason, named_key, of_state
from routing.resolve import CLOSED, Route, RouteUnavailable
from usage.facts import Admission, CallFacts, deadline_of
from usage.models import Mode


@dataclass(frozen=True, slots=True)
class Planned:
    """A call that somebody is about to make."""

    route: Route
    run_id: uuid.UUID
    iteration: int = 1


def prepare(*, organization: Organization, route: Route, run_id: uuid.UUID, iteration: int, now: datetime) -> Ticket:
    """
    A ticket for one call on `route`. Raises RouteUnavailable when its key was removed, broke or belongs to somebody
    else, and when the organization was closed.

    The key is found from the organization that asks (or the platform, in Managed mode), never from the route alone.
    """
    (ticket,) = prepare_many(organization=organization, calls=[Planned(route, run_id, iteration)], now=now)
    if isinstance(ticket, RouteUnavailable):
        raise ticket
    return ticket


def prepare_many(
    *, organization: Organization, calls: Sequence[Planned], now: datetime
) -> list[Ticket | RouteUnavailable]:
    """A ticket for each of `calls`, or why there is none; each route is looked up once."""
    if not Organization.objects.filter(pk=organization.pk, closed_at=None).exists():
        return [RouteUnavailable(CLOSED) for _ in calls]
    opened = {route: _opened(organization, route) for route in {call.route for call in calls}}
    deadline_at = deadline_of(now, settings.KEYFARE_CALL_TIMEOUT_SECONDS)
    tickets: list[Ticket | RouteUnavailable] = []
    for call in calls:
        route = opened[call.route]
        if isinstance(route, RouteUnavailable):
            tickets.append(route)
            continue
        admission = Admission(
            id=uuid.uuid4(),
            organization_id=organization.pk,
            facts=route.facts,
            run_id=call.run_id,
            iteration=call.iteration,
            started_at=now,
            deadline_at=deadline_at,
            no_token_charges=route.no_token_charges,
            rule_version=call.route.rule_version,
        )
        tickets.append(
            Ticket(
                call=admission,
                sealed_key=route.sealed_key,
                key_organization_id=route.key_organization_id,
                secret_version=route.secret_version,
                destination=route.destination,
                quirks=route.quirks,
            )
        )
    return tickets


async def ask(
    client: Egress,
    writer: Writer,
    ticket: Ticket,
    request: ChatRequest,
    *,
    prepare_next: Callable[[int], Ticket] | None = None,
) -> Outcome:
    """
    Admit the call, ask the provider and settle. What a provider or a broken seal can cause is the outcome's error.

    Each optional field is left out or changed at most once; every refused call is settled, too. The calls after the
    first are prepared by `prepare_next`, which gets the number of the call; what it raises is passed on, and without it
    none follows. A bug of ours or the end of the task is raised, after the call was recorded as one that may have been
    billed.
    """
    outcome, learnt = await _ask_once(client, writer, ticket, request), dict[str, Quirk]()
    while prepare_next and outcome.refused is not None and outcome.refused.field not in learnt:
        learnt[outcome.refused.field] = outcome.refused
        try:
            following = await sync_to_async(prepare_next)(ticket.call.iteration + 1)
        except RouteUnavailable:
            break
        ticket = replace(following, quirks=(*ticket.quirks, outcome.refused))
        outcome = await _ask_once(client, writer, ticket, request)
    if learnt and outcome.result is not None:
        await sync_to_async(_remember)(ticket, learnt)
    return replace(outcome, iteration=ticket.call.iteration)


async def _ask_once(client: Egress, writer: Writer, ticket: Ticket, request: ChatRequest) -> Outcome:
    prepared = time.monotonic()
    await writer.admit(ticket)
    outcome = Outcome(error=INTERRUPTED)
    try:
        outcome = await send(client, ticket, request)
    finally:
        # The database's time without asking for it: since the call was prepared.
        now = ticket.call.started_at + timedelta(seconds=time.monotonic() - prepared)
        await writer.settle(ticket, outcome, now)
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
    """Ask the provider, no more. Whoever does not go through `ask` admits the call, and settles it in a `finally`."""
    adapter = PROVIDERS[ticket.call.facts.provider].adapter
    started = time.perf_counter()
    result = error = refused = first_byte_ms = None
    try:
        answer = await send_call(
            client,
            adapter.chat_call(ticket.destination.base_url, request, ticket.quirks),
            credential_headers=adapter.credential_headers(ticket.sealed_key.open()),
            timeout_seconds=settings.KEYFARE_CALL_TIMEOUT_SECONDS,
            reach=ticket.destination.reach,
        )
        first_byte_ms = answer.first_byte_ms
        try:
            result = adapter.parse_chat(answer)
        except ProviderError as said:
            error, refused = said, adapter.refused_option(answer, request, ticket.quirks)
    except SealBroken:
        error = ProviderError(ErrorKind.NEEDS_REENTRY, reason("unreadable"))
    except ProviderError as failed:
        error = failed
    return Outcome(
        result=result,
        error=error,
        latency_ms=round((time.perf_counter() - started) * 1000),
        first_byte_ms=first_byte_ms,
        refused=refused,
        output_limit=adapter.output_limit(request, ticket.quirks),
        iteration=ticket.call.iteration,
        input_parts=request.input_parts,
    )


def _behind_the_wall_of(organization_id: int, mode: str) -> int | str:
    """Whose keys are within reach: the organization's own only, unless the route is the platform's."""
    return organization_id if mode == Mode.BYOK else EVERY


@dataclass(frozen=True, slots=True)
class _Opened:
    """What calls on one route have in common."""

    facts: CallFacts
    sealed_key: SealedKey
    key_organization_id: int
    secret_version: int
    destination: Destination
    quirks: tuple[Quirk, ...]
    no_token_charges: bool


def _opened(organization: Organization, route: Route) -> _Opened | RouteUnavailable:
    with scope(_behind_the_wall_of(organization.pk, route.mode), "a managed key is the platform's"):
        try:
            key, sealed_key, destination = _open_route(organization, route)
        except RouteUnavailable as unavailable:
            return unavailable
        return _Opened(
            facts=replace(route.facts, key_label=key.label),
            sealed_key=sealed_key,
            key_organization_id=key.organization_id,
            secret_version=key.secret_version,
            destination=destination,
            quirks=quirks_of(key=key, model=route.model),
            no_token_charges=key.has_no_token_charges,
        )


def _open_route(organization: Organization, route: Route) -> tuple[ProviderKey, SealedKey, Destination]:
    """The key of `route`, what opens it, and where its calls go. Raises RouteUnavailable."""
    keys = ProviderKey.objects.select_related("organization").filter(pk=route.key_id, provider=route.provider)
    if route.mode == Mode.BYOK:
        key = keys.filter(organization=organization).first()
    else:
        key = keys.filter(organization__is_platform=True).first()
    named = named_key(route.provider, route.key_label, is_own=route.mode == Mode.BYOK)
    if key is None:
        raise RouteUnavailable(RouteReason("route.removed", {"key": named}))
    try:
        sealed_key = tried_seal(key)
    except SealBroken:
        status = RouteReason(f"key_status.{ProviderKey.Status.NEEDS_REENTRY.value}", {})
        unreadable = {"key": named, "status": status, "detail": UNREADABLE}
        raise RouteUnavailable(RouteReason("route.has_status", unreadable)) from None
    if not key.is_usable:
        raise RouteUnavailable(of_state("route.has_status", key, key=named))
    try:
        destination = destination_of(key)
    except BaseUrlRefused as refused:
        raise RouteUnavailable(RouteReason("route.refused", {"key": named, "why": refused.reason})) from None
    return key, sealed_key, destination
