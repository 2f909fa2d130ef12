"""Trials: finished checks asked once more of another model."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from candidates.failures import Failure
from organizations.models import Organization, TenantQuerySet


class Trial(models.Model):
    """
    Some finished checks of a briefing, asked once more of another model on the organization's own key, to compare.

    What comes of it is kept here and nowhere else: it changes no check, no fit and no credits. The row is the truth
    about the work, which a worker claims by lease.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    briefing = models.ForeignKey("candidates.Briefing", on_delete=models.CASCADE, related_name="+")
    route = models.JSONField(help_text="The pinned route: provider, model, key.")
    most_nanousd = models.BigIntegerField(
        null=True, blank=True, help_text="What it was quoted to cost at most; empty: no price is known."
    )
    requested_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = TenantQuerySet["Trial"].as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["organization", "briefing", "-requested_at"], name="trial_by_briefing"),
            models.Index(fields=["requested_at"], condition=Q(ended_at=None), name="trial_open"),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.id}"

    @property
    def model(self) -> str:
        return str(self.route["model"])

    @property
    def provider(self) -> str:
        return str(self.route["provider"])


class TrialCheck(models.Model):
    """One check of a trial: what the other model said of the same profile and requirements, or why it said nothing."""

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="checks")
    check_row = models.ForeignKey("candidates.CandidateCheck", on_delete=models.CASCADE, related_name="+")
    run_id = models.UUIDField(default=uuid.uuid4, editable=False)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    failure_reason = models.JSONField(null=True, blank=True, editable=False)
    verdicts = models.JSONField(
        default=dict, blank=True, help_text="Requirement id → verdict, claimed, quote and reason, as they count."
    )

    objects = TenantQuerySet["TrialCheck"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "trial", "check_row"], name="a_check_once_a_trial"),
        ]

    def __str__(self) -> str:
        return f"{self.trial_id} {self.check_row_id}"

    @property
    def why_failed(self) -> str:
        return Failure.from_json(self.failure_reason).sentence if self.failure_reason else ""
