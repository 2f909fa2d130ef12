"""The columns that calls have alike while they are under way, when they ended, and summed by the day."""

from __future__ import annotations

from dataclasses import fields

from django.db import models

from usage.facts import CallFacts, Origin


class Mode(models.TextChoices):
    """Who pays the provider: the operator of the installation, or the organization with its own key."""

    MANAGED = "managed", "Managed"
    BYOK = "byok", "BYOK"


class CalledBy(models.Model):
    """The columns of CallFacts."""

    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200, help_text="As requested.")
    action = models.CharField(max_length=60)
    key_id = models.UUIDField()
    key_label = models.CharField(max_length=80)
    mode = models.CharField(max_length=10, choices=Mode.choices)

    class Meta:
        abstract = True

    @property
    def facts(self) -> CallFacts:
        return CallFacts(**{field.name: getattr(self, field.name) for field in fields(CallFacts)})


class Asked(models.Model):
    """The columns of Origin, and what else is known of a call before it leaves."""

    token_id = models.BigIntegerField(null=True, blank=True, help_text="The API token that it came by.")
    member_id = models.BigIntegerField(null=True, blank=True, help_text="The user whose token that was then.")
    labels = models.JSONField(default=dict, blank=True, help_text="What the caller sorts its calls by.")
    rule_version = models.PositiveIntegerField(null=True, blank=True, help_text="Of the routing rule that it went by.")
    attempt = models.PositiveSmallIntegerField(default=1)
    attempt_of = models.UUIDField(null=True, blank=True, help_text="The call that this is a further attempt of.")
    is_stream = models.BooleanField(default=False)

    class Meta:
        abstract = True

    @property
    def origin(self) -> Origin:
        return Origin(self.token_id, self.member_id, self.labels)
