from __future__ import annotations

from django.db import models


class Change(models.Model):
    """
    On SQLite, that something changed of what snapshots hold: one row, with another mark after each change.

    Written by triggers alone (`gateway/change_triggers.py`); PostgreSQL notifies instead and leaves it empty.
    """

    mark = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.mark)
