"""
Receipts are read from the books here.

A call is named by the id of its first attempt; the id of any other attempt leads to the same receipt. What only apps
above know (keys, agents, the words of an error) comes from a `Directory`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from django.db.models import Q

from organizations.models import ApiToken, Membership, Organization
from usage.anatomy import NAMES
from usage.audience import sees_usd
from usage.measures import PARTS
from usage.metering import ended_after_all
from usage.models import InFlightCall, Mode, UsageEvent
from usage.price_list import list_prices
from usage.pricing import Price
from usage.receipts import Attempt, Correction, Key, KeyNow, Known, Person, Receipt, TokenClass
from usage.tokens import TokenUsage

Status, Source, NoPrice = UsageEvent.Status, UsageEvent.PriceSource, UsageEvent.NoPrice

# What a status says beside the error, if there is one.
SAID_OF = {
    Status.LOST: "Nobody noted how this call ended: whoever made it died, or its time ran out.",
    Status.CUT_OFF: "The answer ended before it was whole.",
    Status.CANCELLED: "Whoever asked hung up before the answer had ended.",
    Status.BROKE: "The answer ended with an error of the provider.",
}


class Directory(Protocol):
    """What the apps above know of what the books hold by id or slug."""

    def key(self, key_id: uuid.UUID, at: datetime) -> KeyNow: ...

    def action(self, slug: str) -> str: ...

    def error(self, kind: str, provider: str) -> str: ...

    def is_own_model(self, run_id: uuid.UUID) -> bool: ...


def read_receipt(*, organization: Organization, call_id: uuid.UUID, directory: Directory) -> Receipt | None:
    """None where the organization has no such call."""
    events = UsageEvent.objects.for_organization(organization)
    waiting = InFlightCall.objects.for_organization(organization)
    # A call that ends meanwhile goes from the one table to the other, and is in at least one of these answers.
    asked = waiting.filter(pk=call_id).first() or events.filter(call_id=call_id, revision=0).first()
    if asked is None:
        return None
    first_id = asked.attempt_of or call_id
    under_way = list(waiting.filter(Q(pk=first_id) | Q(attempt_of=first_id)).order_by("attempt"))
    ids = [first_id, *events.filter(attempt_of=first_id, revision=0).values_list("call_id", flat=True)]
    ended = list(events.filter(call_id__in=[*ids, *map(ended_after_all, ids)]).order_by("attempt", "occurred_at", "id"))
    recorded = {event.call_id for event in ended}
    calls: list[UsageEvent | InFlightCall] = [
        *(event for event in ended if event.revision == 0),
        *(call for call in under_way if call.pk not in recorded),
    ]
    return _receipt(organization, first_id, calls or [asked], [event for event in ended if event.revision], directory)


def _receipt(
    organization: Organization,
    call_id: uuid.UUID,
    calls: Sequence[UsageEvent | InFlightCall],
    corrections: Iterable[UsageEvent],
    directory: Directory,
) -> Receipt:
    first = calls[0]
    at = _left_at(first)
    return Receipt(
        call_id=call_id,
        organization=organization.slug,
        action=first.action,
        action_name=directory.action(first.action),
        run_id=first.run_id,
        iteration=first.iteration,
        at=at,
        key=Key(first.key_label, directory.key(first.key_id, at)) if first.mode == Mode.BYOK else None,
        rule_version=first.rule_version,
        is_own_model=_may_be_own_model(first) and directory.is_own_model(first.run_id),
        token_id=first.token_id,
        token=_token(organization, first.token_id),
        member=_member(organization, first.member_id),
        labels=dict(first.labels),
        attempts=tuple(_attempt(call, directory) for call in calls),
        corrections=tuple(_correction(event) for event in corrections),
    )


def _may_be_own_model(call: UsageEvent | InFlightCall) -> bool:
    return call.mode == Mode.BYOK and call.rule_version is None and call.token_id is None


def _left_at(call: UsageEvent | InFlightCall) -> datetime:
    return call.occurred_at if isinstance(call, UsageEvent) else call.started_at


def _token(organization: Organization, token_id: int | None) -> str | None:
    if token_id is None:
        return None
    return ApiToken.objects.for_organization(organization).filter(pk=token_id).values_list("name", flat=True).first()


def _member(organization: Organization, member_id: int | None) -> Person | None:
    """Who is a member still: of who left the organization, others are told no more."""
    if member_id is None:
        return None
    members = Membership.objects.for_organization(organization).filter(user=member_id).select_related("user")
    found = members.first()
    return Person(found.user.get_full_name(), found.user.email) if found else None


def _attempt(call: UsageEvent | InFlightCall, directory: Directory) -> Attempt:
    if isinstance(call, InFlightCall):
        return Attempt(call.pk, call.attempt, call.started_at, call.provider, call.model, call.mode, call.is_stream)
    cost = _cost(call) if sees_usd(call.mode) else None
    status = Status(call.status)
    kind = call.error_beside_status
    error = directory.error(kind, call.provider) if kind else ""
    known = how_tokens_are_known(call)
    return Attempt(
        call_id=call.call_id,
        number=call.attempt,
        at=call.occurred_at,
        provider=call.provider,
        model=call.model,
        mode=call.mode,
        is_stream=call.is_stream,
        status=call.status,
        status_words=str(status.label),
        reason=" ".join(filter(None, (SAID_OF.get(status, ""), error))),
        error_kind=call.error_kind,
        http_status=call.http_status,
        served_model=call.served_model,
        service_tier=call.service_tier,
        finish_reason=call.finish_reason,
        request_id=call.request_id,
        first_byte_ms=call.first_byte_ms,
        end_ms=None if status == Status.LOST else call.latency_ms,
        tokens_known=known,
        tokens=_tokens(call, known, cost),
        cost=cost,
        parts=tuple((NAMES[name][0], tokens) for name in PARTS if (tokens := getattr(call, name))),
    )


def _cost(event: UsageEvent) -> Price:
    why = NoPrice(event.no_price) if event.no_price else None
    return Price(event.cost_nanousd, Source(event.price_source), event.price_version, why)


def how_tokens_are_known(event: UsageEvent) -> Known:
    if event.are_tokens_estimated:
        return Known.ESTIMATED
    if event.usage_reported:
        return Known.REPORTED
    if event.total_tokens:
        return Known.PART
    if event.is_unanswered:
        return Known.NOT_KNOWN
    return Known.NOT_REPORTED if event.are_tokens_unknown else Known.NONE


def _tokens(event: UsageEvent, known: Known, cost: Price | None) -> tuple[TokenClass, ...]:
    """Every class, with its price where the whole was priced by them."""
    usage = TokenUsage(
        uncached_input=event.uncached_input_tokens,
        cache_read=event.cache_read_tokens,
        cache_write=event.cache_write_tokens - event.cache_write_1h_tokens,
        cache_write_1h=event.cache_write_1h_tokens,
        output=event.output_tokens,
        reasoning=event.reasoning_tokens,
    )
    prices: Mapping[str, Decimal] = {}
    if cost is not None and cost.cost_nanousd is not None and cost.source == Source.CATALOG:
        prices = list_prices(
            provider=event.provider,
            model=event.model,
            served_model=event.served_model,
            usage=usage,
            tier=event.service_tier,
            at=event.occurred_at,
            cost_nanousd=cost.cost_nanousd,
        )
    is_known = known not in (Known.NOT_REPORTED, Known.NOT_KNOWN)
    classes = (
        ("input", "Input", usage.uncached_input),
        ("cache_read", "Read from cache", usage.cache_read),
        ("cache_write", "Written to cache", usage.cache_write),
        ("cache_write_1h", "Written to cache for an hour", usage.cache_write_1h),
        ("output", "Output", usage.output - usage.reasoning),
        ("reasoning", "Reasoning", usage.reasoning),
    )
    return tuple(
        TokenClass(name, words, tokens if is_known else None, prices.get(name)) for name, words, tokens in classes
    )


def _correction(event: UsageEvent) -> Correction:
    cost = _cost(event)
    nanousd = cost.cost_nanousd if sees_usd(event.mode) else None
    return Correction(event.call_id, event.revision, nanousd, str(cost.source.label))
