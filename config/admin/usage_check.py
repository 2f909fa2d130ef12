"""What the staff dashboard says of the comparison of sums with their calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.urls import reverse_lazy

from config.models import UsageCheck
from config.usage_checks import WHAT_TO_DO, read
from organizations import clock

LATE = timedelta(days=3)


def usage_check_figure() -> dict[str, Any]:
    """Whether sums were those of their calls; see `config.admin.dashboard.dashboard`. `is_bad`: look at it."""
    check = UsageCheck.objects.order_by("-pk").first()
    figure = {
        "label": "Sums of usage",
        "link": reverse_lazy("admin:usage_usagedaily_changelist"),
        "of": "usage.usagedaily",
    }
    if check is None:
        return figure | {"value": "Not checked yet", "note": "`manage.py check_usage` compares them with their calls."}
    when = f"{check.checked_at:%Y-%m-%d %H:%M} UTC"
    if check.differing:
        first = f"The first: {read(check.differences[0])}."
        more = "`manage.py check_usage --json` names all." if check.differing > 1 else ""
        note = " ".join(part for part in (f"Checked {when}.", first, more, WHAT_TO_DO) if part)
        return figure | {"value": f"{check.differing:,} wrong", "note": note, "is_bad": True}
    note = f"compared with {check.calls:,} calls of {check.days:,} days of organizations, {when}"
    if clock.now() - check.checked_at > LATE:
        return figure | {"value": "Not checked", "note": f"last {note}. Look at the worker's log.", "is_bad": True}
    return figure | {"value": "Right", "note": note}
