"""The values of one call through a door: what is asked for, by what it leaves, and how it ends."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.callers import Caller
from gateway.door.choice import Chosen
from gateway.door.endpoints import Endpoint
from gateway.door.managed import ManagedCaps
from gateway.stored_ids import Holder
from gateway.ticket import INTERRUPTED
from gateway.writer import Writer
from providers.adapters.base import ProviderError
from providers.adapters.dialects.request import Request
from providers.egress.connections import Egress
from usage.facts import Admission, Origin
from usage.input_parts import NOT_COUNTED, InputParts
from usage.metering import Finished
from usage.models import UsageEvent
from usage.pricing import Price
from usage.tokens import NOTHING_SAID, Report

Status = UsageEvent.Status


@dataclass(slots=True)
class Ending:
    """What is known of how a call ends; at first, that it was interrupted."""

    operation: str
    status: Status = Status.FAILED
    error: ProviderError | None = INTERRUPTED
    report: Report = NOTHING_SAID
    latency_ms: int = 0
    http_status: int | None = None
    first_byte_ms: int | None = None
    is_estimated: bool = False
    stored_ids: list[str] = field(default_factory=list)  # that the answer named, and nobody has noted yet
    cost: Price | None = None  # where the caller was told it
    input_parts: InputParts = NOT_COUNTED

    def finished(self, call: Admission) -> Finished:
        return Finished(
            call=call,
            status=self.status,
            latency_ms=self.latency_ms,
            report=self.report,
            http_status=self.http_status,
            error_kind=self.error.kind if self.error and self.status is not Status.CANCELLED else "",
            may_have_run=self.error.may_have_run if self.error else False,
            first_byte_ms=self.first_byte_ms,
            are_tokens_estimated=self.is_estimated,
            cost=self.cost,
            input_parts=self.input_parts,
        )


@dataclass(slots=True)
class Reply:
    """What the caller still gets once the call is in the books; `starts` where nothing was sent yet."""

    body: bytes
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    starts: bool = True


@dataclass(frozen=True, slots=True)
class Again:
    after_seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asked for, read and allowed. `call_id` is that of the first attempt."""

    call_id: uuid.UUID
    caller: Caller
    endpoint: Endpoint
    chosen: Chosen
    request: Request
    headers: Mapping[str, str]
    run_id: uuid.UUID
    iteration: int
    origin: Origin

    @property
    def holder(self) -> Holder:
        """Of ids of what the provider keeps of the answer."""
        return holder_of(self.caller, self.chosen)


def holder_of(caller: Caller, chosen: Chosen) -> Holder:
    return Holder(caller.organization_id, caller.token_id, chosen.target.facts.key_id)


@dataclass(frozen=True, slots=True)
class Way:
    """By what calls leave and are noted, and within which time."""

    egress: Egress
    writer: Writer
    caps: ManagedCaps
    now: Callable[[], datetime]  # the database's clock
    timeout_seconds: float
    idle_seconds: float
