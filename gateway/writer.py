"""
The one writer of the books of calls: admissions before calls leave, events when they have ended.

It writes for every organization at once, by group commit. Whoever awaits it has what was written durable: a call
leaves after its admission, and an answer is handed on after its event.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import DatabaseError, connection, connections, transaction

from gateway.gen_ai_metrics import gen_ai_metrics
from gateway.group_commit import DATABASE_TROUBLE, GroupCommit
from gateway.stored_ids import NewIds, store_ids
from gateway.ticket import NEVER_LEFT, Ending, Outcome, Ticket
from organizations.tenancy import EVERY, scope
from providers.keys.validation import mark_key_refused, note_keys_used
from usage.facts import Admission
from usage.metering import record_calls

logger = logging.getLogger(__name__)
_scopes_of_threads = threading.local()

MOST_WAITING = 2_000  # calls to be admitted; the next ones wait for a place before they are taken
USE_NOTED_EVERY_SECONDS = 60.0
PREPARED_AFTER = 2  # executions of a statement
# A database that was started anew is waited for, by all who write; one that stays away for longer, by nobody.
MOST_AWAY_SECONDS = 5.0
FORGOTTEN_AFTER_SECONDS = 60.0  # without a call that missed it: when it was missed before was another time
ASKED_AGAIN_SECONDS = 0.1
# One that takes connections and answers nothing: for so long a caller waits until the call is admitted.
ADMITTED_WITHIN_SECONDS = 15.0


class NotAdmittedInTime(DatabaseError):
    """The call is not to be sent; that it was not is booked once anything can be."""


def admitted_by() -> float:
    """Until when to wait for an admission that begins now, by the clock of the running loop."""
    return asyncio.get_running_loop().time() + ADMITTED_WITHIN_SECONDS


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that ended with `outcome` at `now`, and what its answer named by ids."""

    ticket: Ticket
    outcome: Ending
    now: datetime
    new_ids: NewIds | None = None


class Writer:
    """Belongs to one event loop; `open_writer` makes it."""

    def __init__(self, thread: Executor | None = None) -> None:
        self._commits = GroupCommit[Admission | Ended | NewIds](self._store, thread)
        self._places = asyncio.Semaphore(MOST_WAITING)
        self._away_since = self._missed_at = -math.inf  # the database, by the monotonic clock
        self._noted_at: dict[UUID, float] = {}  # key → when its use was noted last, by the monotonic clock

    async def admit(self, ticket: Ticket, *, by: float = math.inf) -> None:
        """
        Return once nothing can lose sight of the call. Waits for a place while too many wait already.

        A call whose admission takes until `by`, by the loop's clock, or is cancelled, is booked as one that never left
        as soon as that can be written, and keeps its place until then. Raises NotAdmittedInTime.
        """
        await self._take_place(by)
        stored, unsent = self._commits.add(ticket.call), None
        giving_up = None if by == math.inf else asyncio.get_running_loop().call_at(by, _give_up, stored)
        try:
            await stored
        except (asyncio.CancelledError, NotAdmittedInTime):
            unsent = self._commits.add(Ended(ticket, Outcome(error=NEVER_LEFT), ticket.call.started_at))
            unsent.add_done_callback(self._end_unsent)
            raise
        finally:
            if giving_up is not None:
                giving_up.cancel()
            if unsent is None:
                self._places.release()

    async def _take_place(self, by: float) -> None:
        if by == math.inf or not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout_at(by):
                await self._places.acquire()
        except TimeoutError:
            raise NotAdmittedInTime from None

    def _end_unsent(self, stored: asyncio.Future[None]) -> None:
        self._places.release()
        if not stored.cancelled() and (error := stored.exception()):
            logger.error("That a call never left could not be booked; it will be counted as lost", exc_info=error)

    async def settle(self, ticket: Ticket, outcome: Ending, now: datetime, new_ids: NewIds | None = None) -> None:
        """
        Return once the call is in the books, with the ids that its answer named. What its refusal says of the key is
        noted afterwards, in another transaction. Settling twice writes one event.
        """
        await self._commits.write(Ended(ticket, outcome, now, new_ids))

    async def store_ids(self, new: NewIds) -> None:
        """Return once ids are known, of an answer that has not ended yet."""
        await self._commits.write(new)

    @property
    def waiting(self) -> int:
        """What is not in the books yet."""
        return self._commits.waiting

    async def drain(self) -> None:
        await self._commits.drain()

    def _store(self, items: Sequence[Admission | Ended | NewIds]) -> None:
        ended = [item for item in items if isinstance(item, Ended)]
        new_ids = [item for item in items if isinstance(item, NewIds)]
        new_ids += [each.new_ids for each in ended if each.new_ids]
        with scope(EVERY, "the writer of the calls of everybody"):
            admitted = [item for item in items if isinstance(item, Admission)]
            finished = [each.outcome.finished(each.ticket.call) for each in ended]
            self._wait_for_database()
            try:
                if new_ids:
                    with transaction.atomic(durable=True):
                        record_calls(finished, admitted=admitted)
                        store_ids(new_ids)
                else:
                    record_calls(finished, admitted=admitted, durable=True)
            except DATABASE_TROUBLE:
                connection.close_if_unusable_or_obsolete()  # nobody else does so for a thread of its own
                raise
            self._note_on_keys(ended)
        if ended and (metrics := gen_ai_metrics()):
            metrics.note((each.outcome.operation, call) for each, call in zip(ended, finished, strict=True))

    def _wait_for_database(self) -> None:
        while True:
            try:
                connection.ensure_connection()
            except DATABASE_TROUBLE:
                now = time.monotonic()
                if now - self._missed_at > FORGOTTEN_AFTER_SECONDS:
                    self._away_since = now
                self._missed_at = now
                if now - self._away_since >= MOST_AWAY_SECONDS:
                    raise
                time.sleep(ASKED_AGAIN_SECONDS)
            else:
                self._missed_at = -math.inf
                return

    def _note_on_keys(self, ended: Sequence[Ended]) -> None:
        """When keys were used, and that a provider refused them. The calls are in the books, whatever becomes of it."""
        if not ended:
            return
        clock, now = time.monotonic(), max(each.now for each in ended)
        used = {each.ticket.call.facts.key_id for each in ended}
        due = {key for key in used if clock - self._noted_at.get(key, -math.inf) > USE_NOTED_EVERY_SECONDS}
        try:
            if due:
                note_keys_used(key_ids=due, now=now)
                self._noted_at.update(dict.fromkeys(due, clock))
            note_refusals(ended)
        except Exception:
            logger.exception("What calls said of their keys could not be noted")


