"""
Results of checks, written as many together as there are: verdicts, the capture of their holds, and their last state.

Results that completed share a transaction; one that failed has its own, since freeing a hold and saying which check of
the person counts then lock in another order. A result whose lease was lost is dropped, so writing twice writes once.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from billing.ledger import Capture, capture_holds
from candidates import recency
from candidates.check_endings import fail_check
from candidates.models import CandidateCheck, Requirement, RequirementVerdict
from candidates.prompts.check import RUBRIC_VERSION, Verdict
from candidates.scoring import score
from organizations import clock
from organizations.many_rows import insertion, update, write
from organizations.models import Organization
from providers.adapters.reasons import Reason

Status = CandidateCheck.Status

_VERDICT = ("organization_id", "check_row_id", "requirement_id", "verdict", "claimed", "quote", "reason")
_ENDED = (
    "id", "status", "completed_at", "lease_token", "lease_until", "charged", "score", "category", "rubric_version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check that a worker holds by `token`: its verdicts, or why there are none."""

    check_id: uuid.UUID
    token: uuid.UUID
    outcome: Sequence[Verdict] | Reason


def write_results(organization: Organization, results: Sequence[Result]) -> Iterator[Status]:
    """
    End the checks of one organization; yields the status of each once it is written. Wants to be iterated to the end.

    Those that completed are written together or not at all.
    """
    verdicts = {
        (result.check_id, result.token): result.outcome for result in results if not isinstance(result.outcome, Reason)
    }
    if verdicts:
        yield from [Status.COMPLETED] * _complete(organization, verdicts, clock.now())
    for result in results:
        if isinstance(result.outcome, Reason) and _fail(organization.pk, result, result.outcome):
            yield Status.FAILED


def requirements_of(organization_id: int, briefings: Collection[int]) -> dict[int, list[Requirement]]:
    """Briefing id → its requirements, in their order."""
    found: dict[int, list[Requirement]] = defaultdict(list)
    rows = Requirement.objects.filter(organization_id=organization_id, briefing__in=briefings)
    for requirement in rows.order_by("position", "pk"):
        found[requirement.briefing_id].append(requirement)
    return found


def _complete(
    organization: Organization, verdicts: dict[tuple[uuid.UUID, uuid.UUID], Sequence[Verdict]], now: datetime
) -> int:
    with transaction.atomic():
        owned = _locked(organization.pk, verdicts)
        # Weights may have changed while the model was asked.
        requirements = requirements_of(organization.pk, {check.briefing_id for check in owned})
        rows, ended = [], []
        for check in owned:
            given = verdicts[_claim_of(check)]
            rows += [_verdict_row(organization.pk, check.pk, verdict) for verdict in given]
            points, category = score(
                requirements[check.briefing_id], {verdict.requirement_id: verdict.verdict for verdict in given}
            )
            check.charged = check.price
            ended.append((check.pk, Status.COMPLETED, now, None, None, check.price, points, category, RUBRIC_VERSION))
        if owned:
            write(
                insertion(RequirementVerdict, _VERDICT, rows),
                update(CandidateCheck, organization, _ENDED, ended),
            )
        holds = [Capture(check.hold_id, check.price) for check in owned if check.hold_id]
        if holds:
            capture_holds(organization=organization, captures=holds)
        recency.note_for_network(checks=owned, now=now)
    return len(owned)


def _locked(organization_id: int, claims: Collection[tuple[uuid.UUID, uuid.UUID]]) -> list[CandidateCheck]:
    """The rows, locked in one order, whose leases are still held."""
    ids, tokens = {check_id for check_id, _ in claims}, {token for _, token in claims}
    rows = _held(organization_id).filter(pk__in=ids, lease_token__in=tokens)
    wanted = ["lease_token", "price", "hold_id", "mode", "briefing_id"]
    if settings.KEYFARE_NETWORK_RECENCY:
        rows = rows.select_related("organization", "candidate")
        wanted += ["organization", "candidate"]
    rows = rows.only(*wanted).select_for_update(of=("self",)).order_by("pk")
    return [check for check in rows if _claim_of(check) in claims]


def _claim_of(check: CandidateCheck) -> tuple[uuid.UUID, uuid.UUID]:
    assert check.lease_token is not None  # noqa: S101  # it was asked for
    return check.pk, check.lease_token


def _held(organization_id: int) -> QuerySet[CandidateCheck]:
    return CandidateCheck.objects.filter(organization_id=organization_id, status=Status.IN_PROGRESS)


def _verdict_row(organization_id: int, check_id: uuid.UUID, verdict: Verdict) -> tuple[object, ...]:
    return (
        organization_id,
        check_id,
        verdict.requirement_id,
        verdict.verdict,
        verdict.claimed,
        verdict.quote,
        verdict.reason,
    )


def _fail(organization_id: int, result: Result, why: Reason) -> bool:
    with transaction.atomic():
        rows = _held(organization_id).filter(pk=result.check_id, lease_token=result.token)
        check = rows.select_related("organization").select_for_update(of=("self",)).first()
        if check is None:
            return False
        fail_check(check, why, clock.now())
    return True
