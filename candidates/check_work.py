"""
The checks of one organization, as a worker does them: claim, ask, and hand on what came of it.

A worker claims rows by lease. Results are written as they come, as many together as there are
(`candidates.result_writer`); by then their calls are in the books already. A worker that dies leaves leases that run
out; whoever claims next goes on. A result whose lease was lost is dropped, never charged.

Whoever works for many organizations at once (`candidates.worker`) does so outside of any one's wall. So everything here
that asks the database goes behind the wall of the organization first.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from candidates import failures
from candidates.check_endings import OPEN
from candidates.failure_cap import TooManyFailures, refuse_after_failures
from candidates.models import CandidateCheck, Requirement
from candidates.profiles.reading import profile_text
from candidates.prompts.check import Verdict, check_request, parse_verdicts
from candidates.result_writer import Result, requirements_of, write_results
from gateway import asking, dispatch
from gateway.asking import NoAnswer
from gateway.dispatch import Planned
from gateway.group_commit import DATABASE_TROUBLE, GroupCommit
from gateway.ticket import Ticket
from gateway.writer import Writer
from organizations import clock
from organizations.models import Organization
from organizations.tenancy import scope
from providers.adapters.base import ChatRequest
from providers.adapters.reasons import Reason
from providers.egress.connections import Egress
from routing.resolve import Route, RouteUnavailable
from usage.models import Mode

logger = logging.getLogger(__name__)

MAX_CLAIMS = 3  # a check whose worker died this often fails
Given = ParamSpec("Given")
Back = TypeVar("Back")
Status = CandidateCheck.Status


@dataclass(frozen=True, slots=True)
class Claim:
    """A check this worker may write to, as long as its lease token stands in the row."""

    check_id: uuid.UUID
    token: uuid.UUID
    run_id: uuid.UUID
    route: Route
    requirements: Sequence[Requirement]
    profile_text: str
    request: ChatRequest
    first: Ticket | RouteUnavailable | TooManyFailures  # the ticket of its first call, or why there is none


class _LeaseLost(Exception):
    """Another worker has the check, or it ended."""


class OrganizationWork:
    """
    One organization's checks in one worker.

    `on_finished` is called with each final status as it is written, `on_place` when there is room for another call.
    """

    def __init__(
        self,
        organization: Organization,
        on_finished: Callable[[Status], None] | None = None,
        *,
        on_place: Callable[[], None] = lambda: None,
    ) -> None:
        self.organization = organization
        self.organization_id = organization.pk
        self.on_finished, self.on_place = on_finished, on_place
        self.is_broken = False  # no new claims: what broke may break every check, at the price of a call each
        self.in_hand: set[tuple[uuid.UUID, uuid.UUID]] = set()  # checks, with the tokens of their leases
        self.in_flight = 0  # checks whose model is being asked; the results of others wait to be written
        self.leased_at = time.monotonic()
        self.claimed_at = float("-inf")
        self.counts: Counter[Status] = Counter()
        self._results = GroupCommit(self._write)

    async def claim(self, limit: int) -> list[Claim]:
        """Up to `limit` checks that wait, oldest first; this worker's until their leases run out."""
        self.claimed_at = time.monotonic()
        claims = await self._behind_wall(self._claim, limit)
        self.in_hand |= {(claim.check_id, claim.token) for claim in claims}
        self.in_flight += len(claims)
        return claims

    async def check(self, client: Egress, writer: Writer, claim: Claim) -> None:
        """One check from claim to result. Raises nothing."""
        try:
            try:
                result = await self._asked(client, writer, claim)
                if result is None:
                    return
                written = asyncio.shield(self._results.add(result))
                if isinstance(result.outcome, Reason):
                    await written  # failures are counted before further checks are claimed
            finally:
                self.in_flight -= 1
                self.on_place()
            await written
        except Exception:
            # A bug of ours, or the database is gone. The others in flight go on; the lease of this one runs out, it is
            # claimed again, and after MAX_CLAIMS it fails free of charge.
            self.is_broken = True
            logger.exception("Check %s was interrupted", claim.check_id)
        finally:
            self.in_hand.discard((claim.check_id, claim.token))
            self.on_place()

    async def drain(self) -> None:
        """Return once no result waits to be written."""
        await self._results.drain()

    async def keep_leases(self) -> None:
        """Renew those of the checks in hand now and then, however long their calls take. Ask often."""
        if self.in_hand and time.monotonic() - self.leased_at > settings.KEYFARE_CHECK_LEASE_SECONDS / 3:
            self.leased_at = time.monotonic()
            await self._behind_wall(self._keep_leases, set(self.in_hand))

    async def _behind_wall(self, call: Callable[Given, Back], *given: Given.args, **named: Given.kwargs) -> Back:
        def behind_wall() -> Back:
            with scope(self.organization, "the worker on one organization's checks"):
                return call(*given, **named)

        return await sync_to_async(behind_wall)()

    def _keep_leases(self, in_hand: set[tuple[uuid.UUID, uuid.UUID]]) -> None:
        """A row that somebody locks is about to end, or is renewed the next time."""
        checks, tokens = zip(*in_hand, strict=True)
        rows = CandidateCheck.objects.filter(organization_id=self.organization_id)
        held = rows.filter(pk__in=checks, lease_token__in=set(tokens), status=Status.IN_PROGRESS)
        with transaction.atomic():
            ids = list(held.select_for_update(skip_locked=True).values_list("pk", flat=True))
            rows.filter(pk__in=ids).update(lease_until=_lease(clock.now()))

    def _claim(self, limit: int) -> list[Claim]:
        if self.is_broken:
            return []
        now, token = clock.now(), uuid.uuid4()
        with transaction.atomic():
            rows = list(
                to_claim(now)
                .filter(organization_id=self.organization_id)
                .select_related("profile")
                .only("run_id", "mode", "route", "attempts", "briefing_id", "profile__content")
                .order_by("accepted_at", "pk")
                .select_for_update(of=("self",), skip_locked=True)[:limit]
            )
            if not rows:
                return []
            CandidateCheck.objects.filter(
                organization_id=self.organization_id, pk__in=[check.pk for check in rows]
            ).update(
                status=Status.IN_PROGRESS,
                lease_token=token,
                lease_until=_lease(now),
                attempts=F("attempts") + 1,
            )
        self._give_up([check.pk for check in rows if check.attempts >= MAX_CLAIMS], token)
        checks = [check for check in rows if check.attempts < MAX_CLAIMS]
        if not checks:
            return self._claim(limit)
        return self._claims_apart(checks, token, now)

    def _give_up(self, exhausted: Sequence[uuid.UUID], token: uuid.UUID) -> None:
        """Fail checks that were interrupted too often. One that cannot even be ended holds up no other."""
        for check_id in exhausted:
            try:
                self._write_all([Result(check_id, token, failures.INTERRUPTED)])
            except DATABASE_TROUBLE:
                raise
            except Exception:
                logger.exception("Check %s was interrupted too often, and cannot be ended", check_id)

    def _claims_apart(self, checks: Sequence[CandidateCheck], token: uuid.UUID, now: datetime) -> list[Claim]:
        """Of those checks of which something is broken, none, so that no other is interrupted with them."""
        try:
            return self._claims(checks, token, now)
        except DATABASE_TROUBLE:
            raise
        except Exception:
            claims = []
            for check in checks:
                try:
                    claims += self._claims([check], token, now)
                except Exception:
                    self.is_broken = True
                    logger.exception("Check %s was interrupted", check.pk)
            if not claims:
                raise
            return claims

    def _claims(self, checks: Sequence[CandidateCheck], token: uuid.UUID, now: datetime) -> list[Claim]:
        requirements = requirements_of(self.organization_id, {check.briefing_id for check in checks})
        routes = [Route.from_json(check.route) for check in checks]
        tickets = self._first_tickets(
            [Planned(route, check.run_id) for check, route in zip(checks, routes, strict=True)], now
        )
        claims = []
        for check, route, ticket in zip(checks, routes, tickets, strict=True):
            wanted, text = requirements[check.briefing_id], profile_text(check.profile.content)
            claims.append(
                Claim(
                    check_id=check.pk,
                    token=token,
                    run_id=check.run_id,
                    route=route,
                    requirements=wanted,
                    profile_text=text,
                    request=route.sent_with(check_request(model=route.model, requirements=wanted, profile_text=text)),
                    first=ticket,
                )
            )
        return claims

    def _first_tickets(
        self, calls: Sequence[Planned], now: datetime
    ) -> Sequence[Ticket | RouteUnavailable | TooManyFailures]:
        tickets = dispatch.prepare_many(organization=self.organization, calls=calls, now=now)
        managed = {call.route for call in calls if call.route.mode == Mode.MANAGED}
        if managed:
            try:
                refuse_after_failures(organization=self.organization, mode=Mode.MANAGED, now=now)
            except TooManyFailures as refused:
                return [
                    refused if call.route in managed else ticket for call, ticket in zip(calls, tickets, strict=True)
                ]
        return tickets

    async def _asked(self, client: Egress, writer: Writer, claim: Claim) -> Result | None:
        """What is to be written of the check; None if its lease was lost."""

        def prepare(iteration: int) -> Ticket:
            with scope(self.organization, "the worker on one organization's checks"):
                return self._prepare(claim, iteration)

        def read(text: str) -> list[Verdict]:
            return parse_verdicts(text, claim.requirements, claim.profile_text)

        result: list[Verdict] | Reason
        try:
            if not isinstance(claim.first, Ticket):
                raise claim.first
            result = await asking.ask(
                client, writer, first=claim.first, prepare=prepare, request=claim.request, read=read
            )
        except _LeaseLost:
            return None
        except (RouteUnavailable, TooManyFailures, NoAnswer) as failure:
            result = failure.reason
        return Result(claim.check_id, claim.token, result)

    def _prepare(self, claim: Claim, iteration: int) -> Ticket:
        """A ticket for a further call of the check, whose lease is renewed. Raises _LeaseLost and RouteUnavailable."""
        now = clock.now()
        mine = CandidateCheck.objects.filter(
            organization_id=self.organization_id,
            pk=claim.check_id,
            lease_token=claim.token,
            status=Status.IN_PROGRESS,
        )
        if not mine.update(lease_until=_lease(now)):
            raise _LeaseLost
        return dispatch.prepare(
            organization=self.organization, route=claim.route, run_id=claim.run_id, iteration=iteration, now=now
        )

    def _write(self, results: Sequence[Result]) -> None:
        try:
            self._write_all(results)
        except DATABASE_TROUBLE:  # which may pass: they are given once more
            raise
        except Exception:
            self.is_broken |= len(results) == 1  # at once, before the next ones are claimed
            raise

    def _write_all(self, results: Sequence[Result]) -> None:
        with scope(self.organization, "the worker on one organization's checks"):
            for status in write_results(self.organization, results):
                self.counts[status] += 1
                if self.on_finished:
                    self.on_finished(status)


def to_claim(now: datetime) -> QuerySet[CandidateCheck]:
    """The open checks that no worker has in hand."""
    return CandidateCheck.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), status__in=OPEN)


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.KEYFARE_CHECK_LEASE_SECONDS)
