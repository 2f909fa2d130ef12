"""
What a model call is counted by.

Declared once: the path of a call passes it whole from its route to its event, and columns, the rollup's dimensions and
their uniqueness derive from it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# Added to the time that a call may take before its admission counts as left behind by a crash.
SETTLE_GRACE = timedelta(seconds=60)
# With the organization and the day, what a row of the rollup stands for.
COUNTED_BY = ("provider", "model", "action", "key_id", "mode")


@dataclass(frozen=True, slots=True)
class CallFacts:
    """
    Text that outlives keys and rules. `mode` is a value of usage.models.Mode; `key_label` is how the key was called
    when the call left: shown, and not counted by, since renaming a key begins nothing new.
    """

    provider: str
    model: str
    action: str
    key_id: uuid.UUID
    key_label: str
    mode: str


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Who asked for a call from outside; all empty for what Keyfare does by itself. `member_id` is the user in whose name
    the API token `token_id` stands, `labels` are what the caller sorts its calls by.
    """

    token_id: int | None = None
    member_id: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


OURSELVES = Origin()


@dataclass(frozen=True, slots=True)
class Admission:
    """
    One call that may leave: a value, to be carried along without the database.

    `id` becomes the call id of its event, `started_at` its moment. After `deadline_at` whoever made the call is dead,
    and the call counts as lost. `no_token_charges`: it goes to a server of one's own, and costs nothing by the token
    whatever becomes of it. `rule_version` is that of the routing rule, None without one. What is sent again before
    anything was answered is an attempt more of the call `attempt_of`.
    """

    id: uuid.UUID
    organization_id: int
    facts: CallFacts
    run_id: uuid.UUID
    iteration: int
    started_at: datetime
    deadline_at: datetime
    no_token_charges: bool = False
    rule_version: int | None = None
    attempt: int = 1
    attempt_of: uuid.UUID | None = None
    is_stream: bool = False
    origin: Origin = OURSELVES


def deadline_of(started_at: datetime, timeout_seconds: float) -> datetime:
    """The `deadline_at` of a call that may take so long."""
    return started_at + timedelta(seconds=timeout_seconds) + SETTLE_GRACE
