"""
Signs of life of the worker, in the database and by its clock, for everybody who wants to know whether work is done.

A cluster beats every KEYFARE_WORKER_PROBE_SECONDS: when a probe task came back that went the way of every task, or
while all its workers are busy and alive. After KEYFARE_WORK_LATE_SECONDS without a beat, work counts as stopped.
That it was started is no beat: one that dies at its work each time is started again and again.

The database's clock may be set back. A beat that lies in the future then is counted from when somebody looks at it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F
from django.db.models.functions import Least, Now
from django_q.conf import Conf
from django_q.models import OrmQ

from config.models import WorkerCluster

KEPT = timedelta(days=7)
BEFORE_THE_START = timedelta(seconds=1)  # the beat of a cluster that has not beaten yet
WAITS_TOO_LONG = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Since:
    """A moment by the database's clock, and how long ago that was when it was asked."""

    at: datetime
    age: timedelta


def last_sign_of_life() -> Since | None:
    """The last beat of any cluster, or nothing if none was ever seen."""
    return _newest(clusters_that_beat().order_by("-beat_at"), "beat_at")


def clusters_that_beat() -> models.QuerySet[WorkerCluster]:
    """Those that have shown a sign of life, whether they still do or not."""
    mind_the_clock()
    return WorkerCluster.objects.filter(beat_at__gte=F("started_at"))


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


def mind_the_clock() -> None:
    """
    Bring to the present what the database's clock wrote before it was set back, and would hide for as long.

    Of tasks too: one that waits is due, one in hand is not tried again before it would be if it had begun now.
    """
    future = WorkerCluster.objects.filter(beat_at__gt=ago(-late_after()))
    if future.exists():  # without the lock that a change takes on SQLite
        future.update(beat_at=Now(), started_at=Least(F("started_at"), Now()))
    longest = timedelta(seconds=Conf.RETRY)
    for tasks, due_in in ((OrmQ.objects.filter(held=None), timedelta()), (OrmQ.objects.exclude(held=None), longest)):
        late = tasks.filter(lock__gt=ago(-due_in - late_after()))
        if late.exists():
            late.update(lock=ago(-due_in))


def late_after() -> timedelta:
    return timedelta(seconds=settings.KEYFARE_WORK_LATE_SECONDS)


def ago(age: timedelta) -> models.expressions.Combinable:
    """The moment `age` ago, by the database's clock, for use in a query."""
    return models.ExpressionWrapper(Now() - models.Value(age), output_field=models.DateTimeField())


# By the clusters themselves


def note_started(cluster: UUID) -> None:
    """Make the cluster known, so that it can hold tasks."""
    new = WorkerCluster(pk=cluster, host=socket.gethostname()[:255], beat_at=Now() - BEFORE_THE_START)
    WorkerCluster.objects.bulk_create([new], ignore_conflicts=True)  # pusher and monitor may be at it at once
    forget_old_clusters()


def beat(cluster: UUID) -> None:
    """The cluster lives, and work gets through it."""
    known = WorkerCluster.objects.filter(pk=cluster)
    for _ in range(2):
        if known.update(
            beat_at=Now(),
            started_at=Least(F("started_at"), Now()),
            stopped_at=None,
            alarm_tried_at=None,
            alarm_sent_at=None,
        ):
            return
        note_started(cluster)


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
