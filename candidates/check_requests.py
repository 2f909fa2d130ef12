"""Checks that are asked for twice, by whatever accident, are neither made nor charged twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from candidates.acceptance import accept_checks
from candidates.models import Briefing, Candidate, CandidateCheck
from organizations.models import Organization, User
from organizations.once import Once, do_once, earlier_result

PURPOSE = "candidate-check"


def accept_check(
    *,
    organization: Organization,
    briefing: Briefing,
    candidate: Candidate,
    actor: User,
    now: datetime,
    once: Once | None,
    agreed_credits: int | None = None,
) -> tuple[CandidateCheck, str]:
    """
    Accept a check of `candidate`, or give the one that runs already, or the one that `once` stands for.

    Returns it with what is to be said of its price. Raises what `accept_checks` raises, and KeyReused; then nothing
    was started.
    """
    note = ""

    def accept() -> str:
        nonlocal note
        accepted = accept_checks(
            organization=organization,
            briefing=briefing,
            candidates=[candidate],
            actor=actor,
            now=now,
            agreed_credits=agreed_credits,
        )
        note = accepted.note
        return str((accepted.checks[0] if accepted.checks else _latest(briefing, candidate)).pk)

    check_id = do_once(organization=organization, once=once, act=accept)
    return CandidateCheck.objects.for_organization(organization).get(pk=check_id), note


def earlier_check(*, organization: Organization, once: Once) -> CandidateCheck | None:
    """The check that was accepted under the key before. Raises KeyReused."""
    check_id = earlier_result(organization=organization, once=once)
    return CandidateCheck.objects.for_organization(organization).get(pk=check_id) if check_id else None


def accept_selection(
    *,
    organization: Organization,
    briefing: Briefing,
    candidates: Sequence[Candidate],
    actor: User,
    now: datetime,
    once: Once | None,
    agreed_credits: int,
) -> str:
    """
    Accept a check of each of `candidates`, and return what to say of it; under `once` a second time only that.

    Raises what `accept_checks` raises; then nothing was started.
    """

    def accept() -> str:
        accepted = accept_checks(
            organization=organization,
            briefing=briefing,
            candidates=candidates,
            actor=actor,
            now=now,
            agreed_credits=agreed_credits,
        )
        return " ".join(filter(None, [_started(len(accepted.checks), accepted.skipped), accepted.note]))

    return do_once(organization=organization, once=once, act=accept)


def _latest(briefing: Briefing, candidate: Candidate) -> CandidateCheck:
    """The one that ran when we looked; it may have ended meanwhile."""
    checks = CandidateCheck.objects.for_organization(briefing.organization)
    return checks.filter(briefing=briefing, candidate=candidate).latest("accepted_at")


def _started(count: int, skipped: int) -> str:
    started = f"{count} check{'' if count == 1 else 's'} started."
    return f"{started} {skipped} left out: already running." if skipped else started
