"""What django-q2 runs; each line is a service. Payloads carry ids only."""

from __future__ import annotations

from django.utils import timezone

from candidates import briefings, checks

# A task claims new checks for this long, then hands the rest to a new task; well below the task timeout.
TIME_BUDGET_SECONDS = 240.0


def run_checks(organization_id: int) -> None:
    worked = checks.run_pending_checks(organization_id=organization_id, time_budget_seconds=TIME_BUDGET_SECONDS)
    if worked.ran_out_of_time:
        checks.queue_checks(organization_id)


def draft_briefing(briefing_id: int) -> None:
    briefings.draft_briefing(briefing_id, now=timezone.now())
