from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from organizations.models import Organization, TenantQuerySet
from organizations.names import NameField

LONGEST_QUERY = 2000


class SavedView(models.Model):
    """What somebody asks of *Consumption* again and again: the query of its address, shared or personal."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    name = NameField(max_length=80)
    query = models.CharField(max_length=LONGEST_QUERY, help_text="Of the address, as the form of the page reads it.")
    is_shared = models.BooleanField(default=False, help_text="With everybody in the organization.")
    # CASCADE: a personal view is of no use to anybody else, and a shared one is made again in a minute.
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()

    objects = TenantQuerySet["SavedView"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], condition=Q(is_shared=True), name="one_shared_view_a_name"
            ),
            models.UniqueConstraint(
                fields=["organization", "created_by", "name"],
                condition=Q(is_shared=False),
                name="one_personal_view_a_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name
