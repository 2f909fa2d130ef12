"""
Rows of calls that are about to be written.

They have the attributes of the models' columns, and nothing else of a model: making a model of each call took longer
than all the rest that a writer does for it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import SimpleNamespace


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
