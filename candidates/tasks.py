"""What django-q2 runs; each line is a service. Payloads carry ids only."""

from __future__ import annotations

from uuid import UUID

from candidates import acceptance, briefings, trials
from candidates.worker import run_pending_checks
from organizations import clock
from organizations.tenancy import EVERY, scope

# A task claims new checks for this long, then hands the rest to a new task; well below the task timeout.
TIME_BUDGET_SECONDS = 240.0


def is_stopping() -> bool:
    """Whether the process is about to end, so that no new checks are claimed; the worker puts its own here."""
    return False


@scope(EVERY, "one worker serves the checks of everybody, each behind the wall of its organization")
def run_checks(*before: int) -> None:
    """`before` this version a task named an organization."""
    if run_pending_checks(time_budget_seconds=TIME_BUDGET_SECONDS, is_stopping=is_stopping).ran_out_of_time:
        acceptance.queue_checks()


@scope(EVERY, "the briefing of the task tells its organization")
def draft_briefing(briefing_id: int) -> None:
    briefings.draft_briefing(briefing_id, now=clock.now())


@scope(EVERY, "the trial of the task tells its organization")
def run_trial(trial_id: str) -> None:
    trials.run_trial(UUID(trial_id))
