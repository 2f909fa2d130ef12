"""
Nobody saves over what somebody else changed after the form was shown.

A form carries, in a hidden field, what it was built from: a short digest of each part by its name (`stamp`). The
service that saves compares it with what is there now, under the lock of the row, and raises ChangedMeanwhile. Who posts
what is there already, as a double click does, is not refused: nothing is left to save.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime

from organizations import clock
from organizations.models import AuditEvent, Organization, User

FIELD = "seen"
DIGEST_CHARACTERS = 12


def stamp(parts: Mapping[str, object]) -> str:
    """What a form is built from, for its hidden field. Names hold neither spaces nor equals signs."""
    return " ".join(f"{name}={_digest(value)}" for name, value in parts.items())


class Seen:
    """The stamp that a form sent back. What it does not name, a mangled one nothing at all, was not seen."""

    def __init__(self, text: str) -> None:
        self._digests = dict(part.split("=", 1) for part in text.split() if "=" in part)

    @property
    def is_empty(self) -> bool:
        return not self._digests

    def showed(self, name: str, value: object) -> bool:
        return self._digests.get(name) == _digest(value)

    def knew(self, name: str) -> bool:
        return name in self._digests

    def changed(self, parts: Mapping[str, object]) -> list[str]:
        """The names of parts that are others now, or new, or gone."""
        now = [name for name, value in parts.items() if not self.showed(name, value)]
        return now + [name for name in self._digests if name not in parts]


class ChangedMeanwhile(Exception):
    """Somebody wants to change what is no longer as they saw it. Nothing was changed; str() is a sentence."""

    def __init__(
        self,
        what: str,
        *,
        by: User | None = None,
        at: datetime | None = None,
        reader: User | None,
        what_to_do: str = "Look at it, then save again to overrule.",
    ) -> None:
        """`what` follows “Ada changed”: "your route to …"."""
        who = "Somebody" if by is None else "You" if by == reader else by.get_full_name()
        elsewhere = ", perhaps in another tab," if by is not None and by == reader else ""
        when = f" at {moment(at)}" if at else ""
        super().__init__(
            f"{who}{elsewhere} changed {what}{when}, after this page was opened. Nothing was saved. {what_to_do}"
        )


def check_seen(
    seen: str | None,
    parts: Mapping[str, object],
    *,
    what: str,
    organization: Organization,
    actions: Collection[str],
    target: str = "",
    reader: User | None,
    what_to_do: str = "Look at it, then save again to overrule.",
) -> None:
    """
    Raises ChangedMeanwhile unless `parts` are as `seen` says. None: whoever asks saw no form.

    Who it was, the audit log knows: the last of `actions`, of `target` if that is given.
    """
    if seen is None or not Seen(seen).changed(parts):
        return
    events = AuditEvent.objects.for_organization(organization).filter(action__in=actions)
    event = (events.filter(target=target[:200]) if target else events).select_related("actor").order_by("-seq").first()
    raise ChangedMeanwhile(
        what,
        by=event.actor if event else None,
        at=event.created_at if event else None,
        reader=reader,
        what_to_do=what_to_do,
    )


def moment(at: datetime) -> str:
    day = "" if at.date() == clock.now().date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M} UTC"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:DIGEST_CHARACTERS]
