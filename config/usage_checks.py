"""What came of comparing sums of usage with their calls, kept for the staff page."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime
from typing import Any

from config.models import UsageCheck
from usage.self_check import Checked, Difference, check_usage

logger = logging.getLogger(__name__)
KEPT = 100  # checks
DIFFERENCES_KEPT = 50  # of each
WHAT_TO_DO = "`manage.py roll_up_usage --rebuild` derives all sums anew from the calls."


def check_and_note(*, now: datetime) -> Checked:
    """Compare, keep what came of it, and log what differs."""
    checked = check_usage(now=now)
    found = checked.differences
    UsageCheck.objects.create(
        checked_at=now,
        days=checked.days,
        calls=checked.calls,
        differences=[told(each) for each in found[:DIFFERENCES_KEPT]],
        differing=len(found),
    )
    newest = UsageCheck.objects.order_by("-pk").values_list("pk", flat=True)[:KEPT]
    UsageCheck.objects.exclude(pk__in=list(newest)).delete()
    if found:
        logger.error("%d sums of usage are not those of their calls: %s. %s", len(found), found[0], WHAT_TO_DO)
    return checked


def told(difference: Difference) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(difference) | {"day": difference.day.isoformat()}


def read(kept: dict[str, Any]) -> Difference:
    """What `told` has made."""
    return Difference(**{**kept, "day": datetime.fromisoformat(kept["day"]).date()})
