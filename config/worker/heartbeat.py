"""
Signs of life of the worker, in the database and by its clock, for everybody who wants to know whether work is done.

A cluster beats every KEYFARE_WORKER_PROBE_SECONDS: when a probe task came back that went the way of every task, or
while all its workers are busy and alive. After KEYFARE_WORK_LATE_SECONDS without a beat, work counts as stopped.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django_q.models import OrmQ

from config.models import WorkerCluster

KEPT = timedelta(days=7)
WAITS_TOO_LONG = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Since:
    """A moment by the database's clock, and how long ago that was when it was asked."""

    at: datetime
    age: timedelta


def last_sign_of_life() -> Since | None:
    """The last beat of any cluster, or nothing if none was ever seen."""
    return _newest(WorkerCluster.objects.order_by("-beat_at"), "beat_at")


def oldest_waiting_task() -> Since | None:
    """
    Since when the task that has waited longest could have run, or nothing if none waits.

    A task that a worker has in hand does not wait, nor does one that failed, until it is tried again.
    """
    return _newest(OrmQ.objects.filter(lock__lte=Now()).order_by("lock"), "lock")


def waits_too_long() -> bool:
    """Whether a task has waited longer than even a busy worker should leave it."""
    oldest = oldest_waiting_task()
    return oldest is not None and oldest.age > WAITS_TOO_LONG


def late_after() -> timedelta:
    return timedelta(seconds=settings.KEYFARE_WORK_LATE_SECONDS)


def ago(age: timedelta) -> models.expressions.Combinable:
    """The moment `age` ago, by the database's clock, for use in a query."""
    return models.ExpressionWrapper(Now() - models.Value(age), output_field=models.DateTimeField())


# By the clusters themselves


def beat(cluster: UUID) -> None:
    """The cluster lives; the first beat makes it known."""
    known = WorkerCluster.objects.filter(pk=cluster)
    if not known.update(beat_at=Now(), stopped_at=None, alarm_tried_at=None, alarm_sent_at=None):
        new = WorkerCluster(pk=cluster, host=socket.gethostname()[:255])
        WorkerCluster.objects.bulk_create([new], ignore_conflicts=True)  # pusher and monitor may beat at once
        forget_old_clusters()


def note_stopped(cluster: UUID) -> None:
    """All processes of the cluster have ended: what it holds is free for others."""
    WorkerCluster.objects.filter(pk=cluster, stopped_at=None).update(stopped_at=Now())


def forget_old_clusters() -> None:
    """Delete what has been silent for a week and holds nothing; the last one seen stays."""
    newest = WorkerCluster.objects.order_by("-beat_at").values_list("pk", flat=True)[:1]
    WorkerCluster.objects.filter(beat_at__lt=ago(KEPT), held_tasks=None).exclude(pk__in=list(newest)).delete()


def _newest(rows: models.QuerySet[models.Model], column: str) -> Since | None:
    # One clock for both: the database's. Subtraction in Python, since SQLite has no intervals.
    found = rows.annotate(asked_at=Now()).values_list(column, "asked_at").first()
    return Since(at=found[0], age=max(found[1] - found[0], timedelta())) if found else None
