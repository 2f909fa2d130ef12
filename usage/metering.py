"""
Metering: every model call becomes exactly one usage event.

    admit_calls        before they leave: rows that a crash cannot take away (admit_call: of one)
    record_calls       when they ended: writes their events, removes the rows, in one transaction, once
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter

from django.db import IntegrityError, transaction
from django.db.models import CharField

from organizations.many_rows import delete_rows, insert_rows
from organizations.storable import storable
from usage.facts import Admission, CallFacts
from usage.first_calls import can_be_one_statement, record_at_once
from usage.input_parts import NOT_COUNTED, InputParts
from usage.models import InFlightCall, UsageEvent
from usage.new_rows import ADMITTED, EVENT, NewEvent, new_event, values_of_admission, values_of_event
from usage.pricing import OWN_SERVER, Price, price, unpriced
from usage.runs import count_runs
from usage.tokens import NOTHING_SAID, Doubt, Report, TokenUsage

NoPrice, Status = UsageEvent.NoPrice, UsageEvent.Status
PriceSource = UsageEvent.PriceSource
logger = logging.getLogger(__name__)

# No model takes that many; a provider that reports more is broken, and the sums of a day must stay within
# 64 bits.
MOST_TOKENS = 10**12

_LONGEST = {field.name: field.max_length for field in UsageEvent._meta.concrete_fields if isinstance(field, CharField)}


@dataclass(frozen=True, slots=True)
class Finished:
    """
    How an admitted call ended, to be written.

    `may_have_run`: it failed without an answer, after it had left. What a provider sent is cut to what the columns
    hold; nothing it sends can keep the event from being written. `cost` is `cost_of` it, where somebody asked before.
    `input_parts`: what its input was made of, in any unit.
    """

    call: Admission
    status: UsageEvent.Status
    latency_ms: int  # from sending to answer
    report: Report = NOTHING_SAID
    http_status: int | None = None
    error_kind: str = ""
    may_have_run: bool = False
    first_byte_ms: int | None = None
    are_tokens_estimated: bool = False
    cost: Price | None = None
    input_parts: InputParts = NOT_COUNTED


def admit_call(
    *,
    organization_id: int,
    facts: CallFacts,
    run_id: uuid.UUID,
    iteration: int,
    now: datetime,
    deadline_at: datetime,
    no_token_charges: bool = False,
) -> Admission:
    """Note that a call is about to leave. It counts as lost if nobody records it by `deadline_at`."""
    call = Admission(
        id=uuid.uuid4(),
        organization_id=organization_id,
        facts=facts,
        run_id=run_id,
        iteration=iteration,
        started_at=now,
        deadline_at=deadline_at,
        no_token_charges=no_token_charges,
    )
    admit_calls([call])
    return call


def admit_calls(calls: Sequence[Admission]) -> None:
    """The same for many. Twice is as good as once: nobody is told of what was written as the connection was lost."""
    insert_rows(InFlightCall, ADMITTED, [values_of_admission(call) for call in calls], ignore_conflicts=True)


def record_calls(
    finished: Sequence[Finished], *, admitted: Sequence[Admission] = (), durable: bool = False
) -> list[UsageEvent | NewEvent]:
    """
    Write the events of calls, priced at the time each left, and remove their admissions, in one transaction; returns
    them in the same order, those written now without their ids. Calls that are `admitted` with them are noted first.

    Idempotent by the calls' ids: what was written before stays, and is returned. A call that was swept as lost and
    ended after all is written as a second event, under an id derived from the call's: its cost is real. Who writes many
    and gets an error goes on one by one. With `durable` it raises RuntimeError inside a transaction, which could undo
    the record.
    """
    events = [_event_of(each) for each in finished]
    if can_be_one_statement(events):
        try:
            written = record_at_once(events, admitted)
        except IntegrityError:
            pass  # somebody has written some of them, and may go on meanwhile: with a look at each
        else:
            left = [each for each in finished if each.call.id not in written]
            others = iter(_record_all(left, (), durable=durable)) if left else iter(())
            return [event if event.call_id in written else next(others) for event in events]
    return _record_all(finished, admitted, durable=durable)


def _record_all(
    finished: Sequence[Finished], admitted: Sequence[Admission], *, durable: bool
) -> list[UsageEvent | NewEvent]:
    known: set[uuid.UUID] | None = None
    while True:
        events = [_event_of(each) for each in finished]
        try:
            with transaction.atomic(durable=durable):
                return _record(events, admitted, look_first=known is not None)
        except IntegrityError:
            written = set(_written_before(events))
            if written <= (known or set()):
                raise
            known = written  # and without these again: somebody wrote them meanwhile


def _record(
    events: Sequence[NewEvent], admitted: Sequence[Admission], *, look_first: bool
) -> list[UsageEvent | NewEvent]:
    admit_calls(admitted)
    if not events:
        return []
    # First, as the sweep does: two who record the same call wait here for one another.
    removed = delete_rows(InFlightCall, _organizations(events), _calls(events))
    # Whoever writes an event removes its admission: of calls that still had theirs, hardly ever is one written.
    found = _written_before(events) if look_first or removed < len(events) else {}
    if late := _ended_after_all(events, found):
        found |= _written_before(late)
    new: dict[uuid.UUID, NewEvent] = {}
    for event in events:
        if not found or event.call_id not in found:
            new.setdefault(event.call_id, event)
    count_runs(list(new.values()))
    insert_rows(UsageEvent, EVENT, [values_of_event(event) for event in new.values()])
    return [found.get(event.call_id) or new[event.call_id] for event in events]


def _organizations(events: Iterable[NewEvent]) -> set[int]:
    return {event.organization_id for event in events}


def _calls(events: Iterable[NewEvent]) -> list[uuid.UUID]:
    return sorted({event.call_id for event in events}, key=attrgetter("int"))


def ended_after_all(call_id: uuid.UUID) -> uuid.UUID:
    """The id in the books of the end of a call that had been counted as lost."""
    return uuid.uuid5(call_id, "ended after all")


def _ended_after_all(events: Sequence[NewEvent], found: Mapping[uuid.UUID, UsageEvent]) -> list[NewEvent]:
    """
    Those whose call counts as lost, each given an id of its own. Before anything is written, so that the runs of all
    events are locked in one order.
    """
    late: list[NewEvent] = []
    recorded = {call_id: event.status for call_id, event in found.items()}
    for event in events:
        if recorded.setdefault(event.call_id, event.status) == Status.LOST != event.status:
            logger.warning("Call %s ended after it was counted as lost; recording it as well.", event.call_id)
            event.call_id = ended_after_all(event.call_id)
            late.append(event)
    return late


def _written_before(events: Sequence[NewEvent]) -> dict[uuid.UUID, UsageEvent]:
    of_calls = UsageEvent.objects.filter(
        organization__in=_organizations(events), call_id__in=_calls(events), revision=0
    )
    return {event.call_id: event for event in of_calls}


def _event_of(finished: Finished) -> NewEvent:
    call, report = finished.call, _within_reason(finished.call, finished.report)
    cost = finished.cost or cost_of(finished)
    tokens = report.usage or TokenUsage()
    return new_event(
        call,
        revision=0,
        served_model=_text(report.served_model, "served_model"),
        status=finished.status.value,
        error_kind=_text(finished.error_kind, "error_kind"),
        finish_reason=_text(report.finish_reason, "finish_reason"),
        http_status=finished.http_status,
        request_id=_text(report.request_id, "request_id"),
        service_tier=_text(report.service_tier, "service_tier"),
        usage_reported=not finished.are_tokens_estimated
        and report.usage is not None
        and report.doubt != Doubt.UNCLEAR_TOKENS,
        uncached_input_tokens=tokens.uncached_input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        output_tokens=tokens.output,
        reasoning_tokens=tokens.reasoning,
        **finished.input_parts.tokens(tokens.input_total),
        cost_nanousd=cost.cost_nanousd,
        input_cost_nanousd=cost.input_nanousd,
        price_source=cost.source.value,
        price_version=cost.version,
        no_price=cost.no_price.value if cost.no_price else "",
        latency_ms=max(finished.latency_ms, 0),
        first_byte_ms=finished.first_byte_ms,
        are_tokens_estimated=finished.are_tokens_estimated,
    )


def cost_of(finished: Finished) -> Price:
    """
    What a call cost that ended so, as its event will say.

    Providers bill answers, also those that broke off or refused, and no call that they answer with an error status.
    """
    call, report = finished.call, finished.report
    if call.no_token_charges:
        return OWN_SERVER
    if _is_beyond_reason(report):
        report = replace(report, usage=None)
    cost = price(provider=call.facts.provider, model=call.facts.model, report=report, at=call.started_at)
    if finished.status == Status.ANSWERED or cost.source == PriceSource.PROVIDER:
        return cost
    has_run = report.usage is not None and (finished.http_status is None or finished.http_status < 300)
    if has_run or cost.no_price == NoPrice.PART_OF_COST:
        return cost
    is_unknown = finished.status == Status.LOST or finished.may_have_run
    return unpriced(NoPrice.NO_ANSWER if is_unknown else NoPrice.NOT_BILLED)


def _within_reason(call: Admission, report: Report) -> Report:
    if report.usage is None or not _is_beyond_reason(report):
        return report
    logger.error("Call %s reports %d tokens, which cannot be; counted as not reported.", call.id, report.usage.total)
    return replace(report, usage=None)


def _is_beyond_reason(report: Report) -> bool:
    return report.usage is not None and report.usage.total > MOST_TOKENS


def _text(value: str, field: str) -> str:
    """PostgreSQL refuses what is too long; a provider may send it."""
    return storable(value or "")[: _LONGEST[field]]
