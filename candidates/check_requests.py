"""One check at a time as programs ask for it: asking twice, by whatever accident, neither checks nor charges twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from candidates.checks import accept_checks
from candidates.models import Briefing, Candidate, CandidateCheck, CheckRequest
from organizations.models import Organization, User


class IdempotencyKeyReused(Exception):
    """The key was used before, for something else."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used before with another body. Give every check a key of its own.")


@dataclass(frozen=True, slots=True)
class Once:
    """A client's Idempotency-Key, and the SHA-256 of what it asks for under it."""

    key: str
    body_digest: str


def earlier_check(*, organization: Organization, once: Once) -> CandidateCheck | None:
    """The check that was accepted under the key before. Raises IdempotencyKeyReused."""
    requests = CheckRequest.objects.for_organization(organization).select_related("check_row")
    request = requests.filter(idempotency_key=once.key).first()
    if request is None:
        return None
    if request.body_digest != once.body_digest:
        raise IdempotencyKeyReused
    return request.check_row


def accept_check(
    *,
    organization: Organization,
    briefing: Briefing,
    candidate: Candidate,
    actor: User,
    now: datetime,
    once: Once | None,
) -> CandidateCheck:
    """
    Accept a check of `candidate`, or give the one that runs already, or the one that `once` stands for.

    Raises what `accept_checks` raises, and IdempotencyKeyReused; then nothing was started.
    """
    try:
        with transaction.atomic():
            if once is not None:
                # Twins take turns here, in the order of locks of accept_checks: the second finds what the first got.
                Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
                briefings = Briefing.objects.for_organization(organization).select_for_update(no_key=True)
                briefing = briefings.get(pk=briefing.pk)
                earlier = earlier_check(organization=organization, once=once)
                if earlier is not None:
                    return earlier
            accepted = accept_checks(
                organization=organization, briefing=briefing, candidates=[candidate], actor=actor, now=now
            )
            check = accepted.checks[0] if accepted.checks else _latest(briefing, candidate)
            if once is not None:
                CheckRequest.objects.create(
                    organization=organization,
                    idempotency_key=once.key,
                    body_digest=once.body_digest,
                    check_row=check,
                )
            return check
    except IntegrityError:
        # The key was used meanwhile, for another briefing; what we accepted is rolled back, its hold with it.
        earlier = earlier_check(organization=organization, once=once) if once is not None else None
        if earlier is None:
            raise
        return earlier


def _latest(briefing: Briefing, candidate: Candidate) -> CandidateCheck:
    """The one that ran when we looked; it may have ended meanwhile."""
    checks = CandidateCheck.objects.for_organization(briefing.organization)
    return checks.filter(briefing=briefing, candidate=candidate).latest("accepted_at")
