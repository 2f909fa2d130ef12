"""
Running candidate checks: accept, claim, ask, write down.

Accepting pins mode, price and route and sets the credits aside, all or nothing. The rows then are the work queue:
a worker claims some by lease, asks the model with many calls in flight in one asyncio loop, and writes each result
as it comes together with the capture of its hold; by then its call is in the books already. A worker that dies leaves
leases that run out; whoever claims next goes on. A result whose lease was lost is dropped, never charged.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django_q.tasks import async_task

from billing.ledger import HoldRequest, capture_hold, hold_credits
from candidates import recency
from candidates.check_endings import OPEN, fail_check, finish_check
from candidates.credit_costs import ACTIONS_OF_A_CHECK, CREDIT_COSTS, lower_prices
from candidates.failure_cap import TooManyFailures, refuse_after_failures
from candidates.models import Briefing, Candidate, CandidateCheck, Profile, Requirement, RequirementVerdict
from candidates.profiles import profile_text
from candidates.prompts.check import RUBRIC_VERSION, Verdict, check_request, parse_verdicts
from candidates.scoring import score
from gateway import asking, dispatch
from gateway.asking import NoAnswer
from gateway.dispatch import PreparedCall
from organizations import clock
from organizations.models import Organization, User
from organizations.tenancy import scope
from providers.adapters.base import ChatRequest
from providers.egress import Egress, open_client
from routing.actions import CANDIDATE_CHECK
from routing.resolve import Route, RouteUnavailable, mode_of, resolve

logger = logging.getLogger(__name__)

MAX_CLAIMS = 3  # a check whose worker died this often fails
Status = CandidateCheck.Status


class BriefingNotReady(Exception):
    """Nothing can be checked against this briefing yet; the text says why."""


class PriceRose(Exception):
    """The checks would cost more than the person agreed to; nothing was started."""

    def __init__(self, *, agreed: int, price: int) -> None:
        self.agreed, self.price = agreed, price
        super().__init__(f"These checks now cost {price} credits instead of {agreed}. Look again and confirm.")


@dataclass(frozen=True, slots=True)
class Accepted:
    checks: list[CandidateCheck]
    skipped: int  # candidates with a check against this briefing that is still open
    cheaper: int = 0  # checks that cost less than quoted, because another organization checked the person lately

    @property
    def note(self) -> str:
        """What is to be said of the price, as a sentence, or nothing."""
        if not self.cheaper:
            return ""
        who = "1 of them costs" if self.cheaper == 1 else f"{self.cheaper} of them cost"
        return f"{who} less, because they were checked lately in another organization."


@dataclass(frozen=True, slots=True)
class Worked:
    completed: int
    failed: int
    ran_out_of_time: bool


def accept_checks(
    *,
    organization: Organization,
    briefing: Briefing,
    candidates: Sequence[Candidate],
    actor: User | None,
    now: datetime,
    agreed_credits: int | None = None,
) -> Accepted:
    """
    Accept one check for each of `candidates`: prices and route are pinned and the credits held, all or nothing.

    Prices are those of a quote, or lower where another organization of the recency network checked the person.

    Raises BriefingNotReady, RouteUnavailable, TooManyFailures (Managed mode), billing.ledger.NotEnoughCredits, and
    PriceRose when the total is above `agreed_credits`; then nothing was started.
    """
    with transaction.atomic():
        # Nothing is accepted once the organization is closed, whose checks are ended then.
        organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        briefing = Briefing.objects.for_organization(organization).select_for_update(no_key=True).get(pk=briefing.pk)
        if briefing.state != Briefing.State.READY or not briefing.requirements.for_organization(organization).exists():
            raise BriefingNotReady("This briefing has no requirements yet. Add at least one, then run the checks.")
        route = resolve(organization=organization, action=CANDIDATE_CHECK.slug)
        mode = mode_of(organization=organization, actions=ACTIONS_OF_A_CHECK)
        busy = set(
            briefing.checks.for_organization(organization)
            .filter(status__in=OPEN)
            .values_list("candidate_id", flat=True)
        )
        wanted = [candidate for candidate in candidates if candidate.pk not in busy]
        if wanted:
            refuse_after_failures(organization=organization, mode=mode, now=now)
        kinds = recency.kind_for(candidates=wanted, organization=organization, now=now)
        profiles = _latest_profiles(organization, wanted)
        checks = [
            CandidateCheck(
                organization=organization,
                briefing=briefing,
                candidate=candidate,
                profile=profiles[candidate.pk],
                mode=mode,
                kind=kinds[candidate.pk],
                price=CREDIT_COSTS[mode, kinds[candidate.pk]],
                route=route.as_json(),
                accepted_at=now,
                created_by=actor,
            )
            for candidate in wanted
        ]
        total = sum(check.price for check in checks)
        if agreed_credits is not None and total > agreed_credits:
            raise PriceRose(agreed=agreed_credits, price=total)
        cheaper = lower_prices(organization=organization, checks=checks, now=now)
        hold_credits(
            organization=organization,
            requests=[
                HoldRequest(id=check.pk, amount=check.price, purpose=f"Candidate check {check.pk}")
                for check in checks
                if check.price
            ],
        )
        for check in checks:
            check.hold_id = check.pk if check.price else None
        CandidateCheck.objects.bulk_create(checks)
        if checks:
            transaction.on_commit(lambda: queue_checks(organization.pk))
    return Accepted(checks, skipped=len(candidates) - len(wanted), cheaper=cheaper)


def queue_checks(organization_id: int) -> None:
    async_task("candidates.tasks.run_checks", organization_id)


def run_pending_checks(
    *,
    organization_id: int,
    time_budget_seconds: float | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
    on_finished: Callable[[Status], None] | None = None,
) -> Worked:
    """
    Work on the organization's open checks until none is left to claim. No new ones are claimed once the budget is used
    up or the process is to stop; then the time has run out.

    Safe to run many times at once: every check is claimed by one worker. `on_finished` is called with each final
    status as it is written.
    """
    worker = _Worker(organization_id, on_finished)
    organization = Organization.objects.get(pk=organization_id)
    with scope(organization, "the worker of one organization's checks"):
        return async_to_sync(worker.run)(time_budget_seconds, is_stopping)


def organizations_with_waiting_checks(*, now: datetime) -> list[int]:
    """Ids of organizations whose checks wait for a worker longer than they should: their task or worker was lost."""
    waiting = CandidateCheck.objects.filter(status__in=OPEN).filter(
        Q(lease_until__lt=now) | Q(lease_until=None, accepted_at__lt=now - timedelta(seconds=60))
    )
    return sorted(set(waiting.values_list("organization_id", flat=True)))


@dataclass(frozen=True, slots=True)
class _Claim:
    """A check this worker may write to, as long as its lease token stands in the row."""

    check: CandidateCheck
    token: uuid.UUID
    route: Route
    requirements: Sequence[Requirement]
    profile_text: str
    request: ChatRequest


class _LeaseLost(Exception):
    """Another worker has the check, or it ended."""


class _Worker:
    def __init__(self, organization_id: int, on_finished: Callable[[Status], None] | None) -> None:
        self.organization_id = organization_id
        self.on_finished = on_finished
        self.in_flight = settings.KEYFARE_CHECKS_IN_FLIGHT
        self.is_broken = False  # no new claims: what broke may break every check, at the price of a call each
        self.counts = {Status.COMPLETED: 0, Status.FAILED: 0}

    async def run(self, time_budget_seconds: float | None, is_stopping: Callable[[], bool]) -> Worked:
        stop_at = time.monotonic() + time_budget_seconds if time_budget_seconds else None
        running: set[asyncio.Task[None]] = set()
        out_of_time = False
        async with open_client() as client:
            while True:
                out_of_time = is_stopping() or (stop_at is not None and time.monotonic() > stop_at)
                free = self.in_flight - len(running)
                # Claim by the handful: one query for each finished check would be half of all queries.
                if not out_of_time and not self.is_broken and (not running or free >= self.in_flight // 4):
                    for claim in await sync_to_async(self._claim)(free):
                        running.add(asyncio.create_task(self._check(client, claim)))
                if not running:
                    break
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        return Worked(self.counts[Status.COMPLETED], self.counts[Status.FAILED], out_of_time)

    def _claim(self, limit: int) -> list[_Claim]:
        now, token = clock.now(), uuid.uuid4()
        with transaction.atomic():
            ids = list(
                CandidateCheck.objects.filter(organization_id=self.organization_id, status__in=OPEN)
                .filter(Q(lease_until=None) | Q(lease_until__lt=now))
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
                _Claim(
                    check=check,
                    token=token,
                    route=route,
                    requirements=wanted,
                    profile_text=profile_text(check.profile.content),
                    request=check_request(model=route.model, requirements=wanted, profile=check.profile),
                )
            )
        return claims

    async def _check(self, client: Egress, claim: _Claim) -> None:
        """One check from claim to result."""

        def prepare(iteration: int) -> PreparedCall:
            return self._prepare(claim, iteration)

        def read(text: str) -> list[Verdict]:
            return parse_verdicts(text, claim.requirements, claim.profile_text)

        try:
            try:
                verdicts = await asking.ask(client, prepare=prepare, request=claim.request, read=read)
            except _LeaseLost:
                return
            except (RouteUnavailable, TooManyFailures, NoAnswer) as failure:
                await sync_to_async(self._fail)(claim.check, claim.token, str(failure))
            else:
                await sync_to_async(self._complete)(claim, verdicts)
        except Exception:
            # A bug of ours, or the database is gone. The others in flight go on; the lease of this one runs out, it is
            # claimed again, and after MAX_CLAIMS it fails free of charge.
            self.is_broken = True
            logger.exception("Check %s was interrupted", claim.check.pk)

    def _prepare(self, claim: _Claim, iteration: int) -> PreparedCall:
        """Admit a call for the check. Raises _LeaseLost, RouteUnavailable and TooManyFailures."""
        check, now = claim.check, clock.now()
        if iteration > 1:
            self._renew_lease(claim)
        else:
            refuse_after_failures(organization=check.organization, mode=check.mode, now=now)
        return dispatch.prepare(
            organization=check.organization, route=claim.route, run_id=check.run_id, iteration=iteration, now=now
        )

    def _renew_lease(self, claim: _Claim) -> None:
        mine = CandidateCheck.objects.filter(
            organization_id=self.organization_id,
            pk=claim.check.pk,
            lease_token=claim.token,
            status=Status.IN_PROGRESS,
        )
        if not mine.update(lease_until=_lease(clock.now())):
            raise _LeaseLost

    def _complete(self, claim: _Claim, verdicts: Sequence[Verdict]) -> None:
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


def _lease(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.KEYFARE_CHECK_LEASE_SECONDS)


def _latest_profiles(organization: Organization, candidates: Iterable[Candidate]) -> dict[int, Profile]:
    profiles = Profile.objects.for_organization(organization).filter(candidate__in=candidates).order_by("version")
    return {profile.candidate_id: profile for profile in profiles}
