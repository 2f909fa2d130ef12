from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from usage.models import InFlightCall, RollupState, UsageDaily, UsageEvent


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    """Metering is written by the system alone."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(UsageEvent)
class UsageEventAdmin(ReadOnlyAdmin):
    list_display = (
        "occurred_at",
        "organization",
        "action",
        "provider",
        "model",
        "mode",
        "status",
        "cost_nanousd",
        "price_source",
    )
    list_filter = ("status", "mode", "price_source", "no_price", "provider")
    list_select_related = ("organization",)
    search_fields = (
        "organization__slug",
        "organization__name",
        "model",
        "action",
        "key_label",
        "request_id",
        "call_id",
        "run_id",
    )
    search_help_text = "Organization, model, action, key label, or the id of a call, a run or a request"
    ordering = ("-occurred_at",)
    show_full_result_count = False


@admin.register(UsageDaily)
class UsageDailyAdmin(ReadOnlyAdmin):
    list_display = ("day", "organization", "action", "provider", "model", "mode", "calls", "cost_nanousd")
    list_filter = ("mode", "provider")
    list_select_related = ("organization",)
    search_fields = ("organization__slug", "organization__name", "model", "action", "key_label")
    ordering = ("-day",)
    show_full_result_count = False


@admin.register(InFlightCall)
class InFlightCallAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "organization", "action", "provider", "model", "mode", "deadline_at")
    list_filter = ("mode", "provider")
    list_select_related = ("organization",)
    search_fields = ("organization__slug", "organization__name", "model", "action", "id", "run_id")
    ordering = ("started_at",)


@admin.register(RollupState)
class RollupStateAdmin(ReadOnlyAdmin):
    list_display = ("position", "rolled_up_at")
    search_fields = ("system_identifier",)
