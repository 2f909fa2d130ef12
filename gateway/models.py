from __future__ import annotations

from django.db import models

from organizations.models import Organization, TenantQuerySet


class Change(models.Model):
    """
    On SQLite, that something changed of what snapshots hold: one row, with another mark after each change.

    Written by triggers alone (`gateway/change_triggers.py`); PostgreSQL notifies instead and leaves it empty.
    """

    mark = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.mark)


class StoredId(models.Model):
    """
    That a token was given an id of something its provider keeps: see `gateway/stored_ids.py`.

    Written with the event of the call whose answer named it, and forgotten when the provider forgets what it names.
    """

    id = models.UUIDField(primary_key=True, help_text="A keyed digest of token, key and id.")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    stored_at = models.DateTimeField(db_index=True)

    objects = TenantQuerySet["StoredId"].as_manager()

    def __str__(self) -> str:
        return str(self.id)
