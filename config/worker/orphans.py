"""Frees the tasks of clusters that are dead, so that they run again within two minutes."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django_q.models import OrmQ

from config.models import HeldTask, WorkerCluster
from config.worker import heartbeat

logger = logging.getLogger(__name__)


class Orphans:
    """
    What one live cluster knows of the others that hold tasks.

    A cluster is dead when whoever saw its processes end said so, or when its beats have been late for a while that
    this observer has seen with its own eyes: after the database was away, everybody's beats look late at first.
    """

    def __init__(self, own: UUID) -> None:
        self.own = own
        self._seen: dict[UUID, tuple[datetime, float]] = {}  # the beat, and when it was first seen (monotonic)

    def free(self) -> int:
        """Free the tasks of the dead; how many. Ask every few seconds."""
        heartbeat.mind_the_clock()
        others = list(WorkerCluster.objects.exclude(pk=self.own).filter(held_tasks__isnull=False).distinct())
        late = set(
            WorkerCluster.objects.filter(
                pk__in=[other.pk for other in others], beat_at__lt=heartbeat.ago(heartbeat.late_after())
            ).values_list("pk", flat=True)
        )
        now = monotonic()
        seen, self._seen = self._seen, {}
        freed = 0
        for other in others:
            beat, since = seen.get(other.pk, (None, now))
            self._seen[other.pk] = other.beat_at, since if beat == other.beat_at else now
            watched = now - self._seen[other.pk][1]
            if other.stopped_at or (other.pk in late and watched >= settings.KEYFARE_WORK_LATE_SECONDS / 4):
                freed += free_tasks_of(other.pk)
        return freed


def free_tasks_of(cluster: UUID) -> int:
    """Free what a dead cluster holds, and note its end; how many tasks. Never for one that lives."""
    with transaction.atomic():
        # Of several that notice at once, the second finds nothing any more.
        WorkerCluster.objects.select_for_update().get(pk=cluster)
        heartbeat.note_stopped(cluster)
        held = list(HeldTask.objects.filter(cluster=cluster).values_list("pk", flat=True))
        freed: int = OrmQ.objects.filter(pk__in=held).update(lock=Now())
        HeldTask.objects.filter(pk__in=held).delete()
    if freed:
        logger.warning("%s tasks of a worker that ended are free again.", freed)
    return freed


def free_task(task: int, *, after: timedelta) -> None:
    """Free one task, whose process died in a cluster that lives, for another try after a while."""
    OrmQ.objects.filter(pk=task).update(lock=Now() + after)
