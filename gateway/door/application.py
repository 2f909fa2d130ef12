"""
The doors through which agents, SDKs and coding tools call models: a bare ASGI application, before Django's handler.

`Door` answers what `is_ours` and nothing else. It starts with the first request, or with the server where that says so,
and writes what it has to write before the server ends.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from gateway.callers import Caller, CallerRefused, Callers
from gateway.door import headers as door_headers
from gateway.door import listings
from gateway.door.asgi import Application, Headers, Receive, Scope, Send, send_whole
from gateway.door.attribution import Iterations, Labels, run_of
from gateway.door.bodies import Bodies, Body, Gone, throw_away
from gateway.door.calls import Asked, Way, holder_of
from gateway.door.choice import choose
from gateway.door.counting import count
from gateway.door.endpoints import Endpoint, Models, Probe, Receipt, Wire, asked_for, is_ours, wire_of
from gateway.door.errors import DoorError, no_such_path, server_ends, took_too_long
from gateway.door.forwarding import Forwarding
from gateway.door.limits import Limits
from gateway.door.managed import ManagedCaps
from gateway.door.receipts import receipt
from gateway.door.stored_ids import refuse_ids_of_others, stored_ids_in
from gateway.writer import open_writer
from organizations.viewer import viewing
from providers.adapters.dialects.request import BadBody, Request
from providers.egress.connections import open_client
from usage.facts import Origin

logger = logging.getLogger(__name__)

WATCHED_AFTER_SECONDS = 0.2
READING_GRACE_SECONDS = 30.0  # for the last of an answer, once its provider had its time
JSON: Headers = [(b"content-type", b"application/json")]

OpenCallers = Callable[[], AbstractAsyncContextManager[Callers]]


@dataclass(frozen=True, slots=True)
class Load:
    """What a door of this process is at."""

    calls: int
    most_calls: int
    writes_waiting: int


class Door:
    def __init__(self, open_callers: OpenCallers) -> None:
        self._open_callers = open_callers
        self._opened: AsyncExitStack | None = None
        self._opening = asyncio.Lock()
        self._bodies = Bodies()
        self._labels = Labels()
        self._iterations = Iterations()
        self._limits = Limits(
            most_at_once=settings.KEYFARE_GATEWAY_CALLS_AT_ONCE, most_in_all=settings.KEYFARE_GATEWAY_MOST_CALLS
        )

    async def open(self) -> None:
        async with self._opening:
            if self._opened is not None:
                return
            async with AsyncExitStack() as stack:
                stack.push_async_callback(sync_to_async(connections.close_all))  # of the thread for single questions
                self._callers = await stack.enter_async_context(self._open_callers())
                egress = await stack.enter_async_context(open_client())
                writer = await stack.enter_async_context(open_writer(has_thread=True))
                self._way = Way(
                    egress,
                    writer,
                    ManagedCaps(),
                    self._callers.now,
                    timeout_seconds=settings.KEYFARE_GATEWAY_TIMEOUT_SECONDS,
                    idle_seconds=settings.KEYFARE_GATEWAY_IDLE_SECONDS,
                )
                self._opened = stack.pop_all()

    async def close(self) -> None:
        """What waits to be written is written first."""
        async with self._opening:
            stack, self._opened = self._opened, None
            if stack is not None:
                await stack.aclose()

    @property
    def load(self) -> Load:
        waiting = 0 if self._opened is None else self._way.writer.waiting
        return Load(self._limits.in_all, self._limits.most_in_all, waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = door_headers.read(scope["headers"])
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if query:  # no log of the server is to see a key
            scope["query_string"] = _without_key(scope["query_string"])
        asked = asked_for(method, path)
        wire = wire_of(asked, path, headers)
        visit = _Visit(self, receive, send, headers, wire)
        try:
            door_headers.refuse_too_large(scope["headers"])
            if isinstance(asked, Probe):
                await visit.answer(b"")
                return
            if self._opened is None:
                await self.open()
            token = door_headers.token_in(headers, query, wire)
            caller = await self._caller(token)
            with viewing(sees_usd=caller.sees_usd):
                if isinstance(asked, Endpoint):
                    await visit.call(caller, asked, _path_of(scope, query), token)
                elif isinstance(asked, Models):
                    await visit.models(caller, asked)
                elif isinstance(asked, Receipt):
                    await visit.receipt(caller, asked)
                else:
                    raise no_such_path(method, path)
        except DoorError as error:
            await visit.refuse(error)
        except BadBody as bad:
            await visit.refuse(DoorError(400, "bad_body", _said(bad)))
        except Gone:
            pass
        except asyncio.CancelledError:  # the server is made to end
            if not visit.was_read:
                raise
            await visit.refuse(server_ends())
        except Exception:
            logger.exception("A call at the gateway's door failed")
            await visit.refuse(DoorError(500, "internal", "Something went wrong here. It was logged.", can_retry=True))

    async def _caller(self, token: str) -> Caller:
        if not token:
            raise DoorError(
                401,
                "no_token",
                "Send an API token of Keyfare, as “Authorization: Bearer kf_…” or in your client's header for keys.",
            )
        try:
            return await self._callers.caller(token)
        except CallerRefused as refused:
            raise DoorError(refused.status, refused.code, str(refused), can_retry=refused.status == 503) from None


class _Visit:
    """One request at the door."""

    def __init__(self, door: Door, receive: Receive, send: Send, headers: dict[str, str], wire: Wire) -> None:
        self.door, self.receive, self._send, self.headers, self.wire = door, receive, send, headers, wire
        self.has_started = self.has_ended = self.was_read = self.has_left = self.is_over = False

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            message["headers"] = [*message["headers"], *door_headers.NO_PAGE]
        elif not message.get("more_body", False):
            self.has_ended = True
        await self._send(message)

    async def call(self, caller: Caller, endpoint: Endpoint, path: str, token: str) -> None:
        door = self.door
        with door._limits.place(caller), door._bodies.held() as body:
            request = await self._request(body, endpoint, path)
            chosen = choose(caller, request.model, endpoint, request.body)
            if stored_ids := stored_ids_in(endpoint, request.body):
                await refuse_ids_of_others(holder_of(caller, chosen), stored_ids)
            if endpoint.only_counts:
                work = count(door._way, endpoint, chosen, request, self.headers, self.send)
                await self._while_there(work)
                return
            call_id, run_id = uuid.uuid4(), run_of(caller.token_id, self.headers)
            asked = Asked(
                call_id=call_id,
                caller=caller,
                endpoint=endpoint,
                chosen=chosen,
                request=request,
                headers=self.headers,
                run_id=run_id or call_id,
                iteration=door._iterations.next(run_id) if run_id else 1,
                origin=Origin(
                    caller.token_id,
                    caller.member_id,
                    door._labels.of(caller.organization_id, self.headers, door._way.now().date()),
                ),
            )

            async def anew() -> Asked:
                caller = await door._caller(token)
                return replace(asked, caller=caller, chosen=choose(caller, request.model, endpoint, request.body))

            forwarding = Forwarding(
                door._way, asked, self.send, anew=anew, has_left=lambda: self.has_left or self.is_over
            )
            try:
                await self._while_there(forwarding.run())
            except DoorError as error:
                if forwarding.is_admitted:
                    error.marks = forwarding.marks
                raise
            finally:  # whoever hangs up before the end has used them all the same
                if forwarding.report.usage is not None:
                    door._limits.note_tokens(caller, forwarding.report.usage.total)

    async def _request(self, body: Body, endpoint: Endpoint, path: str) -> Request:
        if self.headers.get("content-encoding", "identity") != "identity":
            raise DoorError(415, "compressed", "Send the body as it is: it is not read compressed.")
        content = await body.read(self.receive, self.headers)
        self.was_read = True
        return endpoint.dialect.request(content, path)

    async def _while_there(self, work: Awaitable[None]) -> None:
        """
        Raises Gone where the caller hangs up before the end of `work`, which is cancelled then; so it is where all of
        it takes too long, which only happens with a caller who does not read. For work that ends within a moment nobody
        looks.
        """
        working, loop = asyncio.current_task(), asyncio.get_running_loop()
        leaving: asyncio.Task[None] | None = None
        timer: asyncio.TimerHandle

        def hang_up(left: asyncio.Future[None]) -> None:
            if not left.cancelled() and not self.has_ended and working is not None:
                self.has_left = working.cancel()

        def watch() -> None:
            nonlocal leaving, timer
            leaving = asyncio.ensure_future(self._left())
            leaving.add_done_callback(hang_up)
            timer = loop.call_later(self.door._way.timeout_seconds + READING_GRACE_SECONDS, give_up)

        def give_up() -> None:
            if not self.has_ended and working is not None:
                self.is_over = working.cancel()

        timer = loop.call_later(WATCHED_AFTER_SECONDS, watch)
        try:
            await work
        except asyncio.CancelledError:
            if self.has_left or (self.is_over and self.has_started):
                raise Gone from None
            if self.is_over:
                raise took_too_long() from None
            raise  # it is we who are to end
        finally:
            timer.cancel()
            if leaving is not None:
                leaving.cancel()

    async def _left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def models(self, caller: Caller, asked: Models) -> None:
        if asked.model:
            await self.answer(listings.one(caller, asked.model, self.wire))
            return
        await self.answer(listings.listing(caller, self.wire, is_codex=door_headers.is_codex(self.headers)))

    async def receipt(self, caller: Caller, asked: Receipt) -> None:
        await self.answer(await receipt(caller, asked.call))

    async def answer(self, body: bytes) -> None:
        await send_whole(self.send, 200, JSON, body)

    async def refuse(self, error: DoorError) -> None:
        if self.has_ended:
            return
        if self.has_started:  # a stream that broke on our side: its reader must not take it for whole
            await self.send({"type": "http.response.body", "body": error.event(self.wire), "more_body": False})
            return
        body = error.body(self.wire)
        headers = [*door_headers.encoded(error.headers), (b"content-length", str(len(body)).encode())]
        # Codex sends anything again that is no 400, up to thirty times, whatever a header says (tried with 0.171).
        status = 400 if door_headers.is_codex(self.headers) and not error.can_retry else error.status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        if not self.was_read:
            await self.send({"type": "http.response.body", "body": body, "more_body": True})
            await throw_away(self.receive)
            body = b""
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _path_of(scope: Scope, query: dict[str, str]) -> str:
    """What a dialect reads the model and the form of the answer from, without anybody's key."""
    return f"{quote(scope['path'], safe='/:')}{'?alt=sse' if query.get('alt') == 'sse' else ''}"


