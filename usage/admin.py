from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
)
from unfold.decorators import display

from organizations.read_only_admin import ReadOnlyAdmin
from usage import amounts
from usage.episodes.words import Said, said
from usage.forms import PRICES
from usage.models import (
    Anomaly,
    AnomalyWebhook,
    InFlightCall,
    RollupState,
    SavedView,
    SealedMonth,
    UsageByLabel,
    UsageDaily,
    UsageEvent,
    UsageHourly,
    UsageRun,
)
from usage.names import action_name, provider_names
from usage.rollup_tables import CallSums


class ProviderFilter(DropdownFilter):
    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(provider_names().items(), key=lambda item: item[1].casefold())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class PriceFilter(DropdownFilter):
    """The same calls by the same words as on the usage page."""

    title = "price"
    parameter_name = "price"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in PRICES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        return queryset.filter(PRICES[value][1]) if (value := self.value()) in PRICES else queryset


class MeteringAdmin(ReadOnlyAdmin):
    """Metering is written by the system alone."""

    list_select_related = ("organization",)


@admin.register(UsageEvent)
class UsageEventAdmin(MeteringAdmin):
    list_display = (
        "occurred_at",
        "organization",
        "action",
        "provider",
        "model",
        "mode",
        "status",
        "usd",
    )
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("mode", ChoicesDropdownFilter),
        PriceFilter,
        ("no_price", ChoicesDropdownFilter),
        ProviderFilter,
    )
    search_fields = ("organization__slug", "organization__name", "model", "action", "key_label", "request_id")
    found_by = ("call_id", "run_id")
    # A request's id is looked for among the newest rows only: for an index of its own, each call would pay.
    search_help_text = (
        "Organization, model, action, key label, the id of a call or a run, or, of the newest calls, that of a request"
    )
    ordering = ("-occurred_at",)

    @display(description="USD", ordering="cost_nanousd")
    def usd(self, event: UsageEvent) -> str:
        if event.has_no_token_charges:
            return amounts.WITHOUT_CHARGES
        if event.has_nothing_to_pay:
            return amounts.NOTHING_TO_PAY
        if event.is_unanswered:
            return amounts.NOT_KNOWN
        return amounts.dollars(event.cost_nanousd, places=4)


class SumsAdmin(MeteringAdmin):
    """Of a rollup."""

    @display(description="USD", ordering="cost_nanousd")
    def usd(self, row: CallSums) -> str:
        gap = row.unpriced_calls + row.unknown_calls
        if gap and not row.cost_nanousd:
            return amounts.NOT_KNOWN
        if row.own_server_calls and not row.cost_nanousd:
            return amounts.WITHOUT_CHARGES
        return amounts.at_least(amounts.dollars(row.cost_nanousd, places=4), if_incomplete=gap > 0)

    @display(description="Not in it")
    def not_in_usd(self, row: CallSums) -> str:
        return amounts.not_covered(unpriced=row.unpriced_calls, unanswered=row.unknown_calls) or "–"


@admin.register(UsageDaily)
class UsageDailyAdmin(SumsAdmin):
    list_display = ("day", "organization", "action", "provider", "model", "mode", "calls", "usd", "not_in_usd")
    list_filter = (
        ("mode", ChoicesDropdownFilter),
        ProviderFilter,
    )
    search_fields = ("organization__slug", "organization__name", "model", "action", "key_label")
    ordering = ("-day",)


@admin.register(UsageHourly)
class UsageHourlyAdmin(SumsAdmin):
    list_display = ("hour", "organization", "action", "provider", "model", "mode", "calls", "usd", "not_in_usd")
    list_filter = (
        ("mode", ChoicesDropdownFilter),
        ProviderFilter,
    )
    search_fields = ("organization__slug", "organization__name", "model", "action")
    ordering = ("-hour",)


@admin.register(UsageByLabel)
class UsageByLabelAdmin(SumsAdmin):
    list_display = ("day", "organization", "name", "value", "action", "model", "mode", "calls", "usd", "not_in_usd")
    list_filter = (("mode", ChoicesDropdownFilter), ProviderFilter)
    search_fields = ("organization__slug", "organization__name", "name", "value", "model", "action")
    ordering = ("-pk",)  # the latest days last added to


@admin.register(SealedMonth)
class SealedMonthAdmin(MeteringAdmin):
    list_display = ("month", "organization", "sealed_at")
    search_fields = ("organization__slug", "organization__name")
    exclude = ("pinned",)  # names and prices by the thousand
    ordering = ("-pk",)


@admin.register(InFlightCall)
class InFlightCallAdmin(MeteringAdmin):
    list_display = ("started_at", "organization", "action", "provider", "model", "mode", "deadline_at")
    list_filter = (("mode", ChoicesDropdownFilter), ProviderFilter)
    search_fields = ("organization__slug", "organization__name", "model", "action")
    found_by = ("id", "run_id")
    ordering = ("started_at",)


@admin.register(UsageRun)
class UsageRunAdmin(MeteringAdmin):
    list_display = ("started_at", "organization", "action", "run_id", "part", "is_priced", "is_incomplete")
    list_filter = ("is_priced", "is_incomplete")
    search_fields = ("organization__slug", "organization__name", "action")
    found_by = ("run_id",)
    search_help_text = "Organization, action, or the id of a run"
    ordering = ("-pk",)  # as they began: a run's row is written with its first call


@admin.register(RollupState)
class RollupStateAdmin(ReadOnlyAdmin):
    list_display = ("position", "rolled_up_at", "derived_from")
    search_fields = ("system_identifier",)


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ("name", "organization", "is_shared", "created_by", "created_at")
    list_filter = ("is_shared",)
    list_select_related = ("organization", "created_by")
    search_fields = ("organization__slug", "organization__name", "name")
    ordering = ("-pk",)


@admin.register(Anomaly)
class AnomalyAdmin(MeteringAdmin):
    list_display = ("seen_at", "organization", "kind", "action", "mode", "subject", "state", "usd")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("mode", ChoicesDropdownFilter),
    )
    search_fields = ("organization__slug", "organization__name", "action", "subject")
    ordering = ("-seen_at",)
    exclude = ("usual", "found", "a_day_nanousd", "drivers", "unmeasured", "also", "expected_most")
    readonly_fields = ("what", "usd", "because", "with_it")

    @display(description="What")
    def what(self, anomaly: Anomaly) -> str:
        return _said(anomaly).what

    @display(description="Because")
    def because(self, anomaly: Anomaly) -> str:
        return " ".join(_said(anomaly).drivers)

    @display(description="Of the same cause", empty_value="–")
    def with_it(self, anomaly: Anomaly) -> str | None:
        return " ".join(_said(anomaly).also) or None

    @display(description="USD a day", ordering="a_day_nanousd")
    def usd(self, anomaly: Anomaly) -> str:
        return amounts.NOT_KNOWN if anomaly.a_day_nanousd is None else amounts.dollars(anomaly.a_day_nanousd)


@admin.register(AnomalyWebhook)
class AnomalyWebhookAdmin(ReadOnlyAdmin):
    list_display = ("organization", "made_by", "made_at", "last_post_at", "last_answer")
    list_select_related = ("organization", "made_by")
    search_fields = ("organization__slug", "organization__name")
    exclude = ("url", "sealed_secret")  # an address may hold a secret of its own
    ordering = ("-pk",)


def _said(anomaly: Anomaly) -> Said:
    return said(anomaly, action=action_name(anomaly.action))
