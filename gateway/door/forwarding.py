"""
One call through a door: admitted, sent on, answered as it comes, settled.

Whole answers are handed on once their event is durable, streams as they come, and their end once it is. What is sent
again is an attempt of its own, admitted and settled like the first; nothing is sent again once a byte was answered, or
after an error that may have been billed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from asyncio import sleep
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from django.db import DatabaseError

from gateway.door import headers as door_headers
from gateway.door import parameters
from gateway.door.asgi import Send, send_whole
from gateway.door.bodies import LARGEST_BODY, MB
from gateway.door.calls import Again, Asked, Ending, Reply, Status, Way
from gateway.door.errors import RETRY_BOOKS_AFTER_SECONDS, DoorError
from gateway.door.estimates import estimated
from gateway.door.flow import Flow
from gateway.door.input_parts import parts_of
from gateway.door.managed import not_handed_on
from gateway.door.operators_usd import without_cost
from gateway.stored_ids import NewIds
from gateway.ticket import INTERRUPTED, Ticket
from gateway.writer import NotAdmittedInTime
from providers.adapters.base import Adapter, HttpAnswer, HttpCall, ProviderError
from providers.adapters.dialects.base import Stream
from providers.adapters.verdicts import ErrorKind
from providers.catalog import PROVIDERS
from providers.custody.sealing import SealBroken
from providers.egress.client import Answer, Limits, open_call
from providers.models import UNREADABLE
from usage.audience import sees_usd
from usage.facts import Admission, deadline_of
from usage.metering import cost_of
from usage.tokens import NOTHING_SAID

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
# Answers that no provider bills, and that may be others in a moment.
AGAIN_STATUSES = frozenset({429, 503, 529})
AGAIN_KINDS = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED, ErrorKind.UNREACHABLE})
# What nobody who waits for an answer sees the end of.
NO_QUOTA_KINDS = frozenset({ErrorKind.NO_CREDIT, ErrorKind.QUOTA_USED_UP})
NO_RETRY = (b"x-should-retry", b"false")
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 8.0  # who is asked to wait for longer is told so
LARGEST_ANSWER = 64 * 1024**2
LARGEST_STREAM = 1024**3


class Forwarding:
    """
    `anew` says by what rights and route the same would be asked now, and raises DoorError where it may not be.
    `has_left` says, where the work is cancelled, whether it is for the caller: else it is we who are to end.
    """

    def __init__(
        self, way: Way, asked: Asked, send: Send, *, anew: Callable[[], Awaitable[Asked]], has_left: Callable[[], bool]
    ) -> None:
        self.way, self.send, self.anew, self.has_left = way, send, anew, has_left
        self.call_id = asked.call_id
        self.attempt = 0
        self.report = NOTHING_SAID  # of the last attempt, once it has ended
        self.is_admitted = False  # and so in the books, however it ends
        self._take(asked)

    def _take(self, asked: Asked) -> None:
        self.asked, target = asked, asked.chosen.target
        self.adapter: Adapter = PROVIDERS[target.facts.provider].adapter
        self.hides_usd = not sees_usd(target.facts.mode)

    @property
    def marks(self) -> dict[str, str]:
        """Headers by which a call that left is found in the books."""
        return {
            "x-keyfare-call": str(self.call_id),
            "x-keyfare-agent": self.asked.chosen.agent,
            "x-keyfare-attempts": str(self.attempt),
        }

    async def run(self) -> None:
        """Raises DoorError where nothing was answered, and nothing of it can be handed on."""
        while True:
            call = self._http_call()
            self.attempt += 1
            ticket = self._ticket()
            try:
                await self.way.caps.admit(self.way.writer, ticket, self.asked.chosen.target, self.asked.request)
            except NotAdmittedInTime:
                logger.error("A call could not be admitted in time: the database does not answer")
                raise _books_closed("Nothing was sent to the provider. Try again.", can_retry=True) from None
            except DatabaseError:
                logger.exception("A call could not be admitted")
                raise _books_closed("Nothing was sent to the provider. Try again.", can_retry=True) from None
            self.is_admitted = True
            ending, prepared = Ending(self.asked.endpoint.operation), time.monotonic()
            try:
                result = await self._once(ticket, call, ending)
            except asyncio.CancelledError:
                if self.has_left():
                    ending.status = Status.CANCELLED
                raise
            finally:
                took = time.monotonic() - prepared
                ending.latency_ms = round(took * 1000)
                self.report = ending.report
                await self._settle(ticket, ending, ticket.call.started_at + timedelta(seconds=took))
            if isinstance(result, Again):
                await sleep(result.after_seconds)
                self._take(await self.anew())
                continue
            if isinstance(result, DoorError):
                raise result
            await self._finish(result)
            return

    async def _settle(self, ticket: Ticket, ending: Ending, now: datetime) -> None:
        if ending.report.usage is not None:  # else there are no tokens to share out
            ending.input_parts = parts_of(self.asked.endpoint, self.asked.request.body)
        new_ids = NewIds(self.asked.holder, ending.stored_ids, now) if ending.stored_ids else None
        try:
            await self.way.writer.settle(ticket, ending, now, new_ids)
        except DatabaseError:
            logger.exception("Call %s could not be booked; it will be counted as lost", ticket.call.id)
            raise _books_closed("The provider was asked and may have billed it.") from None
        finally:
            self.way.caps.ended(ticket.call)

    def _ticket(self) -> Ticket:
        target, now = self.asked.chosen.target, self.way.now()
        try:
            sealed_key = target.sealed_key.opened()
        except SealBroken as broken:
            raise DoorError(400, "key_unreadable", str(broken)) from None
        return Ticket(
            call=Admission(
                id=self.call_id if self.attempt == 1 else uuid.uuid4(),
                organization_id=self.asked.caller.organization_id,
                facts=target.facts,
                run_id=self.asked.run_id,
                iteration=self.asked.iteration,
                started_at=now,
                deadline_at=deadline_of(now, self.way.timeout_seconds),
                no_token_charges=target.no_token_charges,
                rule_version=target.rule_version,
                attempt=self.attempt,
                attempt_of=None if self.attempt == 1 else self.call_id,
                is_stream=self.asked.request.is_stream,
                origin=self.asked.origin,
            ),
            sealed_key=sealed_key,
            key_organization_id=target.key_organization_id,
            secret_version=target.secret_version,
            destination=target.destination,
        )

    def _http_call(self) -> HttpCall:
        asked, model = self.asked, self.asked.chosen.model
        also = parameters.edits(
            asked.endpoint,
            asked.request.body,
            asked.chosen.target.parameters,
            limit_field=self.adapter.output_limit_field,
        )
        body = asked.request.rewritten(model=model, asks_for_usage=self._asks_for_usage, also=also)
        headers = door_headers.upstream(asked.headers, asked.endpoint.wire)
        path = asked.endpoint.path_of(asked.request, model)
        return self.adapter.door_call(asked.chosen.target.destination.base_url, path, headers, body)

    @property
    def _asks_for_usage(self) -> bool:
        return self.asked.request.can_ask_for_usage and self.adapter.takes_stream_options

    async def _once(self, ticket: Ticket, call: HttpCall, ending: Ending) -> Reply | Again | DoorError:
        is_stream = self.asked.request.is_stream
        try:
            credentials = self.adapter.credential_headers(ticket.sealed_key.open())
        except SealBroken as broken:
            ending.error = ProviderError(ErrorKind.NEEDS_REENTRY, UNREADABLE)
            return DoorError(400, "key_unreadable", str(broken))
        limits = Limits(
            self.way.timeout_seconds,
            LARGEST_STREAM if is_stream else LARGEST_ANSWER,
            self.way.idle_seconds if is_stream else None,
            LARGEST_BODY + MB,
        )
        try:
            answer = await open_call(
                self.way.egress, call, credential_headers=credentials, limits=limits, reach=ticket.destination.reach
            )
        except ProviderError as error:
            ending.error = error
            if not error.may_have_run and error.kind is ErrorKind.UNREACHABLE and (again := self._again(error)):
                return again
            return _not_answered(error)
        finally:
            del credentials
        async with answer:
            ending.http_status = answer.status
            ending.first_byte_ms = answer.first_byte_ms
            if is_stream and not answer.is_error:
                return await self._stream(answer, ending)
            return await self._whole(ticket, answer, ending)

    async def _whole(self, ticket: Ticket, answer: Answer, ending: Ending) -> Reply | Again | DoorError:
        whole = await answer.whole()
        if isinstance(whole, ProviderError):
            await answer.attempt.no_faster()
            ending.error = whole
            return _not_answered(whole, has_begun=True)
        if whole.status >= 300:
            ending.error = error = self.adapter.failure(whole)
            ending.report = error.report
            if whole.status in AGAIN_STATUSES and error.kind in AGAIN_KINDS and (again := self._again(error)):
                return again
            if told := not_handed_on(error, whole, self.asked.chosen.target.facts.mode):
                return told
            headers = self._answer_headers(whole.headers)
            if error.kind in NO_QUOTA_KINDS:  # behind a 429, too, which clients would send again
                headers = [*(header for header in headers if header[0] != b"x-should-retry"), NO_RETRY]
            return Reply(whole.body, whole.status, headers)
        dialect = self.asked.endpoint.dialect
        content = dialect.content_of(whole.body)
        ending.report = self.adapter.report_of(whole, content, dialect)
        ending.stored_ids = self._kept(dialect.stored_ids(content))
        if (error_inside := dialect.error_of(content)) is None:
            ending.status, ending.error = Status.ANSWERED, None
        else:
            ending.error = self.adapter.failure(whole, error=error_inside, report=ending.report)
        ending.cost = cost_of(ending.finished(ticket.call))
        return Reply(self._shown(whole.body), whole.status, self._answer_headers(whole.headers, ending))

    async def _stream(self, answer: Answer, ending: Ending) -> Reply:
        stream = self.asked.endpoint.dialect.stream(withholds_usage=self._asks_for_usage)
        headers = self._answer_headers(answer.headers)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        flow = Flow(self.send, stream, self.asked.endpoint.wire, is_events=_is_events(answer))
        failure: ProviderError | None = None
        is_whole = are_ids_known = False
        try:
            async with flow:
                try:
                    async for data in answer.chunks():
                        chunks = stream.feed(data)
                        if stream.is_complete and not are_ids_known:
                            are_ids_known = True
                            await self._store_ids(stream)
                        for chunk in chunks:
                            await flow.hand_on(self._shown(chunk))
                    is_whole = True
                except ProviderError as error:
                    failure = error
        finally:
            # Also where the caller has hung up: what was counted by then counts.
            rest = self._shown(b"".join(stream.close()))
            self._conclude(answer, stream, flow, ending, failure, is_whole=is_whole)
            if not are_ids_known:
                ending.stored_ids = self._kept(stream.stored_ids)
        if failure is not None and flow.is_events:
            rest += _broke_off(failure).event(self.asked.endpoint.wire)
        return Reply(rest, starts=False)

    async def _store_ids(self, stream: Stream) -> None:
        """Before the caller gets the last event, which may be all that it waits for."""
        if not (ids := self._kept(stream.stored_ids)):
            return
        try:
            await self.way.writer.store_ids(NewIds(self.asked.holder, ids, self.way.now()))
        except DatabaseError:
            logger.exception("The ids of what call %s left at its provider could not be noted", self.call_id)
            raise _books_closed("The provider was asked and may have billed it.") from None

    def _kept(self, ids: list[str]) -> list[str]:
        """Those of `ids` by which a later call may name what the provider keeps."""
        return ids if self.asked.request.body.value("store") is not False else []

    def _shown(self, data: bytes) -> bytes:
        return without_cost(data) if self.hides_usd else data

    def _conclude(
        self,
        answer: Answer,
        stream: Stream,
        flow: Flow,
        ending: Ending,
        failure: ProviderError | None,
        *,
        is_whole: bool,
    ) -> None:
        head = HttpAnswer(answer.status, answer.headers, b"")
        report = self.adapter.report_of_stream(head, stream)
        if stream.error is not None:
            ending.status = Status.BROKE
            ending.error = self.adapter.failure(head, error=stream.error, report=report, has_begun=True)
        elif stream.is_complete and is_whole:
            ending.status, ending.error = Status.ANSWERED, None
        else:
            ending.status, ending.error = Status.CUT_OFF, failure or INTERRUPTED
        is_partial = ending.status is not Status.ANSWERED and not stream.is_complete
        if is_partial and report.cost_nanousd is None and flow.written:
            report = estimated(report, request_bytes=len(self.asked.request.body.text), written=flow.written)
            ending.is_estimated = True
        ending.report = report

    def _again(self, error: ProviderError) -> Again | None:
        if self.attempt >= MOST_ATTEMPTS:
            return None
        wait = error.retry_after_seconds
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return None
        return Again(max(0.0, FIRST_WAIT_SECONDS * 2 ** (self.attempt - 1) if wait is None else wait))

    def _answer_headers(self, headers: Mapping[str, str], ending: Ending | None = None) -> list[tuple[bytes, bytes]]:
        ours = self.marks
        if ending is not None:
            if ending.report.served_model:
                ours["x-keyfare-model"] = ending.report.served_model
            if ending.cost is not None:
                ours |= door_headers.cost_header(self.asked.chosen.target.facts.mode, ending.cost)
        return door_headers.downstream(headers, hides_usd=self.hides_usd) + door_headers.encoded(ours)

    async def _finish(self, reply: Reply) -> None:
        if reply.starts:
            await send_whole(self.send, reply.status, reply.headers, reply.body)
        else:
            await self.send({"type": "http.response.body", "body": reply.body, "more_body": False})


def _is_events(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("text/event-stream")


def _books_closed(sentence: str, *, can_retry: bool = False) -> DoorError:
    """Of what is in no book nothing is handed on."""
    return DoorError(
        503,
        "books_closed",
        f"The books of calls cannot be written now. {sentence}",
        can_retry=can_retry,
        retry_after_seconds=RETRY_BOOKS_AFTER_SECONDS if can_retry else None,
    )


def _not_answered(error: ProviderError, *, has_begun: bool = False) -> DoorError:
    """What the caller is told of a call that brought no answer that could be handed on; or not the whole of it."""
    if error.kind is not ErrorKind.UNREACHABLE:
        return DoorError(502, "upstream_failed", error.sentence)
    if has_begun and error.reason.code != "no_answer":
        return _broke_off(error)
    if error.may_have_run:
        return DoorError(
            504, "upstream_timeout", f"{error.sentence} It may have been billed, so it was not sent again."
        )
    return DoorError(502, "upstream_unreachable", error.sentence, can_retry=True)


def _broke_off(error: ProviderError) -> DoorError:
    """What is told of an answer that does not go on."""
    sentence = error.sentence if error.reason.code == "no_answer" else "The provider's answer broke off."
    return DoorError(502, "upstream_broke_off", f"{sentence} What came until then may be billed.")
