"""
The checks of one organization, as a worker does them: claim, ask, write down.

A worker claims rows by lease and writes each result as it comes, together with the capture of its hold; by then its
call is in the books already. A worker that dies leaves leases that run out; whoever claims next goes on. A result whose
lease was lost is dropped, never charged.

Whoever works for many organizations at once (`candidates.worker`) does so outside of any one's wall. So everything here
that asks the database goes behind the wall of the organization first.
"""

from __future__ import annotations

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

from billing.ledger import capture_hold
from candidates import recency
from candidates.check_endings import OPEN, fail_check, finish_check
from candidates.failure_cap import TooManyFailures, refuse_after_failures
from candidates.models import CandidateCheck, Requirement, RequirementVerdict
from candidates.profiles.reading import profile_text
from candidates.prompts.check import RUBRIC_VERSION, Verdict, check_request, parse_verdicts
from candidates.scoring import score
from gateway import asking, dispatch
from gateway.asking import NoAnswer
from gateway.ticket import Ticket
from organizations import clock
from organizations.models import Organization
from organizations.tenancy import scope
from providers.adapters.base import ChatRequest
from providers.egress.connections import Egress
from routing.resolve import Route, RouteUnavailable

logger = logging.getLogger(__name__)

MAX_CLAIMS = 3  # a check whose worker died this often fails
Given = ParamSpec("Given")
Back = TypeVar("Back")
Status = CandidateCheck.Status


@dataclass(frozen=True, slots=True)
class Claim:
    """A check this worker may write to, as long as its lease token stands in the row."""

    check: CandidateCheck
    token: uuid.UUID
    route: Route
    requirements: Sequence[Requirement]
    profile_text: str
    request: ChatRequest


class _LeaseLost(Exception):
    """Another worker has the check, or it ended."""


