"""
How often a day Managed checks of one organization may fail after the model had answered.

Such a check costs no credits, but the operator paid for its calls: a model or a profile that never gives a readable
answer would spend the operator's money for as long as somebody asks.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db.models import Q

from candidates.failures import Failure
from candidates.models import CandidateCheck
from organizations.models import Organization
from usage.days import midnight_before
from usage.models import Mode, UsageEvent


class TooManyFailures(Exception):
    """So many Managed checks failed today that no further one starts; the text is a sentence."""

    def __init__(self) -> None:
        cap: int = settings.KEYFARE_MANAGED_DAILY_FAILURES
        self.reason = Failure(f"check.too_many_failures{'.one' if cap == 1 else ''}", {"cap": cap})
        super().__init__(self.reason.sentence)


def refuse_after_failures(*, organization: Organization, mode: str, now: datetime) -> None:
    """
    Raise TooManyFailures where no further check in `mode` may call a model on the UTC day of `now`.

    Asked at acceptance and again before the first call of every check, so that the cap is overshot by no more than
    the checks in flight.
    """
    if mode != Mode.MANAGED:
        return
    midnight = midnight_before(now)
    failed = CandidateCheck.objects.for_organization(organization).filter(
        failed_after_answer=True, completed_at__gte=midnight
    )
    if failed.count() >= settings.KEYFARE_MANAGED_DAILY_FAILURES:
        raise TooManyFailures


def was_paid_by_operator(check: CandidateCheck) -> bool:
    """Whether a managed key paid for a call of this check."""
    if check.mode != Mode.MANAGED:
        return False
    calls = UsageEvent.objects.for_organization(check.organization).filter(run_id=check.run_id)
    return calls.filter(Q(status=UsageEvent.Status.ANSWERED) | Q(cost_nanousd__gt=0)).exists()
