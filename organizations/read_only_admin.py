"""Rows that staff look at, and only services write: prices, locks and chains would not survive an edit by hand."""

from __future__ import annotations

from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from organizations.long_lists import LongList


class NeverWritten:
    """For a ModelAdmin or an inline whose rows staff may delete, and no more."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnly(NeverWritten):
    """For a ModelAdmin or an inline."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, LongList, ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    pass