def _give_up(stored: asyncio.Future[None]) -> None:
    if not stored.done():
        stored.set_exception(NotAdmittedInTime())


@asynccontextmanager
async def open_writer(*, has_thread: bool = False) -> AsyncIterator[Writer]:
    """
    A writer for the running loop; at the end, whatever waits is written first.

    With a thread and a connection of its own it waits for nobody else's queries, and its scope need not be set anew for
    each transaction.
    """
    thread = ThreadPoolExecutor(1, "writer", initializer=_begin_thread) if has_thread else None
    writer = Writer(thread)
    try:
        yield writer
    finally:
        await writer.drain()
        if thread:
            thread.submit(_end_thread)
            thread.shutdown()


def _begin_thread() -> None:
    """
    The scope that every transaction of a writer's own thread has, as long as the thread is there, and on PostgreSQL a
    connection of its own, outside of any pool.

    What it repeats is planned once there. All of it looks rows up by index, which has to be said: planned while the
    admissions are few, a plan reads them all, and those that are gone, until the table is vacuumed.
    """
    if connection.vendor == "postgresql":
        options = {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "pool"}
        options["options"] = f"{options.get('options', '')} -c enable_seqscan=off".strip()
        options["prepare_threshold"] = PREPARED_AFTER
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    _scopes_of_threads.stack = stack = ExitStack()
    stack.enter_context(scope(EVERY, "the writer of the calls of everybody"))


def _end_thread() -> None:
    connections.close_all()
    _scopes_of_threads.stack.close()


def note_refusals(ended: Sequence[Ended]) -> None:
    """Show on its key that a provider refused it, once for all calls that say the same."""
    seen = set()
    for each in ended:
        error, ticket = each.outcome.error, each.ticket
        if error is None or (said := (ticket.call.facts.key_id, ticket.secret_version, error.kind)) in seen:
            continue
        seen.add(said)
        mark_key_refused(
            key_id=ticket.call.facts.key_id,
            secret_version=ticket.secret_version,
            kind=error.kind,
            why=error.reason,
            now=each.now,
        )
