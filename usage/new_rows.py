"""
Rows of calls that are about to be written.

They have the attributes of the models' columns, and nothing else of a model: making a model of each call took longer
than all the rest that a writer does for it.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from usage.facts import Admission, CallFacts
from usage.models import InFlightCall, UsageEvent

# What an event takes over from the admission of its call: columns of both.
_FACTS = tuple(field.name for field in fields(CallFacts))
_ASKED = ("organization_id", "run_id", "iteration", "rule_version", "attempt", "attempt_of", "is_stream")
_ORIGIN = ("token_id", "member_id")
_KNOWN = (*_FACTS, *_ASKED, *_ORIGIN, "labels")
_facts_of, _asked_of, _origin_of = attrgetter(*_FACTS), attrgetter(*_ASKED), attrgetter(*_ORIGIN)

_OF_ADMISSION = ("id", "started_at", "deadline_at", "no_token_charges")
_of_admission = attrgetter(*_OF_ADMISSION)
ADMITTED = (*_KNOWN, *_OF_ADMISSION)
_GIVEN = ("id", "ingest_position")  # by the database
EVENT = tuple(field.attname for field in UsageEvent._meta.concrete_fields if field.name not in _GIVEN)
values_of_event = attrgetter(*EVENT)
assert set(ADMITTED) == {field.attname for field in InFlightCall._meta.concrete_fields}  # noqa: S101  # none is forgotten


class NewEvent(SimpleNamespace):
    """Of UsageEvent."""


@dataclass(slots=True)
class NewRun:
    """Of UsageRun. `pk` is known once it was looked up."""

    organization_id: int
    run_id: uuid.UUID
    action: str
    part: int
    started_at: datetime
    first_call_id: uuid.UUID
    is_priced: bool
    is_incomplete: bool
    pk: int | None = None

    @property
    def day(self) -> date:
        return self.started_at.astimezone(UTC).date()


def _known(call: Admission) -> tuple[Any, ...]:
    labels = json.dumps(dict(call.origin.labels), ensure_ascii=False) if call.origin.labels else "{}"
    return (*_facts_of(call.facts), *_asked_of(call), *_origin_of(call.origin), labels)


def values_of_admission(call: Admission) -> tuple[Any, ...]:
    """By ADMITTED."""
    return (*_known(call), *_of_admission(call))


def new_event(call: Admission, **ended: Any) -> NewEvent:
    """The event of a call that `ended` so."""
    known = dict(zip(_KNOWN, _known(call), strict=True))
    return NewEvent(**known, call_id=call.id, occurred_at=call.started_at, **ended)
