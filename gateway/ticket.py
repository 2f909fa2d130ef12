"""What a call carries along its way: all that sending and settling it needs, and no row of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway import gen_ai_names
from providers.adapters.base import ChatResult, ErrorKind, ProviderError
from providers.adapters.quirks import Quirk
from providers.adapters.reasons import reason
from providers.custody.sealing import SealedKey
from providers.keys.destinations import Destination
from usage.facts import Admission
from usage.input_parts import NOT_COUNTED, InputParts
from usage.metering import Finished
from usage.models import UsageEvent
from usage.tokens import NOTHING_SAID, Report


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that may leave once it is admitted. The key is sealed, and opened only where a header is built."""

    call: Admission
    sealed_key: SealedKey
    key_organization_id: int  # whose key it is: the organization's that asks, or the platform's
    secret_version: int
    destination: Destination
    quirks: tuple[Quirk, ...] = ()  # later ones replace earlier ones of the same field


class Ending(Protocol):
    """How a call ended, for the books. `error` is what its key's page is to know of; `operation` of gen_ai_names."""

    @property
    def operation(self) -> str: ...

    @property
    def error(self) -> ProviderError | None: ...

    def finished(self, call: Admission) -> Finished: ...


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
    first_byte_ms: int | None = None
    refused: Quirk | None = None
    output_limit: int | None = None
    iteration: int = 1
    input_parts: InputParts = NOT_COUNTED

    @property
    def operation(self) -> str:
        return gen_ai_names.CHAT

    @property
    def report(self) -> Report:
        """What the answer says of itself, of whichever kind it is."""
        answer = self.result or self.error
        return answer.report if answer else NOTHING_SAID

    def finished(self, call: Admission) -> Finished:
        return Finished(
            call=call,
            status=UsageEvent.Status.FAILED if self.result is None else UsageEvent.Status.ANSWERED,
            latency_ms=self.latency_ms,
            report=self.report,
            http_status=self.error.http_status if self.error else 200,
            error_kind=self.error.kind if self.error else "",
            may_have_run=self.error.may_have_run if self.error else False,
            first_byte_ms=self.first_byte_ms,
            input_parts=self.input_parts,
        )


INTERRUPTED = ProviderError(ErrorKind.UNEXPECTED, reason("interrupted"), may_have_run=True)
NEVER_LEFT = ProviderError(ErrorKind.UNEXPECTED, reason("never_left"))
