"""How a check ends: with a result, or free of charge; and how all of an organization are ended at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from billing.ledger import release_hold
from candidates.failure_cap import was_paid_by_operator
from candidates.models import Briefing, CandidateCheck
from organizations import clock
from organizations.models import Organization
from providers.adapters.reasons import Reason

Status = CandidateCheck.Status
OPEN = (Status.PENDING, Status.IN_PROGRESS)
BATCH = 1000  # people a statement; SQLite allows some thousand parameters


def end_checks(*, organization: Organization, reason: Reason) -> int:
    """
    Fail every open check free of charge with `reason`, whoever works on it; returns how many.

    A call that is under way is not stopped. Its usage is recorded; its result, which comes without a lease, is dropped.
    """
    checks = CandidateCheck.objects.for_organization(organization).filter(status__in=OPEN)
    ended = 0
    for pk in list(checks.order_by("accepted_at", "pk").values_list("pk", flat=True)):
        with transaction.atomic():
            check = checks.select_related("organization").select_for_update(of=("self",)).filter(pk=pk).first()
            if check is not None:
                fail_check(check, reason, clock.now())
                ended += 1
    return ended


def fail_check(check: CandidateCheck, why: Reason, now: datetime) -> None:
    """End a locked check free of charge, and say why. What counts of the person then is the result before."""
    before = _result_before(check)
    if check.hold_id:
        release_hold(organization=check.organization, hold_id=check.hold_id)
    check.charged = 0
    check.failed_after_answer = was_paid_by_operator(check)
    check.failure_reason = why.as_json()
    if before:
        check.is_latest = False
    finish_check(check, Status.FAILED, now)
    if before:
        before.is_latest = True
        before.save(update_fields=["is_latest"])


def finish_check(check: CandidateCheck, status: Status, now: datetime) -> None:
    """
    Write the last state of a locked check; whoever worked on it has lost its lease.

    Nothing else of the row is written in the transaction: a second time PostgreSQL would lock all that it refers to,
    the briefing among them, for which whoever changes requirements makes us wait while waiting for the check.
    """
    check.status, check.completed_at = status, now
    check.lease_token = check.lease_until = None
    check.save()


def make_way(*, briefing: Briefing, candidates: Sequence[int]) -> None:
    """Before new checks of these people are stored, which are their latest ones then. Wants the briefing locked."""
    latest = CandidateCheck.objects.for_organization(briefing.organization).filter(briefing=briefing, is_latest=True)
    for start in range(0, len(candidates), BATCH):
        latest.filter(candidate__in=candidates[start : start + BATCH]).update(is_latest=False)


def _result_before(check: CandidateCheck) -> CandidateCheck | None:
    """Locked. Nobody else changes what counts of the person while the open check is locked."""
    of_the_person = CandidateCheck.objects.for_organization(check.organization).filter(
        briefing=check.briefing_id, candidate=check.candidate_id, status=Status.COMPLETED
    )
    return of_the_person.order_by("-accepted_at", "-pk").select_for_update(no_key=True).only("pk").first()
