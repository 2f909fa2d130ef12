"""
Keys in the staff admin: what state they are in, never what they are.

Staff add and replace the managed keys, which belong to the platform organization; customers' keys they only
see and validate.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django_htmx.http import HttpResponseClientRedirect
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm

from organizations.models import Organization, User
from providers import replacement, services, validation
from providers.cards import key_row, usd_text
from providers.catalog import PROVIDERS, effective_base_url, origin_of
from providers.custody import SealBroken
from providers.forms import ManagedKeyForm
from providers.models import AvailableModel, KeyValidation, OrganizationKey, PrivateEndpoint, ProviderKey
from providers.private_endpoints import (
    EndpointRefused,
    allow_private_endpoint,
    normalized_endpoint,
    withdraw_private_endpoint,
)

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
CHANGE_KEYS = "providers.change_providerkey"
WORD_JOINER = "\u2060"  # keeps a narrow column from breaking after the ellipsis
OVERRIDDEN, MOVED = "Set by environment", "Needs re-entry"


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    """Rows that only services write."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


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


@admin.register(ProviderKey)
class ProviderKeyAdmin(ReadOnlyAdmin):
    list_display = (
        "owner",
        "provider_name",
        "label",
        "masked",
        "state",
        "validated_at",
        "last_used_at",
        "route",
    )
    list_display_links = ("owner", "provider_name")
    list_filter = (
        ManagedFilter,
        ProviderFilter,
        ("status", ChoicesDropdownFilter),
        ("organization", RelatedDropdownFilter),
    )
    list_filter_submit = True
    list_select_related = ("organization", "created_by")
    search_fields = ("organization__name", "organization__slug", "provider", "label")
    ordering = ("-organization__is_platform", "organization__name", "provider", "created_at")
    actions = ("validate",)
    actions_list = ("add_managed_key",)
    actions_detail = ("validate_this", "replace_managed_key")
    fields = (
        "owner",
        "provider_name",
        "label",
        "masked",
        "state",
        "status_detail",
        "validated_at",
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
        return keys.filter(replaces=None).defer("ciphertext")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Managed keys only, one by one; a customer's key is the customer's to remove."""
        return (
            isinstance(obj, ProviderKey)
            and obj.organization.is_platform
            and request.user.has_perm("providers.delete_providerkey")
        )

    # Actions name these methods: a dotted permission makes Unfold's system check read the database, which a new
    # installation has not migrated yet.
    def has_validate_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm(CHANGE_KEYS)

    def has_replace_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm(CHANGE_KEYS) and _managed_keys().filter(pk=cast(str, object_id)).exists()

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        return [str(key) for key in objs], {"managed keys": len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: ProviderKey) -> None:
        services.delete_provider_key(key=obj, actor=_person(request))

    # Columns ----------------------------------------------------------------------------------------

    @display(description="Owner", ordering="organization__name")  # type: ignore[untyped-decorator]
    def owner(self, key: ProviderKey) -> str:
        return "Managed" if key.organization.is_platform else key.organization.name

    @display(description="Provider", ordering="provider")  # type: ignore[untyped-decorator]
    def provider_name(self, key: ProviderKey) -> str:
        return PROVIDERS[key.provider].name if key.provider in PROVIDERS else key.provider

    @display(description="Key")  # type: ignore[untyped-decorator]
    def masked(self, key: ProviderKey) -> str:
        return f"…{WORD_JOINER}{key.last4}"

    @display(description="Status", ordering="status", label=LABELS)  # type: ignore[untyped-decorator]
    def state(self, key: ProviderKey) -> str:
        return key.get_status_display()

    @display(description="Sent to", label={OVERRIDDEN: "warning", MOVED: "danger"})  # type: ignore[untyped-decorator]
    def route(self, key: ProviderKey) -> str:
        if key.provider not in PROVIDERS or key.origin != origin_of(key.provider, key.base_url):
            return MOVED
        if key.base_url:
            return "A server of their own"
        return OVERRIDDEN if effective_base_url(key.provider) != PROVIDERS[key.provider].base_url else "The provider"

    @display(description="Sent to")  # type: ignore[untyped-decorator]
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

    @display(description="Last check failed", empty_value="no")  # type: ignore[untyped-decorator]
    def last_check(self, key: ProviderKey) -> str | None:
        at = key.last_check_failed_at
        return f"{at:%Y-%m-%d %H:%M} UTC: {key.last_check_failure}" if at else None

    @display(description="New key, not serving yet")  # type: ignore[untyped-decorator]
    def new_key(self, key: ProviderKey) -> str:
        return "; ".join(
            f"…{new.last4}: {new.get_status_display()}. {new.status_detail}".strip() for new in key.replacements.all()
        )

    @display(description="Limits, as reported")  # type: ignore[untyped-decorator]
    def reported(self, key: ProviderKey) -> str:
        limits = key_row(key, now=timezone.now()).limits
        return "; ".join(f"{limit.name}: {limit.text}" for limit in limits) or "not reported"

    # Actions ----------------------------------------------------------------------------------------

    @action(description="Validate selected keys", permissions=["validate"])  # type: ignore[untyped-decorator]
    def validate(self, request: HttpRequest, keys: QuerySet[ProviderKey]) -> None:
        for key in keys.exclude(status=Status.DISABLED):
            validation.request_validation(key=key, actor=_person(request), now=timezone.now())
        messages.success(request, "Validation started. Reload this page to see the result.")

    @action(  # type: ignore[untyped-decorator]
        description="Validate key",
        url_path="validate",
        permissions=["validate"],
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
            validation.request_validation(key=key, actor=_person(request), now=timezone.now())
        except validation.KeyDisabled as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, "Validation started. Reload this page to see the result.")
        return HttpResponseClientRedirect(reverse("admin:providers_providerkey_change", args=[key.pk]))

    @action(  # type: ignore[untyped-decorator]
        description="Add managed key", url_path="managed", permissions=["validate"], icon="add"
    )
    def add_managed_key(self, request: HttpRequest) -> HttpResponse:
        return redirect("admin:providers_managed_key_add")

    @action(  # type: ignore[untyped-decorator]
        description="Replace key", url_path="replace-managed", permissions=["replace"], icon="autorenew"
    )
    def replace_managed_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect("admin:providers_managed_key_replace", object_id)

    # The page on which staff paste managed keys -------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("managed/add/", view(self.managed_key), name="providers_managed_key_add"),
            path("<uuid:key_id>/managed/", view(self.managed_key), name="providers_managed_key_replace"),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters())
    @method_decorator(sensitive_variables())
    def managed_key(self, request: HttpRequest, key_id: UUID | None = None) -> HttpResponseBase:
        """Add a managed key, or replace the one named; either is validated in the background at once."""
        if not request.user.has_perm(CHANGE_KEYS):
            raise PermissionDenied
        platform = Organization.objects.filter(is_platform=True).first()
        if platform is None:
            messages.error(request, "This installation has no platform organization yet. Run: manage.py init")
            return redirect("admin:providers_providerkey_changelist")
        replaced = get_object_or_404(_managed_keys(), pk=key_id) if key_id else None
        form = ManagedKeyForm(
            request.POST if request.method == "POST" else None, replaced=replaced, organization=platform
        )
        if form.is_valid():
            try:
                key = _store(form, platform=platform, replaced=replaced, actor=_person(request))
            except services.KeyLabelTaken as error:
                form.add_error("label", str(error))
            except SealBroken:
                form.add_error("key", "The master keys do not open the platform's own key. Check KEYFARE_MASTER_KEYS.")
            else:
                validation.request_validation(key=key, actor=_person(request), now=timezone.now())
                waits = " It takes over when the provider accepts it." if key.replaces_id else ""
                messages.success(
                    request, f"Key saved. It is being validated; reload this page to see the result.{waits}"
                )
                return redirect("admin:providers_providerkey_change", replaced.pk if replaced else key.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Replace managed key “{replaced.label}”" if replaced else "Add managed key",
            "opts": self.model._meta,
            "form": form,
            "replaced": replaced,
            "providers": [provider for provider in PROVIDERS.values() if not provider.takes_base_url],
        }
        status = 422 if form.errors else 200
        return TemplateResponse(request, "providers/managed_key_admin.html", context, status=status)


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
    list_display = ("organization", "key", "result", "detail", "requested_at", "finished_at")
    list_display_links = ("organization", "key")
    list_filter = (("outcome", ChoicesDropdownFilter), ("organization", RelatedDropdownFilter))
    list_filter_submit = True
    list_select_related = ("organization", "key")
    search_fields = ("organization__name", "organization__slug", "key__provider", "key__label")
    fields = ("organization", "key", "result", "detail", "requested_at", "finished_at")
    readonly_fields = ("result",)

    @display(description="Result", label={**LABELS, "Queued": "info"})  # type: ignore[untyped-decorator]
    def result(self, validation: KeyValidation) -> str:
        return validation.get_outcome_display() or validation.get_state_display()


@admin.register(AvailableModel)
class AvailableModelAdmin(ReadOnlyAdmin):
    list_display = ("model", "organization", "key", "context_tokens", "input_price", "output_price")
    list_filter = (("organization", RelatedDropdownFilter),)
    list_filter_submit = True
    list_select_related = ("organization", "key")
    search_fields = ("model", "name", "organization__name", "key__provider", "key__label")
    fields = ("organization", "key", "model", "name", "context_tokens", "input_price", "output_price")
    readonly_fields = ("input_price", "output_price")

    @display(description="Input, per million", ordering="input_nanousd_per_mtok")  # type: ignore[untyped-decorator]
    def input_price(self, model: AvailableModel) -> str:
        return _price(model.input_nanousd_per_mtok)

    @display(description="Output, per million", ordering="output_nanousd_per_mtok")  # type: ignore[untyped-decorator]
    def output_price(self, model: AvailableModel) -> str:
        return _price(model.output_nanousd_per_mtok)


class PrivateEndpointForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    def clean(self) -> dict[str, Any]:
        facts = self.cleaned_data
        if "host" in facts and "network" in facts:
            try:
                facts["host"], facts["network"] = normalized_endpoint(facts["host"], facts["network"])
            except EndpointRefused as refused:
                self.add_error(refused.field, str(refused))
        return facts


@admin.register(PrivateEndpoint)
class PrivateEndpointAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    """Servers in private networks that organizations may use. Allowed and withdrawn, never changed."""

    list_display = ("organization", "host", "port", "network", "created_at")
    list_filter = (("organization", RelatedDropdownFilter),)
    list_filter_submit = True
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug", "host", "network")
    fields = ("organization", "host", "port", "network")
    autocomplete_fields = ("organization",)
    form = PrivateEndpointForm

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: PrivateEndpoint, form: Any, change: bool) -> None:
        allowed = allow_private_endpoint(
            organization=obj.organization, host=obj.host, port=obj.port, network=obj.network, actor=_person(request)
        )
        obj.pk, obj.created_at = allowed.pk, allowed.created_at

    def delete_model(self, request: HttpRequest, obj: PrivateEndpoint) -> None:
        withdraw_private_endpoint(endpoint=obj, actor=_person(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PrivateEndpoint]) -> None:
        for endpoint in queryset.select_related("organization"):
            withdraw_private_endpoint(endpoint=endpoint, actor=_person(request))


def _price(nanousd: int | None) -> str:
    return "not reported" if nanousd is None else usd_text(nanousd)


def _managed_keys() -> QuerySet[ProviderKey]:
    return ProviderKey.objects.filter(organization__is_platform=True)


def _person(request: HttpRequest) -> User:
    return cast(User, request.user)


@sensitive_variables()
def _store(form: ManagedKeyForm, *, platform: Organization, replaced: ProviderKey | None, actor: User) -> ProviderKey:
    if replaced:
        return replacement.replace_provider_key(
            key=replaced, secret=form.cleaned_data["key"], actor=actor, now=timezone.now()
        )
    return services.save_provider_key(
        organization=platform,
        provider=form.provider.slug,
        secret=form.cleaned_data["key"],
        label=form.cleaned_data["label"],
        actor=actor,
        now=timezone.now(),
    )