def _without_key(query: bytes) -> bytes:
    """However it is spelled: what we take for none may have been meant as one."""
    parts = query.split(b"&")
    return b"&".join(part for part in parts if _name_of(part) != b"key")


def _name_of(part: bytes) -> bytes:
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).strip().lower()


def _said(bad: BadBody) -> str:
    match bad.code:
        case "missing":
            return f"The body has to name “{bad.name}”."
        case "wrong_type":
            return f"“{bad.name}” in the body has to be text."
        case "twice":
            return f"“{bad.name}” stands twice in the body: some readers go by the first, others by the last."
        case "too_many_values":
            return (
                "The body has more than a million values, or one object of more than ten thousand. Send less at once."
            )
    return "The body has to be one JSON object in UTF-8."


def in_front_of(pages: Application, door: Door) -> Application:
    """Both in one process: the doors, and behind them the pages."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(door, receive, send)
        elif scope["type"] == "http" and is_ours(scope["method"], scope["path"]):
            await door(scope, receive, send)
        elif scope["type"] == "websocket":  # which nothing here speaks
            await send({"type": "websocket.close"})
        else:
            await pages(scope, receive, send)

    return application


def alone(door: Door) -> Application:
    """The doors and nothing else."""

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await door(scope, receive, send)

    return in_front_of(nothing, door)


async def live(door: Door, receive: Receive, send: Send) -> None:
    """The server's life: the door is closed at its end; it opens with the first call, so pages wait for nothing."""
    with suppress(asyncio.CancelledError):  # where the server is made to end at once
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
    await door.close()
    await send({"type": "lifespan.shutdown.complete"})