class OrganizationWork:
    """One organization's checks in one worker. `on_finished` is called with each final status as it is written."""

    def __init__(self, organization: Organization, on_finished: Callable[[Status], None] | None = None) -> None:
        self.organization = organization
        self.organization_id = organization.pk
        self.on_finished = on_finished
        self.is_broken = False  # no new claims: what broke may break every check, at the price of a call each
        self.in_hand: set[tuple[uuid.UUID, uuid.UUID]] = set()  # checks, with the tokens of their leases
        self.leased_at = time.monotonic()
        self.counts: Counter[Status] = Counter()

    async def claim(self, limit: int) -> list[Claim]:
        """Up to `limit` checks that wait, oldest first; this worker's until their leases run out."""
        claims = await self._behind_wall(self._claim, limit)
        self.in_hand |= {(claim.check.pk, claim.token) for claim in claims}
        return claims

    async def check(self, client: Egress, claim: Claim) -> None:
        """One check from claim to result. Raises nothing."""
        try:
            await self._check(client, claim)
        finally:
            self.in_hand.discard((claim.check.pk, claim.token))

    @property
    def in_flight(self) -> int:
        return len(self.in_hand)

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
        now, token = clock.now(), uuid.uuid4()
        with transaction.atomic():
            ids = list(
                to_claim(now)
                .filter(organization_id=self.organization_id)
                .order_by("accepted_at", "pk")
                .select_for_update(skip_locked=True)
                .values_list("pk", flat=True)[:limit]
            )
            if not ids:
                return []
            CandidateCheck.objects.filter(organization_id=self.organization_id, pk__in=ids).update(
                status=Status.IN_PROGRESS,
                lease_token=token,
                lease_until=_lease(now),
                attempts=F("attempts") + 1,
            )
        mine = CandidateCheck.objects.filter(organization_id=self.organization_id, pk__in=ids)
        rows = mine.select_related("organization", "profile", "candidate")
        requirements: dict[int, list[Requirement]] = {}
        claims = []
        for check in rows:
            if check.attempts > MAX_CLAIMS:
                self._fail(check, token, "The work on this check was interrupted too often. Check again.")
                continue
            if check.briefing_id not in requirements:
                requirements[check.briefing_id] = list(
                    Requirement.objects.filter(
                        organization_id=self.organization_id, briefing_id=check.briefing_id
                    ).order_by("position", "pk")
                )
            wanted, route = requirements[check.briefing_id], Route.from_json(check.route)
            claims.append(
                Claim(
                    check=check,
                    token=token,
                    route=route,
                    requirements=wanted,
                    profile_text=profile_text(check.profile.content),
                    request=check_request(model=route.model, requirements=wanted, profile=check.profile),
                )
            )
        return claims or self._claim(limit)  # all of these were interrupted too often

    async def _check(self, client: Egress, claim: Claim) -> None:
        def prepare(iteration: int) -> Ticket:
            with scope(self.organization, "the worker on one organization's checks"):
                return self._prepare(claim, iteration)

        def read(text: str) -> list[Verdict]:
            return parse_verdicts(text, claim.requirements, claim.profile_text)

        try:
            try:
                verdicts = await asking.ask(client, prepare=prepare, request=claim.request, read=read)
            except _LeaseLost:
                return
            except (RouteUnavailable, TooManyFailures, NoAnswer) as failure:
                await self._behind_wall(self._fail, claim.check, claim.token, str(failure))
            else:
                await self._behind_wall(self._complete, claim, verdicts)
        except Exception:
            # A bug of ours, or the database is gone. The others in flight go on; the lease of this one runs out, it is
            # claimed again, and after MAX_CLAIMS it fails free of charge.
            self.is_broken = True
            logger.exception("Check %s was interrupted", claim.check.pk)

    def _prepare(self, claim: Claim, iteration: int) -> Ticket:
        """Admit a call for the check. Raises _LeaseLost, RouteUnavailable and TooManyFailures."""
        check, now = claim.check, clock.now()
        if iteration > 1:
            self._renew_lease(claim)
        else:
            refuse_after_failures(organization=check.organization, mode=check.mode, now=now)
        return dispatch.prepare(
            organization=check.organization, route=claim.route, run_id=check.run_id, iteration=iteration, now=now
        )

    def _renew_lease(self, claim: Claim) -> None:
        mine = CandidateCheck.objects.filter(
            organization_id=self.organization_id,
            pk=claim.check.pk,
            lease_token=claim.token,
            status=Status.IN_PROGRESS,
        )
        if not mine.update(lease_until=_lease(clock.now())):
            raise _LeaseLost

    def _complete(self, claim: Claim, verdicts: Sequence[Verdict]) -> None:
        now = clock.now()
        with transaction.atomic():
            check = self._owned(claim.check, claim.token)
            if check is None:
                return
            RequirementVerdict.objects.bulk_create(
                RequirementVerdict(
                    organization=check.organization,
                    check_row=check,
                    requirement_id=verdict.requirement_id,
                    verdict=verdict.verdict,
                    quote=verdict.quote,
                    reason=verdict.reason,
                    claimed=verdict.claimed,
                )
                for verdict in verdicts
            )
            if check.hold_id:
                capture_hold(organization=check.organization, hold_id=check.hold_id, amount=check.price)
            check.charged = check.price
            # Weights may have changed while the model was asked.
            requirements = list(
                Requirement.objects.filter(organization_id=self.organization_id, briefing_id=check.briefing_id)
            )
            check.score, check.category = score(
                requirements, {verdict.requirement_id: verdict.verdict for verdict in verdicts}
            )
            check.rubric_version = RUBRIC_VERSION
            recency.note_for_network(check=check, now=now)
            finish_check(check, Status.COMPLETED, now)
            self._count(Status.COMPLETED)

    def _fail(self, claimed: CandidateCheck, token: uuid.UUID, failure: str) -> None:
        with transaction.atomic():
            check = self._owned(claimed, token)
            if check is None:
                return
            fail_check(check, failure, clock.now())
            self._count(Status.FAILED)

    def _owned(self, check: CandidateCheck, token: uuid.UUID) -> CandidateCheck | None:
        """The row, locked, if this worker still holds its lease."""
        return (
            CandidateCheck.objects.select_related("organization", "candidate")
            .select_for_update(of=("self",))
            .filter(organization_id=self.organization_id, pk=check.pk, lease_token=token, status=Status.IN_PROGRESS)
            .first()
        )

    def _count(self, status: Status) -> None:
        def written() -> None:
            self.counts[status] += 1
            if self.on_finished:
                self.on_finished(status)

        transaction.on_commit(written)


def to_claim(now: datetime) -> QuerySet[CandidateCheck]:
    """The open checks that no worker has in hand."""
    return CandidateCheck.objects.filter(Q(lease_until=None) | Q(lease_until__lt=now), status__in=OPEN)


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.KEYFARE_CHECK_LEASE_SECONDS)
