"""
Runs are counted once: by the first of their calls that is recorded, whatever else becomes of the calls.

A worker that dies and begins anew, a lost call that ends after all, two actions in one run, calls side by side:
each of them records calls of a run that another call has counted. One row per (organization, action, run) knows;
it is claimed and changed in the transaction that writes the event, and locked until that ends.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from usage.models import InFlightCall, UsageRun

PART = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Counted:
    """What an event counts of its run, by the names of its columns."""

    counts_run: bool
    counts_priced_run: bool
    counts_partly_priced_run: bool
    run_day: date | None


def count_run(*, call: InFlightCall, call_id: uuid.UUID, is_priced: bool, is_incomplete: bool) -> Counted:
    """
    Note in its run that `call` is recorded under `call_id`; returns what the event counts. Needs a transaction.

    `is_incomplete`: nobody knows what it cost. Claims last only as long as the event: undo both or none.
    """
    run = _part_of_run(call, call_id)
    was_priced, was_partly_priced = run.is_priced, run.is_priced and run.is_incomplete
    if (is_priced and not run.is_priced) or (is_incomplete and not run.is_incomplete):
        run.is_priced, run.is_incomplete = run.is_priced or is_priced, run.is_incomplete or is_incomplete
        run.save(update_fields=["is_priced", "is_incomplete"])
    return Counted(
        counts_run=run.first_call_id == call_id,
        counts_priced_run=run.is_priced and not was_priced,
        counts_partly_priced_run=run.is_priced and run.is_incomplete and not was_partly_priced,
        run_day=run.day if run.day != call.started_at.astimezone(UTC).date() else None,
    )


def _part_of_run(call: InFlightCall, call_id: uuid.UUID) -> UsageRun:
    begun = _claim(call, call_id, part=0)
    part = max((call.started_at - begun.started_at) // PART, 0)
    return _claim(call, call_id, part=part) if part else begun


def _claim(call: InFlightCall, call_id: uuid.UUID, *, part: int) -> UsageRun:
    """The one row of this part, made now unless it is there; locked."""
    row = UsageRun(
        organization=call.organization,
        action=call.action,
        run_id=call.run_id,
        part=part,
        started_at=call.started_at,
        first_call_id=call_id,
    )
    UsageRun.objects.bulk_create([row], ignore_conflicts=True)
    rows = UsageRun.objects.for_organization(call.organization).select_for_update()
    return rows.get(action=call.action, run_id=call.run_id, part=part)
