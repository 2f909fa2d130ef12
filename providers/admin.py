"""
Keys in the staff admin: what state they are in, never what they are.

Customers' keys staff only see and validate; what they do with the managed ones, which belong to the platform
organization, is in managed_keys_admin.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from organizations import clock
from organizations.guarded_admin import GuardedAdmin
from organizations.long_lists import NewestFirst
from organizations.read_only_admin import ReadOnlyAdmin
from organizations.typed_numbers import WholeNumberField
from providers.adapters.key_shapes import url_holds_key
from providers.cards import key_row, usd_text
from providers.catalog import PROVIDERS, effective_base_url, origin_of
from providers.forms import OpenText
from providers.keys import validation
from providers.keys.private_endpoints import (
    EndpointRefused,
    allow_private_endpoint,
    normalized_endpoint,
    withdraw_private_endpoint,
)
from providers.managed_keys_admin import ManagedKeyAdmin, person
from providers.models import AvailableModel, KeyValidation, ModelQuirk, OrganizationKey, PrivateEndpoint, ProviderKey

Status = ProviderKey.Status
LABELS = {
    Status.SAVED.label: "default",
    Status.VALIDATING.label: "info",
    Status.CONNECTED.label: "success",
    Status.LIMITED.label: "warning",
    Status.INVALID.label: "danger",
    Status.NO_CREDIT.label: "danger",
    Status.RATE_LIMITED.label: "warning",
    Status.UNREACHABLE.label: "warning",
    Status.NEEDS_REENTRY.label: "danger",
    Status.DISABLED.label: "default",
}
WORD_JOINER = "\u2060"  # keeps a narrow column from breaking after the ellipsis
OVERRIDDEN, MOVED = "Set by environment", "Needs re-entry"


class ManagedFilter(admin.SimpleListFilter):
    title = "owner"
    parameter_name = "managed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Managed keys"), ("no", "Customers’ keys")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ProviderKey]) -> QuerySet[ProviderKey]:
        if self.value() in ("yes", "no"):
            return queryset.filter(organization__is_platform=self.value() == "yes")
        return queryset


class ProviderFilter(admin.SimpleListFilter):
    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(provider.slug, provider.name) for provider in PROVIDERS.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ProviderKey]) -> QuerySet[ProviderKey]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class StatusFilter(admin.SimpleListFilter):
    """By the status that is shown, which is not always the one that is stored."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ProviderKey]) -> QuerySet[ProviderKey]:
        if not self.value():
            return queryset
        keys = queryset.defer("ciphertext")
        return queryset.filter(pk__in=[key.pk for key in keys if key.state.status == self.value()])


@admin.register(ProviderKey)
class ProviderKeyAdmin(ManagedKeyAdmin):
    list_display = (
        "owner",
        "provider",
        "label",
        "masked",
        "state",
        "established",
        "last_used_at",
        "route",
    )
    list_display_links = ("owner", "provider")
    list_filter = (
        ManagedFilter,
        ProviderFilter,
        StatusFilter,
    )
    list_select_related = ("organization", "created_by")
    search_fields = ("organization__name", "organization__slug", "provider", "label")
    ordering = ("-organization__is_platform", "organization__name", "provider", "created_at")
    actions = ("validate",)
    actions_detail = ("validate_this", *ManagedKeyAdmin.actions_detail)
    fields = (
        "owner",
        "provider",
        "label",
        "masked",
        "state",
        "detail",
        "established",
        "last_check",
        "new_key",
        "reported",
        "last_used_at",
        "destination",
        "created_by",
        "created_at",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderKey]:
        keys: QuerySet[ProviderKey] = super().get_queryset(request)
        return keys.filter(replaces=None)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NewestFirst]:
        return NewestFirst

    # Columns ----------------------------------------------------------------------------------------

    @display(description="Owner", ordering="organization__name")
    def owner(self, key: ProviderKey) -> str:
        return "Managed" if key.organization.is_platform else key.organization.name

    @display(description="Key")
    def masked(self, key: ProviderKey) -> str:
        return f"…{WORD_JOINER}{key.last4}"

    @display(description="Status", ordering="status", label=LABELS)
    def state(self, key: ProviderKey) -> str:
        return key.state.label

    @display(description="Status detail")
    def detail(self, key: ProviderKey) -> str:
        return key.state.detail

    @display(description="Validated at", ordering="validated_at")
    def established(self, key: ProviderKey) -> datetime | None:
        """When the status was last established."""
        return key.state.validated_at

    @display(description="Sent to", label={OVERRIDDEN: "warning", MOVED: "danger"})
    def route(self, key: ProviderKey) -> str:
        if key.provider not in PROVIDERS or key.origin != origin_of(key.provider, key.base_url):
            return MOVED
        if key.base_url:
            return "A server of their own"
        return OVERRIDDEN if effective_base_url(key.provider) != PROVIDERS[key.provider].base_url else "The provider"

    @display(description="Sent to")
    def destination(self, key: ProviderKey) -> str:
        """Where calls with this key go now; an installation may point a provider elsewhere."""
        if key.provider not in PROVIDERS:
            return key.origin
        if key.base_url:
            return key.base_url
        effective = effective_base_url(key.provider)
        notes = []
        if effective != PROVIDERS[key.provider].base_url:
            notes.append("set by KEYFARE_PROVIDER_ORIGINS")
        if key.origin != origin_of(key.provider):
            notes.append(f"sealed for {key.origin}, so it has to be entered again")
        return f"{effective} ({'; '.join(notes)})" if notes else effective

    @display(description="Last check failed", empty_value="no")
    def last_check(self, key: ProviderKey) -> str | None:
        at = key.last_check_failed_at
        return f"{at:%Y-%m-%d %H:%M} UTC: {key.last_check}" if at else None

    @display(description="New key, not serving yet")
    def new_key(self, key: ProviderKey) -> str:
        return "; ".join(
            f"…{new.last4}: {new.state.label}. {new.state.detail}".strip() for new in key.replacements.all()
        )

    @display(description="Limits, as reported")
    def reported(self, key: ProviderKey) -> str:
        limits = key_row(key, now=clock.now()).limits
        return "; ".join(f"{limit.name}: {limit.text}" for limit in limits) or "not reported"

    # Actions ----------------------------------------------------------------------------------------

    @action(description="Validate selected keys", permissions=["change_keys"])
    def validate(self, request: HttpRequest, keys: QuerySet[ProviderKey]) -> None:
        for key in keys.exclude(status=Status.DISABLED):
            validation.request_validation(key=key, actor=person(request), now=clock.now())
        messages.success(request, "Validation started. Reload this page to see the result.")

    @action(
        description="Validate key",
        url_path="validate",
        permissions=["change_keys"],
        icon="verified_user",
        dialog={
            "title": "Validate this key?",
            "description": "Asks the provider whether it accepts the key, and which models it can call.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Validate key",
        },
    )
    def validate_this(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        key = get_object_or_404(ProviderKey, pk=object_id)
        try:
            validation.request_validation(key=key, actor=person(request), now=clock.now())
        except validation.KeyDisabled as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, "Validation started. Reload this page to see the result.")
        return HttpResponseClientRedirect(reverse("admin:providers_providerkey_change", args=[key.pk]))


