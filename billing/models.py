from __future__ import annotations

import uuid

from django.db import models

from organizations.models import Organization, TenantQuerySet


class CreditAccount(models.Model):
    """The balance of one organization. Changed only by billing/ledger.py, always with a ledger entry."""

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, primary_key=True, related_name="+")
    posted = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    seq = models.BigIntegerField(default=0)

    objects = TenantQuerySet["CreditAccount"].as_manager()

    def __str__(self) -> str:
        return f"{self.organization_id}"


class CreditHold(models.Model):
    """Credits set aside for one thing that may still fail; captured with its result or released."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        CAPTURED = "captured", "Captured"
        RELEASED = "released", "Released"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    purpose = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet["CreditHold"].as_manager()

    def __str__(self) -> str:
        return f"{self.amount} {self.purpose}"
