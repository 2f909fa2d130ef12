"""
Asking until there is an answer that can be read: one policy for everybody who asks a model a question.

    cannot be read                once more, with the fault named
    the output limit cut it off   once more, with a larger limit
    nothing in it                 once more
    temporary trouble             twice more, after a wait; a call that may have run all the same only if that is free
    refused, and all else         not again

Each call is admitted, sent and settled by `gateway.dispatch`. Whoever asks says how a call is admitted and how an
answer is read.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from asgiref.sync import async_to_sync, sync_to_async

from gateway import dispatch
from gateway.reasons import AskReason
from gateway.ticket import Outcome, Ticket
from gateway.writer import Writer, open_writer
from organizations.storable import storable
from providers.adapters.base import ChatRequest, Finish, Message, ProviderError
from providers.adapters.reasons import Reason
from providers.catalog import PROVIDERS
from providers.egress.connections import Egress, open_client

Read = TypeVar("Read")

MAX_TEMPORARY_RETRIES = 2
LONGEST_WAIT_SECONDS = 30.0
FIRST_WAIT_SECONDS = 2.0  # doubled each time, where the provider names no wait
LARGER_OUTPUT = 4
MAX_REPEATED_CHARACTERS = 20_000


class UnparsableAnswer(Exception):
    """
    A model's answer is not what was asked for. The sentence of `reason` completes "The answer could not be read: …".

    `entries_read` says how close it came.
    """

    def __init__(self, reason: Reason, *, entries_read: int = 0) -> None:
        self.reason = reason
        self.entries_read = entries_read
        super().__init__(reason.sentence)


class NoAnswer(Exception):
    """There is no answer that could be read; the text is a sentence that says why, and what to do."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.sentence)


async def ask(
    client: Egress,
    writer: Writer,
    *,
    first: Ticket,
    prepare: Callable[[int], Ticket],
    request: ChatRequest,
    read: Callable[[str], Read],
) -> Read:
    """
    What `read` makes of the model's answer. Raises NoAnswer.

    `first` is the ticket of the first call; `prepare` gives that of a further one by its number, counted from 1, and
    what it raises ends the asking and is passed on. `read` raises UnparsableAnswer.
    """
    asking, ticket = _Asking(request), first
    while True:
        outcome = await dispatch.ask(client, writer, ticket, asking.request, prepare_next=prepare)
        try:
            if outcome.error is not None:
                await asking.go_on_after_error(ticket, outcome.error)
            elif outcome.result is not None:
                if outcome.result.finish is Finish.REFUSED:
                    raise NoAnswer(PROVIDERS[ticket.call.facts.provider].adapter.content_refused().reason)
                return read(outcome.result.text)
        except UnparsableAnswer as fault:
            asking.go_on_after_unreadable(outcome, fault)
        ticket = await sync_to_async(prepare)(outcome.iteration + 1)


def ask_now(*, prepare: Callable[[int], Ticket], request: ChatRequest, read: Callable[[str], Read]) -> Read:
    """The same, for synchronous callers."""

    async def ask_alone() -> Read:
        async with open_client() as client, open_writer() as writer:
            return await ask(client, writer, first=first, prepare=prepare, request=request, read=read)

    first = prepare(1)
    return async_to_sync(ask_alone)()


@dataclass(slots=True)
class _Asking:
    """How often what went wrong; `request` is what to ask next."""

    request: ChatRequest
    temporary: int = 0
    is_larger: bool = False
    is_asked_for_whole: bool = False
    is_asked_for_any: bool = False

    async def go_on_after_error(self, ticket: Ticket, error: ProviderError) -> None:
        """Return where the same is to be asked again, after the wait that this takes. Raises NoAnswer."""
        if error.is_empty and not self.is_asked_for_any:
            self.is_asked_for_any = True
            return
        if not error.kind.is_temporary:
            raise NoAnswer(error.reason)
        if error.may_have_run and not ticket.call.no_token_charges:
            raise NoAnswer(AskReason("answer.maybe_ran", {"why": error.reason}))
        if self.temporary >= MAX_TEMPORARY_RETRIES:
            raise NoAnswer(error.reason)
        wait = error.retry_after_seconds or FIRST_WAIT_SECONDS * 2**self.temporary
        self.temporary += 1
        await sleep(min(wait, LONGEST_WAIT_SECONDS))

    def go_on_after_unreadable(self, outcome: Outcome, fault: UnparsableAnswer) -> None:
        """Change `request` to what may be answered better. Raises NoAnswer."""
        result = outcome.result
        assert result is not None  # noqa: S101  # it was read
        if result.finish is Finish.LENGTH:
            allows_more = outcome.output_limit is not None and outcome.output_limit >= self.request.max_output_tokens
            if self.is_larger or not allows_more or self.request.is_limit_fixed:
                raise NoAnswer(_too_long(outcome.output_limit))
            self.is_larger = True
            self.request = replace(self.request, max_output_tokens=LARGER_OUTPUT * self.request.max_output_tokens)
        elif self.is_asked_for_whole:
            raise NoAnswer(AskReason("answer.unreadable", {"fault": fault.reason}))
        else:
            self.is_asked_for_whole = True
            self.request = retry_request(self.request, result.text, f"The answer could not be read: {fault}")


def retry_request(request: ChatRequest, answer: str, fault: str) -> ChatRequest:
    """The same question once more, after the answer that could not be read and what was wrong with it."""
    return replace(
        request,
        messages=(
            *request.messages,
            Message("assistant", storable(answer)[:MAX_REPEATED_CHARACTERS].strip() or "(empty)"),
            Message("user", f"{fault} Answer again, completely, with the JSON object only."),
        ),
    )


def _too_long(limit: int | None) -> AskReason:
    if limit is None:
        return AskReason("answer.too_long.no_limit", {})
    return AskReason("answer.too_long", {"tokens": f"{limit:,}"})
