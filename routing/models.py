from __future__ import annotations

from django.conf import settings
from django.db import models

from organizations.models import Organization, TenantQuerySet
from providers.models import ProviderKey
from usage.names import provider_name


class ManagedDefault(models.Model):
    """The model that serves an action on the operator's managed key, unless an organization chose its own."""

    action = models.CharField(max_length=60, unique=True)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.action}: {provider_name(self.provider)} {self.model}"


class RoutingRule(models.Model):
    """An organization's own choice of key and model for one action. No row: the managed default."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=60)
    key = models.ForeignKey(ProviderKey, on_delete=models.PROTECT, related_name="routing_rules")
    model = models.CharField(max_length=200)
    version = models.PositiveIntegerField(default=1)
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["RoutingRule"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "action"], name="one_rule_an_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action}: {self.model}"
