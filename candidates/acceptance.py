"""
Accepting candidate checks: it pins mode, price and route and sets the credits aside, all or nothing.

The rows then are the work queue, from which a worker (`candidates.worker`) claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django_q.tasks import async_task

from billing.ledger import HoldRequest, hold_credits
from candidates import recency
from candidates.check_endings import BATCH, OPEN, make_way
from candidates.check_route import mode_of_checks, route_of_checks
from candidates.credit_costs import CREDIT_COSTS, lower_prices
from candidates.failure_cap import refuse_after_failures
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from organizations.many_rows import insert_models
from organizations.models import Organization, User

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
        _check_ready(briefing)
        route = route_of_checks(organization=organization, briefing=briefing)
        mode = mode_of_checks(organization=organization, briefing=briefing)
        busy = set(
            briefing.checks.for_organization(organization)
            .filter(status__in=OPEN)
            .values_list("candidate_id", flat=True)
        )
        wanted = [candidate for candidate in candidates if candidate.pk not in busy]
        if wanted:
            refuse_after_failures(organization=organization, mode=mode, now=now)
        kinds = recency.kind_for(candidates=wanted, organization=organization, now=now)
        profiles = _newest_profiles(organization, wanted)
        checks = [
            CandidateCheck(
                organization_id=organization.pk,
                briefing_id=briefing.pk,
                candidate=candidate,
                profile_id=profiles[candidate.pk],
                mode=mode,
                kind=kinds[candidate.pk],
                price=CREDIT_COSTS[mode, kinds[candidate.pk]],
                route=route.as_json(),
                accepted_at=now,
                created_by_id=actor.pk if actor else None,
            )
            for candidate in wanted
        ]
        total = sum(check.price for check in checks)
        if agreed_credits is not None and total > agreed_credits:
            raise PriceRose(agreed=agreed_credits, price=total)
        cheaper = lower_prices(organization=organization, checks=checks, now=now)
        make_way(briefing=briefing, candidates=[check.candidate_id for check in checks])
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
        insert_models(checks)
        if checks:
            transaction.on_commit(queue_checks)
    return Accepted(checks, skipped=len(candidates) - len(wanted), cheaper=cheaper)


def _check_ready(briefing: Briefing) -> None:
    if briefing.archived_at:
        raise BriefingNotReady("This briefing is archived. Bring it back on its page, then run the checks.")
    if briefing.state == Briefing.State.REVIEW:
        raise BriefingNotReady(
            "Nobody has looked over these requirements yet. Open them, correct what is needed and press "
            "“Use these requirements”, then run the checks."
        )
    if (
        briefing.state != Briefing.State.READY
        or not briefing.requirements.filter(organization=briefing.organization_id).exists()
    ):
        raise BriefingNotReady("This briefing has no requirements yet. Add at least one, then run the checks.")


def queue_checks() -> None:
    """Have a worker see to the checks that wait, of whomever; one that is at it sees them by itself."""
    async_task("candidates.tasks.run_checks")


def organizations_with_waiting_checks(*, now: datetime) -> list[int]:
    """Ids of organizations whose checks wait for a worker longer than they should: their task or worker was lost."""
    waiting = CandidateCheck.objects.filter(status__in=OPEN).filter(
        Q(lease_until__lt=now) | Q(lease_until=None, accepted_at__lt=now - timedelta(seconds=60))
    )
    return sorted(set(waiting.values_list("organization_id", flat=True)))


def _newest_profiles(organization: Organization, candidates: Sequence[Candidate]) -> dict[int, int]:
    """Candidate id → profile id."""
    newest: dict[int, int] = {}
    for start in range(0, len(candidates), BATCH):
        profiles = Profile.objects.for_organization(organization).filter(
            candidate__in=candidates[start : start + BATCH]
        )
        newest |= dict(profiles.order_by("version").values_list("candidate_id", "pk"))
    return newest
