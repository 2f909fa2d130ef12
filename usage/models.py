from __future__ import annotations

import uuid

from django.db import models

from organizations.models import Organization, TenantQuerySet


class Mode(models.TextChoices):
    """Who pays the provider: the operator of the installation, or the organization with its own key."""

    MANAGED = "managed", "Managed"
    BYOK = "byok", "BYOK"


class InFlightCall(models.Model):
    """
    A model call that was admitted and has no usage event yet.

    Written before the call leaves, removed by the transaction that writes its event. What a crash leaves behind
    is swept into an event with status *lost*, so that no call goes uncounted.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="Becomes the event's call_id.")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    action = models.CharField(max_length=60)
    key_id = models.UUIDField()
    key_label = models.CharField(max_length=80)
    mode = models.CharField(max_length=10, choices=Mode.choices)
    run_id = models.UUIDField()
    iteration = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField()
    deadline_at = models.DateTimeField(help_text="After this the caller is dead and the call counts as lost.")

    objects = TenantQuerySet["InFlightCall"].as_manager()

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.id}"


class UsageEvent(models.Model):
    """
    One model call: what was used and what it cost, as known when it ended.

    Append-only. Provider, model, action and key are snapshots in text, so history outlives keys and rules.
    Token classes are disjoint (see usage/tokens.py); cost is computed once and pinned with its price.
    """

    class Status(models.TextChoices):
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Failed"
        LOST = "lost", "Lost"

    class PriceSource(models.TextChoices):
        PROVIDER = "provider", "Reported by the provider"
        CATALOG = "catalog", "Price list"
        NONE = "none", "Unpriced"

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    call_id = models.UUIDField()
    occurred_at = models.DateTimeField(help_text="When the call left.")
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200, help_text="As requested.")
    served_model = models.CharField(max_length=200, blank=True, help_text="As the provider reported it.")
    action = models.CharField(max_length=60)
    key_id = models.UUIDField()
    key_label = models.CharField(max_length=80)
    mode = models.CharField(max_length=10, choices=Mode.choices)
    run_id = models.UUIDField(help_text="One execution of an action; its calls are its iterations.")
    iteration = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=10, choices=Status.choices)
    error_kind = models.CharField(max_length=40, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=200, blank=True, help_text="The provider's own id of the call.")
    uncached_input_tokens = models.PositiveBigIntegerField(default=0)
    cache_read_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0, help_text="Reasoning included.")
    reasoning_tokens = models.PositiveBigIntegerField(default=0, help_text="A part of output_tokens.")
    cost_nanousd = models.PositiveBigIntegerField(null=True, blank=True, help_text="Empty: unpriced.")
    price_source = models.CharField(max_length=10, choices=PriceSource.choices)
    price_version = models.CharField(max_length=80, blank=True)
    latency_ms = models.PositiveIntegerField(default=0)

    objects = TenantQuerySet["UsageEvent"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "call_id"], name="one_event_a_call"),
        ]
        indexes = [models.Index(fields=["organization", "-occurred_at"], name="usage_event_by_time")]

    def __str__(self) -> str:
        return f"{self.provider} {self.model} {self.call_id}"
