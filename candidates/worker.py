"""
The worker of candidate checks: one event loop that serves every organization, with many calls in flight.

A call that hangs costs a place in the loop, no process, and places are shared: an organization has at most
KEYFARE_CHECKS_IN_FLIGHT calls in flight, all together ORGANIZATIONS_AT_FULL times as many, and everybody at least
LEAST of them, however many calls of others hang.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings

from candidates.check_work import Claim, OrganizationWork, Status, to_claim
from gateway.writer import Writer, open_writer
from organizations import clock
from organizations.models import Organization
from providers.egress.connections import Egress, open_client

logger = logging.getLogger(__name__)

ORGANIZATIONS_AT_FULL = 4
LEAST = 4
LOOK_EVERY_SECONDS = 0.5
CLAIM_EVERY_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Worked:
    completed: int
    failed: int
    ran_out_of_time: bool


def run_pending_checks(
    *,
    organization_id: int | None = None,
    time_budget_seconds: float | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
    on_finished: Callable[[Status], None] | None = None,
) -> Worked:
    """
    Work on the open checks of one organization, or of everybody (in a scope of EVERY), until none is left to claim.

    No new ones are claimed once the budget is used up or the process is to stop; then the time has run out. Calls that
    are under way are waited for. Safe to run many times at once: every check is claimed by one worker. `on_finished` is
    called with each final status as it is written.
    """
    loop = _Loop(organization_id, on_finished)
    return async_to_sync(loop.run)(time_budget_seconds, is_stopping)


class _Loop:
    def __init__(self, only: int | None, on_finished: Callable[[Status], None] | None) -> None:
        self.only = only
        self.on_finished = on_finished
        self.most = settings.KEYFARE_CHECKS_IN_FLIGHT
        self.works: dict[int, OrganizationWork] = {}
        self.waiting: set[int] = set()  # organizations that have checks to claim, as far as we know
        self.looked_at = float("-inf")
        self.running: set[asyncio.Task[None]] = set()
        self.has_place = asyncio.Event()
        self.trouble: Exception | None = None

    async def run(self, time_budget_seconds: float | None, is_stopping: Callable[[], bool]) -> Worked:
        stop_at = time.monotonic() + time_budget_seconds if time_budget_seconds else None
        out_of_time = False
        async with open_client() as client, open_writer() as writer:
            try:
                while True:
                    out_of_time = is_stopping() or (stop_at is not None and time.monotonic() > stop_at)
                    if not out_of_time and self.trouble is None:
                        await self._begin_more(client, writer)
                    if not self.running:
                        break
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.has_place.wait(), CLAIM_EVERY_SECONDS)
                    self.has_place.clear()
                    await self._keep_leases()
            finally:
                await self._end(writer)
        if self.trouble:
            raise self.trouble
        works = self.works.values()
        completed, failed = (sum(work.counts[status] for work in works) for status in (Status.COMPLETED, Status.FAILED))
        return Worked(completed, failed, out_of_time)

    async def _end(self, writer: Writer) -> None:
        """However it came to this (Ctrl-C, the time limit of a task): results that were paid for are written."""
        await writer.drain()  # whoever waits for the books has its answer, and goes on with it now
        await asyncio.sleep(0)
        under_way = list(self.running)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for work in self.works.values():
            await work.drain()

    async def _begin_more(self, client: Egress, writer: Writer) -> None:
        """Claim what there is room for. What goes wrong is kept for the end: calls under way are waited for first."""
        try:
            await self._look()
            for work, room in self._rooms():
                for claim in await self._claim(work, room):
                    task = asyncio.create_task(work.check(client, writer, claim))
                    self.running.add(task)
                    task.add_done_callback(self.running.discard)
        except Exception as error:
            self.trouble = error

    async def _keep_leases(self) -> None:
        for work in self.works.values():
            try:
                await work.keep_leases()
            except Exception:  # they last for a while yet
                logger.exception("The leases of organization %s could not be renewed", work.organization_id)

    async def _look(self) -> None:
        """See every now and then, and before the end, whose checks wait."""
        if self.running and time.monotonic() - self.looked_at < LOOK_EVERY_SECONDS:
            return
        ids = {self.only} if self.only else await sync_to_async(_organizations_that_wait)()
        new = await sync_to_async(Organization.objects.in_bulk)(ids - self.works.keys())
        self.works |= {
            pk: OrganizationWork(organization, self.on_finished, on_place=self.has_place.set)
            for pk, organization in new.items()
        }
        self.waiting = {pk for pk in ids if not self.works[pk].is_broken}
        self.looked_at = time.monotonic()

    def _rooms(self) -> Iterator[tuple[OrganizationWork, int]]:
        """
        Who may claim how many, those with the fewest calls in flight first. Many at a time save queries, and so does
        not asking at once for the place of each call that ends.
        """
        now, many = time.monotonic(), max(self.most // 2, 1)
        works = [self.works[pk] for pk in self.waiting if not self.works[pk].is_broken]
        for work in sorted(works, key=lambda work: work.in_flight):
            free = ORGANIZATIONS_AT_FULL * self.most - sum(each.in_flight for each in self.works.values())
            room = min(self.most - work.in_flight, max(free, LEAST - work.in_flight))
            if room > 0 and (room >= many or not work.in_flight or now - work.claimed_at > CLAIM_EVERY_SECONDS):
                yield work, room

    async def _claim(self, work: OrganizationWork, room: int) -> list[Claim]:
        try:
            claims = await work.claim(room)
        except Exception:
            if self.only:
                raise
            work.is_broken = True
            logger.exception("The checks of organization %s could not be claimed", work.organization_id)
            claims = []
        if len(claims) < room:
            self.waiting.discard(work.organization_id)
        return claims


def _organizations_that_wait() -> set[int]:
    return set(to_claim(clock.now()).order_by().values_list("organization_id", flat=True).distinct())