@admin.register(OrganizationKey)
class OrganizationKeyAdmin(ReadOnlyAdmin):
    list_display = ("organization", "version", "created_at")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug")
    fields = ("organization", "version", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrganizationKey]:
        """Without the wrapped key: loading it would unwrap it."""
        keys: QuerySet[OrganizationKey] = super().get_queryset(request)
        return keys.defer("wrapped")


@admin.register(KeyValidation)
class KeyValidationAdmin(ReadOnlyAdmin):
    list_display = ("organization", "key", "result", "why", "requested_at", "finished_at")
    list_display_links = ("organization", "key")
    list_filter = (("outcome", ChoicesDropdownFilter),)
    list_select_related = ("organization", "key")
    search_fields = ("organization__name", "organization__slug", "key__provider", "key__label")
    fields = ("organization", "key", "result", "why", "requested_at", "finished_at")
    readonly_fields = ("result", "why")

    @display(description="Result", label={**LABELS, "Queued": "info"})
    def result(self, validation: KeyValidation) -> str:
        return validation.get_outcome_display() or validation.get_state_display()

    @display(description="Detail")
    def why(self, validation: KeyValidation) -> str:
        return validation.sentence


@admin.register(AvailableModel)
class AvailableModelAdmin(ReadOnlyAdmin):
    list_display = ("model", "organization", "key", "context_tokens", "input_price", "output_price", "listed_since")
    list_select_related = ("organization", "key")
    search_fields = ("model", "name", "organization__name", "key__provider", "key__label")
    fields = ("organization", "key", "model", "name", "context_tokens", "input_price", "output_price")
    readonly_fields = ("input_price", "output_price")

    @display(description="Input, per million", ordering="input_nanousd_per_mtok")
    def input_price(self, model: AvailableModel) -> str:
        return _price(model.input_nanousd_per_mtok)

    @display(description="Output, per million", ordering="output_nanousd_per_mtok")
    def output_price(self, model: AvailableModel) -> str:
        return _price(model.output_nanousd_per_mtok)


@admin.register(ModelQuirk)
class ModelQuirkAdmin(ReadOnlyAdmin):
    list_display = ("model", "organization", "key", "field", "instead", "most", "noticed_at")
    list_select_related = ("organization", "key")
    search_fields = ("model", "field", "organization__name", "key__provider", "key__label")


class PrivateEndpointForm(OpenText, forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    open_fields = {"host": url_holds_key, "network": url_holds_key}
    port = WholeNumberField(min_value=1, max_value=65535, widget=UnfoldAdminTextInputWidget)

    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if "host" in facts and "network" in facts:
            try:
                facts["host"], facts["network"] = normalized_endpoint(facts["host"], facts["network"])
            except EndpointRefused as refused:
                self.add_error(refused.field, str(refused))
        return facts


@admin.register(PrivateEndpoint)
class PrivateEndpointAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    """Servers in private networks that organizations may use. Allowed and withdrawn, never changed."""

    list_display = ("organization", "host", "port", "network", "created_at")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug", "host", "network")
    fields = ("organization", "host", "port", "network")
    autocomplete_fields = ("organization",)
    form = PrivateEndpointForm
    raced = (IntegrityError, EndpointRefused)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: PrivateEndpoint, form: Any, change: bool) -> None:
        allowed = allow_private_endpoint(
            organization=obj.organization, host=obj.host, port=obj.port, network=obj.network, actor=person(request)
        )
        obj.pk, obj.created_at = allowed.pk, allowed.created_at

    def delete_model(self, request: HttpRequest, obj: PrivateEndpoint) -> None:
        withdraw_private_endpoint(endpoint=obj, actor=person(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PrivateEndpoint]) -> None:
        for endpoint in queryset.select_related("organization"):
            withdraw_private_endpoint(endpoint=endpoint, actor=person(request))


def _price(nanousd: int | None) -> str:
    return "not reported" if nanousd is None else usd_text(nanousd)
