"""
Who calls, in memory: tokens, agents, routes and keys of the organizations that call, one snapshot each.

    caller     one look-up and a digest; whoever is not known yet is looked up, and their organization read
    changes    the database tells of each (gateway/change_triggers.py), and what may differ by it is forgotten at once,
               so whatever takes a right away holds from the next call on: in milliseconds on PostgreSQL, within
               BEAT_SECONDS on SQLite
    silence    without a sign of life of the database for STALE_SECONDS nobody is let through

What was being read while a change was told is not kept if it may differ by it, so no older state comes back.
Keys are kept as the database has them, sealed under a data key that is wrapped itself (`WrappedKey`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hmac import compare_digest
from time import monotonic
from typing import Any, Final, TypeVar

import psycopg
from django.db import DatabaseError, connection

from gateway.callers import Caller, CallerRefused
from gateway.changes import Beat, NotTold, Told, beats
from gateway.snapshot_reading import PEOPLE, KnownToken, OrganizationSnapshot, read_organization, refusal
from gateway.token_search import TokenSearch, TooManyUnknown
from organizations.api_tokens import FORM, LAST_USED_EVERY, NO_DIGEST, TokenExpired, UnknownToken, digest_of, note_used
from organizations.tenancy import EVERY, scope

logger = logging.getLogger(__name__)

STALE_SECONDS: Final = 30.0
# The oldest is forgotten for another one; it is read again when it calls.
MOST_ORGANIZATIONS = 10_000
THREADS = 2
TOKENS = "organizations_apitoken"
START_SECONDS = 5.0
PAUSE_SECONDS = 1.0
TRIES = 10
NOTE_EVERY_SECONDS = LAST_USED_EVERY.total_seconds()

Answer = TypeVar("Answer")


class Snapshots:
    """Belongs to one event loop; `open_snapshots` starts and stops it."""

    def __init__(self) -> None:
        self._tokens: dict[str, KnownToken] = {}  # by prefix, of all snapshots
        self._snapshots: dict[int, OrganizationSnapshot] = {}
        self._lenders: set[int] = set()  # organizations that lend others keys
        self._readings: dict[int, _Reading] = {}
        self._search = TokenSearch(self._in_thread, self._begin)
        self._used: dict[int, KnownToken] = {}  # since their use was noted last, by id
        self._is_noting = False
        self._alive_at, self._clock = -math.inf, 0.0  # the database's clock, less the monotonic one
        self._is_alive = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads: list[ThreadPoolExecutor] = []

    async def start(self) -> None:
        """Return once the database was heard of; where it is away, soon, to let nobody through until it is back."""
        # Two kinds: changes on SQLite are asked for behind nobody who is read.
        self._threads = [ThreadPoolExecutor(most, thread_name_prefix="snapshots") for most in (THREADS, 1)]
        self._begin(self._watch())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._is_alive.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._note_used()
        for threads in self._threads:
            threads.shutdown()

    async def caller(self, token: str) -> Caller:
        """Who calls with `token`, the whole of its text. Raises CallerRefused."""
        now = monotonic()
        if now - self._alive_at > STALE_SECONDS:
            raise _stale()
        form = FORM.fullmatch(token)
        if form is None:
            raise refusal(UnknownToken())
        known = self._tokens.get(form[1]) or await self._found(form[1])
        if not compare_digest(digest_of(token), known.digest if known else NO_DIGEST) or known is None:
            raise refusal(UnknownToken())
        if known.expires_at <= now + self._clock:
            raise refusal(TokenExpired())
        if known.caller is None:
            raise refusal(known.refused or UnknownToken())
        if known.note_at <= now:
            known.note_at = now + NOTE_EVERY_SECONDS
            self._used[known.token_id] = known
        return known.caller

    def now(self) -> datetime:
        """The database's time, as of its last sign of life and what has passed since; only for who was let through."""
        return datetime.fromtimestamp(monotonic() + self._clock, UTC)

    async def _found(self, prefix: str) -> KnownToken | None:
        """The token that begins so, which is not in memory, if there is one. Raises CallerRefused."""
        try:
            for _ in range(TRIES):
                found = await self._search.find(prefix)
                if not isinstance(found, int):
                    return found
                await self._read(found)
                if known := self._tokens.get(prefix):
                    return known
        except DatabaseError as error:
            logger.warning("Who calls could not be read: %s", error)
            raise _stale() from None
        except TooManyUnknown:
            pass
        raise CallerRefused("Too much has to be found out of callers at once. Try again.", status=503, code="busy")

    async def _read(self, organization_id: int) -> None:
        """Have the organization read, once for all who wait for it."""
        reading = self._readings.get(organization_id)
        if reading is None:
            reading = self._readings[organization_id] = _Reading()
            reading.task = self._begin(self._read_once(organization_id, reading))
        assert reading.task is not None  # noqa: S101  # set where it is made
        await asyncio.shield(reading.task)

    async def _read_once(self, organization_id: int, reading: _Reading) -> None:
        try:
            snapshot = await self._in_thread(lambda: read_organization(organization_id))
            if not any(snapshot.may_differ_by(told) for told in reading.told):
                self._keep(snapshot)
        finally:
            del self._readings[organization_id]

    def _keep(self, snapshot: OrganizationSnapshot) -> None:
        self._forget(snapshot.organization_id)
        if len(self._snapshots) >= MOST_ORGANIZATIONS:
            self._forget(next(iter(self._snapshots)))
        self._snapshots[snapshot.organization_id] = snapshot
        self._lenders |= snapshot.organizations - {snapshot.organization_id}
        self._tokens.update(snapshot.tokens)

    def _forget(self, organization_id: int) -> None:
        if snapshot := self._snapshots.pop(organization_id, None):
            for prefix in snapshot.tokens:
                del self._tokens[prefix]

    def _hear(self, told: Told) -> None:
        """Forget whatever may differ by a change."""
        for reading in self._readings.values():
            reading.told.append(told)
        if told.whose is None:
            self._snapshots.clear()
            self._tokens.clear()
            self._search.forget()
            return
        if told.table == TOKENS:
            self._search.forget()
        if told.table == PEOPLE or told.whose in self._lenders:
            for snapshot in [each for each in self._snapshots.values() if each.may_differ_by(told)]:
                self._forget(snapshot.organization_id)
        else:
            self._forget(told.whose)

    async def _watch(self) -> None:
        """Hear of changes as long as this lives; what was missed meanwhile, the first beat says."""
        while True:
            try:
                async with aclosing(beats(partial(self._in_thread, which=1))) as each:
                    async for beat in each:
                        self._take(beat)
            except (OSError, TimeoutError, DatabaseError, psycopg.Error, NotTold) as error:
                logger.warning("Changes of rights are not heard of for now: %s", error)
            except Exception:  # a bug of ours: tried again all the same, and nobody is let through meanwhile
                logger.exception("Changes of rights are not heard of for now")
            await asyncio.sleep(PAUSE_SECONDS)

    def _take(self, beat: Beat) -> None:
        for told in beat.told:
            self._hear(told)
        if beat.asked_at is not None:
            self._alive_at, self._clock = beat.asked_at, beat.time - beat.asked_at
            self._is_alive.set()
            if self._used and not self._is_noting:
                self._begin(self._note_used())

    async def _note_used(self) -> None:
        """When tokens were used, which their page shows."""
        used, self._used, self._is_noting = self._used, {}, True
        try:
            await self._in_thread(partial(_note, used.values(), self.now()))
        except DatabaseError as error:
            logger.warning("When tokens were used could not be noted: %s", error)
        finally:
            self._is_noting = False

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this object's own, which ends with it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # which is no news where nobody waits for it any more

    async def _in_thread(self, ask: Callable[[], Answer], which: int = 0) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads[which], _on_a_connection, ask)


@dataclass(slots=True)
class _Reading:
    """An organization that is being read, and what was told meanwhile."""

    told: list[Told] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


@asynccontextmanager
async def open_snapshots() -> AsyncIterator[Snapshots]:
    """For the running loop."""
    snapshots = Snapshots()
    await snapshots.start()
    try:
        yield snapshots
    finally:
        await snapshots.stop()


def _stale() -> CallerRefused:
    return CallerRefused(
        "Keyfare does not reach its database, so it cannot know who may call. Try again.", status=503, code="stale"
    )


def _on_a_connection(ask: Callable[[], Answer]) -> Answer:
    """It is given back, or closed, at once: these threads may have nothing to ask for hours."""
    try:
        return ask()
    finally:
        connection.close()


@scope(EVERY, "tokens of everybody were used")
def _note(used: Collection[KnownToken], now: datetime) -> None:
    if used:
        organizations, tokens = {each.organization_id for each in used}, {each.token_id for each in used}
        note_used(organization_ids=organizations, token_ids=tokens, now=now)
