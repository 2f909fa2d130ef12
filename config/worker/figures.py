"""What the staff dashboard shows of background work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse_lazy
from django.utils.timesince import timesince
from django_q.models import Failure, OrmQ

from config.worker import heartbeat
from config.worker.alarm import stop_of_work
from organizations import clock

Figure = dict[str, Any]


def figures(*, today: datetime) -> list[Figure]:
    """Whether work is done, and what waits for it; `is_bad` where somebody has to look. `today`: its beginning, UTC."""
    failed = Failure.objects.filter(stopped__gte=today).count()
    return [
        {
            "label": "Background work",
            **_sign_of_life(),
            "link": reverse_lazy("admin:django_q_schedule_changelist"),
            "of": "django_q.schedule",
        },
        {
            "label": "Tasks waiting",
            **_waiting(),
            "link": reverse_lazy("admin:django_q_ormq_changelist"),
            "of": "django_q.ormq",
        },
        {
            "label": "Tasks failed today",
            "value": failed,
            "note": "see why, and run them again" if failed else "none has to be run again",
            "link": reverse_lazy("admin:django_q_failure_changelist"),
            "of": "django_q.failure",
        },
    ]


def clock_figures() -> list[Figure]:
    """One if this machine's clock is off, else none."""
    warning = clock.clock_warning()
    if not warning:
        return []
    return [
        {
            "label": "Clock",
            "value": f"{clock.clock_skew_seconds():+,.0f} s",
            "note": warning,
            "is_bad": True,
            "link": reverse_lazy("admin:django_q_schedule_changelist"),
            "of": "django_q.schedule",
        }
    ]


def _sign_of_life() -> Figure:
    stop = stop_of_work()
    if stop is None:
        last = heartbeat.last_sign_of_life()
        note = f"last sign of life {_ago(last)}" if last else "runs where it is asked for"
        return {"value": "Runs", "note": note}
    if stop.since is None:
        return {"value": "Never started", "note": "Start `manage.py qcluster`.", "is_bad": True}
    told = "ADMINS have been told." if stop.is_told else _why_nobody_is_told()
    return {
        "value": "Stopped",
        "note": f"Last sign of life {stop.since:%Y-%m-%d %H:%M} UTC. Look at the worker's log. {told}",
        "is_bad": True,
    }


def _why_nobody_is_told() -> str:
    return "ADMINS are being told." if settings.ADMINS else "Nobody was mailed, as ADMINS is not set."


def _waiting() -> Figure:
    oldest = heartbeat.oldest_waiting_task()
    return {
        "value": OrmQ.objects.count(),
        "note": f"the oldest since {oldest.at:%H:%M} UTC, {_ago(oldest)}" if oldest else "none is due",
        "is_bad": bool(oldest and oldest.age > heartbeat.late_after()),
    }


def _ago(since: heartbeat.Since) -> str:
    seconds = int(since.age.total_seconds())
    return f"{seconds} s ago" if seconds < 120 else f"{timesince(since.at, since.at + since.age)} ago"
