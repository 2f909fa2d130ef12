"""
Work that has stopped: what everybody who waits for it reads, and the one mail to ADMINS.

Whoever sees it first sets the alarm off: a page that waits, the staff dashboard or `/readyz`. The mail leaves from
there and not by the outbox, which is work as well.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Now
from django_q.conf import Conf

from config.models import WorkerCluster
from config.worker import heartbeat
from organizations.outbox.at_once import tell_admins

THREAD = "alarm"
AGAIN_AFTER = timedelta(minutes=10)  # where the mail could not be sent


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing is worked on: since then, or, without a time, ever. `is_told`: a mail to ADMINS has left."""

    since: datetime | None = None
    is_told: bool = False


def stop_of_work() -> Stop | None:
    """What is to be said to those who wait for work, or nothing while work goes on. Tells ADMINS."""
    if Conf.SYNC:  # tasks run where they are asked for
        return None
    last = heartbeat.clusters_that_beat().annotate(asked_at=Now()).order_by("-beat_at").first()
    if last is None:
        return Stop()
    if last.asked_at - last.beat_at <= heartbeat.late_after():
        return None
    if settings.ADMINS and not last.alarm_sent_at and _claim(last.pk):
        threading.Thread(target=_tell, args=(last.pk, last.beat_at), name=THREAD, daemon=True).start()
    return Stop(since=last.beat_at, is_told=last.alarm_sent_at is not None)


def stop_of_work_if_late() -> Stop | None:
    """The same for pages that nobody waits on, by one statement as long as work goes on."""
    if Conf.SYNC:
        return None
    beaten = WorkerCluster.objects.filter(beat_at__gte=F("started_at")).annotate(asked_at=Now())
    last = beaten.order_by("-beat_at").first()
    if last is not None and last.asked_at - last.beat_at <= heartbeat.late_after():
        return None
    return stop_of_work()


def _claim(cluster: UUID) -> bool:
    """Whether the mail is ours to send."""
    quiet = Q(alarm_tried_at=None) | Q(alarm_tried_at__lt=heartbeat.ago(AGAIN_AFTER))
    return bool(WorkerCluster.objects.filter(quiet, pk=cluster, alarm_sent_at=None).update(alarm_tried_at=Now()))


def _tell(cluster: UUID, since: datetime) -> None:
    try:
        has_left = tell_admins(
            "Keyfare: background work has stopped",
            f"The worker was last seen at {since:%Y-%m-%d %H:%M} UTC. Since then no check, draft, validation or job "
            "runs, and no mail is sent. Nothing is lost: what waits goes on when the worker is back.\n\n"
            "Look at its log, and start it: `manage.py qcluster`.\n"
            f"{settings.SITE_URL}/admin/ shows since when work waits.\n",
        )
        if has_left:
            WorkerCluster.objects.filter(pk=cluster).update(alarm_sent_at=Now())
    finally:
        connection.close()
