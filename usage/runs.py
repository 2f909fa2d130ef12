"""
Runs are counted once: by the first of their calls that is recorded, whatever else becomes of the calls.

A worker that dies and begins anew, a lost call that ends after all, two actions in one run, calls side by side:
each of them records calls of a run that another call has counted. One row per (organization, action, run) knows;
it is claimed and changed in the transaction that writes the event, and locked until that ends.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from organizations.many_rows import insert_rows
from usage.gaps import NOTHING_DUE
from usage.models import UsageRun
from usage.new_rows import NewEvent, NewRun

PART = timedelta(days=1)
NEW_RUN = tuple(field.name for field in fields(NewRun) if field.name != "pk")
values_of_run = attrgetter(*NEW_RUN)


class Part(NamedTuple):
    """Whole days since its run began; what a row of UsageRun stands for."""

    organization_id: int
    run_id: uuid.UUID
    action: str
    part: int


def count_runs(events: Sequence[NewEvent]) -> None:
    """
    Note in their runs that `events` are recorded, in this order, and set on each what it counts. Needs a transaction.

    Claims last only as long as the events: undo both or none.
    """
    firsts = [_part(event) for event in events]
    runs = _claim(zip(firsts, events, strict=True))
    parts = [_part(event, since=runs[first]) for event, first in zip(events, firsts, strict=True)]
    later = [(part, event) for part, event in zip(parts, events, strict=True) if part.part]
    runs |= _claim(later)
    changed: set[Part] = set()
    for part, event in zip(parts, events, strict=True):
        run = runs[part]
        is_first = run.first_call_id == event.call_id
        was_priced = run.is_priced and not is_first
        was_partly_priced = was_priced and run.is_incomplete
        is_priced, is_incomplete = _says(event)
        if (is_priced and not run.is_priced) or (is_incomplete and not run.is_incomplete):
            run.is_priced, run.is_incomplete = run.is_priced or is_priced, run.is_incomplete or is_incomplete
            changed.add(part)
        event.counts_run = is_first
        event.counts_priced_run = run.is_priced and not was_priced
        event.counts_partly_priced_run = run.is_priced and run.is_incomplete and not was_partly_priced
        event.run_day = run.day if run.day != event.occurred_at.astimezone(UTC).date() else None
    _store({part: runs[part] for part in sorted(changed)})


def begin_runs(events: Iterable[NewEvent]) -> list[NewRun]:
    """The runs that these calls are the first of, and set on each what it counts."""
    runs: list[NewRun] = []
    for event in events:
        run = _begun_by(event, _part(event))
        event.counts_run, event.counts_priced_run = True, run.is_priced
        event.counts_partly_priced_run, event.run_day = run.is_priced and run.is_incomplete, None
        runs.append(run)
    return runs


def _begun_by(event: NewEvent, part: Part) -> NewRun:
    is_priced, is_incomplete = _says(event)
    return NewRun(
        *part,
        started_at=event.occurred_at,
        first_call_id=event.call_id,
        is_priced=is_priced,
        is_incomplete=is_incomplete,
    )


def _says(event: NewEvent) -> tuple[bool, bool]:
    """Whether it has a price, and whether a cost that nobody knows."""
    return event.cost_nanousd is not None, bool(event.no_price) and event.no_price not in NOTHING_DUE


def _store(runs: Mapping[Part, UsageRun | NewRun]) -> None:
    """A statement for all that became the same, instead of one for each."""
    alike: defaultdict[tuple[bool, bool], list[Any]] = defaultdict(list)
    made = [part for part, run in runs.items() if run.pk is None]
    stored = _locked(made)
    for part in made:
        runs[part].pk = stored[part].pk
    for run in runs.values():
        alike[run.is_priced, run.is_incomplete].append(run.pk)
    organizations = {part.organization_id for part in runs}
    for (is_priced, is_incomplete), ids in alike.items():
        rows = UsageRun.objects.filter(organization__in=organizations, pk__in=ids)
        rows.update(is_priced=is_priced, is_incomplete=is_incomplete)


def _part(event: NewEvent, *, since: UsageRun | NewRun | None = None) -> Part:
    part = max((event.occurred_at - since.started_at) // PART, 0) if since else 0
    return Part(event.organization_id, event.run_id, event.action, part)


def _claim(first_calls: Iterable[tuple[Part, NewEvent]]) -> dict[Part, UsageRun | NewRun]:
    """The one row of each part, made now for the first of its calls unless it is there; locked."""
    rows: dict[Part, NewRun] = {}
    for part, event in first_calls:
        if part not in rows:
            rows[part] = _begun_by(event, part)
    # In one order, which all writers keep.
    values = [values_of_run(rows[part]) for part in sorted(rows)]
    made = insert_rows(UsageRun, NEW_RUN, values, ignore_conflicts=True)
    return {**rows} if made == len(rows) else {**_locked(list(rows))}


def _locked(parts: Sequence[Part]) -> dict[Part, UsageRun]:
    if not parts:
        return {}
    runs = UsageRun.objects.filter(
        organization__in={part.organization_id for part in parts},
        run_id__in={part.run_id for part in parts},
        part__in={part.part for part in parts},
    )
    return {
        Part(run.organization_id, run.run_id, run.action, run.part): run
        for run in runs.select_for_update().order_by("organization_id", "run_id", "action", "part")
    }
