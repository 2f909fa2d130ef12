"""
Metering: every model call becomes exactly one usage event.

    admit_call         before the call leaves: a row that a crash cannot take away
    record_call        when it ended: writes the event, removes the row, in one transaction, once
    sweep_lost_calls   what nobody recorded in time: an event with status *lost*, whose tokens nobody knows
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import CharField

from organizations.models import Organization
from usage.facts import CallFacts
from usage.gaps import NOTHING_DUE
from usage.models import InFlightCall, UsageEvent
from usage.pricing import OWN_SERVER, Price, price, unpriced
from usage.runs import count_run
from usage.tokens import NOTHING_SAID, Doubt, Report, TokenUsage

NoPrice = UsageEvent.NoPrice
PriceSource = UsageEvent.PriceSource
logger = logging.getLogger(__name__)

# No model takes that many; a provider that reports more is broken, and the sums of a day must stay within
# 64 bits.
MOST_TOKENS = 10**12
MOST_SWEPT = 1000  # in one pass; the next one takes the rest


def admit_call(
    *,
    organization: Organization,
    facts: CallFacts,
    run_id: uuid.UUID,
    iteration: int,
    now: datetime,
    deadline_at: datetime,
    no_token_charges: bool = False,
) -> InFlightCall:
    """
    Note that a call is about to leave. It counts as lost if nobody records it by `deadline_at`.

    `no_token_charges`: it goes to a server of one's own, and costs nothing by the token whatever becomes of it.
    """
    return InFlightCall.objects.create(
        organization=organization,
        **asdict(facts),
        run_id=run_id,
        iteration=iteration,
        no_token_charges=no_token_charges,
        started_at=now,
        deadline_at=deadline_at,
    )


def record_call(
    *,
    call: InFlightCall,
    status: UsageEvent.Status,
    now: datetime,
    report: Report = NOTHING_SAID,
    http_status: int | None = None,
    error_kind: str = "",
    may_have_run: bool = False,
    latency_ms: int | None = None,
) -> UsageEvent:
    """
    Write the call's event, priced at the time it left, and remove its admission, in one transaction.

    Idempotent by the call's id: a second time returns the first event. A call that was already swept as
    lost and ended after all is written as a second event, under an id derived from the call's: its cost is
    real. What a provider sent is cut to what the columns hold; nothing it sends can keep the event from
    being written. `may_have_run`: it failed without an answer, after it had left. `latency_ms` is the time from
    sending to answer, unless given that from admission to `now`.
    """
    report = _within_reason(call, report)
    cost = _cost_of(call, report, status, http_status=http_status, may_have_run=may_have_run)
    tokens = report.usage or TokenUsage()
    facts: dict[str, Any] = {
        **asdict(call.facts),
        "occurred_at": call.started_at,
        "served_model": _text(report.served_model, "served_model"),
        "run_id": call.run_id,
        "iteration": call.iteration,
        "status": status,
        "error_kind": _text(error_kind, "error_kind"),
        "finish_reason": _text(report.finish_reason, "finish_reason"),
        "http_status": http_status,
        "request_id": _text(report.request_id, "request_id"),
        "service_tier": _text(report.service_tier, "service_tier"),
        "usage_reported": report.usage is not None and report.doubt != Doubt.UNCLEAR_TOKENS,
        "uncached_input_tokens": tokens.uncached_input,
        "cache_read_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write + tokens.cache_write_1h,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "output_tokens": tokens.output,
        "reasoning_tokens": tokens.reasoning,
        "cost_nanousd": cost.cost_nanousd,
        "price_source": cost.source,
        "price_version": cost.version,
        "no_price": cost.no_price or "",
        "latency_ms": max(latency_ms if latency_ms is not None else _milliseconds(now - call.started_at), 0),
    }
    with transaction.atomic():
        # First, as the sweep does: two who record the same call wait here for one another.
        InFlightCall.objects.for_organization(call.organization).filter(pk=call.pk).delete()
        event = _write(call, call.pk, facts)
        if event.status == UsageEvent.Status.LOST and status != UsageEvent.Status.LOST:
            logger.warning("Call %s ended after it was counted as lost; recording it as well.", call.pk)
            event = _write(call, uuid.uuid5(call.pk, "ended after all"), facts)
    return event


def sweep_lost_calls(*, now: datetime) -> int:
    """
    Turn admissions past their deadline into events with status *lost*; returns how many this pass wrote.

    Safe beside workers and other sweepers: whoever writes a call's event first has it.
    """
    swept = 0
    overdue = InFlightCall.objects.filter(deadline_at__lt=now).order_by("deadline_at").values_list("pk", flat=True)
    for call_id in list(overdue[:MOST_SWEPT]):
        with transaction.atomic():
            rows = InFlightCall.objects.select_for_update(skip_locked=True, of=("self",))
            call = rows.select_related("organization").filter(pk=call_id).first()
            if call is None:
                continue
            event = record_call(call=call, status=UsageEvent.Status.LOST, now=now)
        swept += event.status == UsageEvent.Status.LOST
    if swept:
        logger.warning("%d calls ended without a trace and count as lost.", swept)
    return swept


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _write(call: InFlightCall, call_id: uuid.UUID, facts: dict[str, Any]) -> UsageEvent:
    """The event of `call_id`, written now unless it is there; only one that is written counts its run."""
    events = UsageEvent.objects.for_organization(call.organization).filter(
        call_id=call_id, occurred_at=call.started_at, revision=0
    )
    event = events.first()
    if event is not None:
        return event
    try:
        with transaction.atomic():
            counted = count_run(
                call=call,
                call_id=call_id,
                is_priced=facts["cost_nanousd"] is not None,
                is_incomplete=bool(facts["no_price"]) and facts["no_price"] not in NOTHING_DUE,
            )
            return UsageEvent.objects.create(
                organization=call.organization, call_id=call_id, **facts, **asdict(counted)
            )
    except IntegrityError:
        event = events.first()
        if event is None:
            raise
        return event


def _cost_of(
    call: InFlightCall, report: Report, status: UsageEvent.Status, *, http_status: int | None, may_have_run: bool
) -> Price:
    """
    What a call cost that ended so.

    Providers bill answers, also those that broke off or refused, and no call that they answer with an error status.
    """
    if call.no_token_charges:
        return OWN_SERVER
    cost = price(provider=call.provider, model=call.model, report=report, at=call.started_at)
    if status == UsageEvent.Status.ANSWERED or cost.source == PriceSource.PROVIDER:
        return cost
    has_run = report.usage is not None and (http_status is None or http_status < 300)
    if has_run or cost.no_price == NoPrice.PART_OF_COST:
        return cost
    return unpriced(NoPrice.NO_ANSWER if status == UsageEvent.Status.LOST or may_have_run else NoPrice.NOT_BILLED)


def _within_reason(call: InFlightCall, report: Report) -> Report:
    if report.usage is None or report.usage.total <= MOST_TOKENS:
        return report
    logger.error("Call %s reports %d tokens, which cannot be; counted as not reported.", call.pk, report.usage.total)
    return replace(report, usage=None)


def _text(value: str, field: str) -> str:
    """PostgreSQL refuses NUL and what is too long; a provider may send either."""
    column = UsageEvent._meta.get_field(field)
    assert isinstance(column, CharField)  # noqa: S101  # for the type checker
    return (value or "").replace("\x00", "")[: column.max_length]
