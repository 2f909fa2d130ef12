"""
What a model call is counted by.

Declared once: the path of a call passes it whole from its route to its event, and columns, the rollup's dimensions and
their uniqueness derive from it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

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
class Admission:
    """
    One call that may leave: a value, to be carried along without the database.

    `id` becomes the call id of its event, `started_at` its moment. After `deadline_at` whoever made the call is dead,
    and the call counts as lost. `no_token_charges`: it goes to a server of one's own, and costs nothing by the token
    whatever becomes of it.
    """

    id: uuid.UUID
    organization_id: int
    facts: CallFacts
    run_id: uuid.UUID
    iteration: int
    started_at: datetime
    deadline_at: datetime
    no_token_charges: bool = False
