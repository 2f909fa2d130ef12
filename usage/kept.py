"""Since when calls are kept one by one; of days before that there are sums alone (usage/pruning.py)."""

from __future__ import annotations

from datetime import UTC, date, datetime

from usage.models import RollupState


def derived_from() -> date | None:
    """The first day whose sums are those of calls that are there; None: no call has ever left."""
    return RollupState.objects.values_list("derived_from", flat=True).first()


def kept_from() -> date | None:
    """The first of a month; None: no call has ever left. Before it, there may be corrections of a later month."""
    first = derived_from()  # which is later where what left counted on a day of which calls are kept
    return first.replace(day=1) if first else None


def may_have_left(moment: datetime) -> bool:
    """Whether there may have been calls at `moment` that are not kept any more."""
    first = kept_from()
    return first is not None and moment.astimezone(UTC).date() < first
