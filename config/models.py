from __future__ import annotations

from django.db import models
from django.db.models import Q
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


class CallCount(models.Model):
    """
    A sum over all calls since they were first counted, by names of closed lists: what `/metrics` tells.

    Only ever added to, by config/metrics/counting.py: whoever reads it twice never finds less.
    """

    measure = models.CharField(max_length=40)
    provider = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=200, blank=True)
    mode = models.CharField(max_length=10, blank=True)
    status = models.CharField(max_length=10, blank=True)
    door = models.CharField(max_length=10, blank=True)
    value = models.BigIntegerField()

    LABELS = ("provider", "model", "mode", "status", "door")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["measure", "provider", "model", "mode", "status", "door"], name="one_count_a_measure"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.measure} {self.provider} {self.model}"


class CallsCounted(models.Model):
    """How far CallCount has come: one row, moved in the transaction that adds to it. As usage.models.RollupState."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    position = models.BigIntegerField()
    after_id = models.BigIntegerField(default=0, help_text="Events up to this id are not counted.")
    system_identifier = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_state_of_counting")]

    def __str__(self) -> str:
        return f"counted to {self.position}"


class UsageCheck(models.Model):
    """One comparison of sums of usage with the calls themselves; see usage/self_check.py."""

    checked_at = models.DateTimeField()
    days = models.PositiveIntegerField(help_text="Days of organizations that were compared.")
    calls = models.PositiveBigIntegerField(help_text="That those days have by their calls.")
    differences = models.JSONField(default=list, help_text="The first ones, as usage.self_check.Difference.")
    differing = models.PositiveIntegerField(default=0, help_text="How many there are.")

    def __str__(self) -> str:
        return f"{self.checked_at:%Y-%m-%d %H:%M}: {self.differing} differ"
