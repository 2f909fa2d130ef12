"""What django-q2 runs; each line is a service. Payloads carry ids only."""

from __future__ import annotations

from candidates import briefings, checks
from organizations import clock
from organizations.tenancy import EVERY, scope

# A task claims new checks for this long, then hands the rest to a new task; well below the task timeout.
TIME_BUDGET_SECONDS = 240.0


def is_stopping() -> bool:
    """Whether the process is about to end, so that no new checks are claimed; the worker puts its own here."""
    return False


@scope(EVERY, "the task names an organization, whose checks may run on managed keys")
def run_checks(organization_id: int) -> None:
    worked = checks.run_pending_checks(
        organization_id=organization_id, time_budget_seconds=TIME_BUDGET_SECONDS, is_stopping=is_stopping
    )
    if worked.ran_out_of_time:
        checks.queue_checks(organization_id)


@scope(EVERY, "the briefing of the task tells its organization")
def draft_briefing(briefing_id: int) -> None:
    briefings.draft_briefing(briefing_id, now=clock.now())
