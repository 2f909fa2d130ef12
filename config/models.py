from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django_q.models import OrmQ


class WorkerCluster(models.Model):
    """
    One life of the worker: from the start of its processes to their end. Its beats tell that work is done.

    All times are the database's. `stopped_at` is written by whoever saw all its processes end.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    host = models.CharField(max_length=255)
    started_at = models.DateTimeField(db_default=Now())
    beat_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True)
    # Mails to ADMINS that it fell silent; a new beat takes both back.
    alarm_tried_at = models.DateTimeField(null=True)
    alarm_sent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"Worker on {self.host}"


class HeldTask(models.Model):
    """Which cluster holds a queued task. The row goes with the task, when that was done or given up."""

    task = models.OneToOneField(OrmQ, on_delete=models.CASCADE, primary_key=True, related_name="held")
    cluster = models.ForeignKey(WorkerCluster, on_delete=models.CASCADE, related_name="held_tasks")

    def __str__(self) -> str:
        return f"Task {self.task_id}"


class Sentinel(models.Model):
    """
    A digest of a constant under a secret of the installation: tells that the secret is still the same one.

    See `config/sentinels.py`.
    """

    name = models.CharField(max_length=40, primary_key=True)
    digest = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.name
