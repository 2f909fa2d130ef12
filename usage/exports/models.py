from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now

from organizations.models import Organization, TenantQuerySet


class SealedMonth(models.Model):
    """
    A month that is closed: which events it holds, and what its files are to the byte. Rules: usage/exports/sealing.py.

    Append-only. An event is within it if its id is at most `last_id`, and its position below `position` or its id at
    most `rebuilt_to_id`: where the rollup stood (RollupState), so that none can come to it later. What is written later
    is in the first month that is still open then. `pinned` is what else the files are made of and may change elsewhere:
    names and listed prices.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    month = models.DateField(help_text="Its first day.")
    layout = models.PositiveSmallIntegerField(help_text="By which columns and words its files are written.")
    last_id = models.BigIntegerField()
    position = models.BigIntegerField(help_text="See usage/ingest.py.")
    rebuilt_to_id = models.BigIntegerField()
    system_identifier = models.CharField(
        max_length=40, blank=True, help_text="The PostgreSQL cluster that counts the position."
    )
    pinned = models.JSONField()
    files = models.JSONField(help_text="Of each file its rows and the SHA-256 of its bytes.")
    sealed_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["SealedMonth"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "month"], name="one_seal_a_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"

    def file(self, name: str) -> tuple[int, str] | None:
        """Rows and digest of one of its files."""
        found: dict[str, Any] | None = self.files.get(name)
        return (found["rows"], found["sha256"]) if found else None
