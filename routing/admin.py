from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from organizations.audit import record
from organizations.guarded_admin import GuardedAdmin
from organizations.long_lists import BY_ORGANIZATION, NewestFirst
from organizations.models import Organization, User
from organizations.read_only_admin import ReadOnlyAdmin
from providers.adapters.key_shapes import model_holds_key
from providers.catalog import PROVIDERS
from providers.forms import OpenText
from providers.models import AvailableModel, ProviderKey
from routing.actions import ACTIONS
from routing.models import ManagedDefault, RoutingRule
from routing.resolve import managed_key
from usage.names import provider_name

NO_KEY = "No working key"


class ManagedDefaultForm(OpenText, forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Provider and model of a managed default; the model is one that a managed key lists, where any does."""

    open_fields = {"model": model_holds_key}

    provider = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    model = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="As the provider names it, for example openai/gpt-4.1-mini.",
    )

    class Meta:
        model = ManagedDefault
        fields = ("provider", "model")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["provider"].choices = [(each.slug, each.name) for each in PROVIDERS.values()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any] | None:
        provider, model = self.cleaned_data.get("provider"), self.cleaned_data.get("model")
        listed = AvailableModel.objects.filter(
            organization__is_platform=True, key__in=ProviderKey.objects.usable().filter(provider=provider)
        )
        if provider and model and listed.exists() and not listed.filter(model=model).exists():
            self.add_error("model", f"No managed {PROVIDERS[provider].name} key lists this model. Check its name.")
        return self.cleaned_data


@admin.register(ManagedDefault)
class ManagedDefaultAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    """One row for each built-in action; changed here, made by `manage.py init`."""

    form = ManagedDefaultForm
    list_display = ("action_name", "provider_name", "model", "served_by", "updated_at")
    search_fields = ("action", "provider", "model")
    ordering = ("action",)
    fields = ("action_name", "provider", "model", "served_by", "updated_at")
    readonly_fields = ("action_name", "served_by", "updated_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ManagedDefault, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        platform = Organization.objects.platform()
        if platform and form.changed_data:
            record(
                organization=platform,
                actor=cast(User, request.user),
                action="managed_default.changed",
                target=_action_name(obj.action),
                provider=obj.provider,
                model=obj.model,
            )

    @display(description="Action", ordering="action")
    def action_name(self, default: ManagedDefault) -> str:
        return _action_name(default.action)

    @display(description="Provider", ordering="provider")
    def provider_name(self, default: ManagedDefault) -> str:
        return provider_name(default.provider)

    @display(description="Managed key", label={NO_KEY: "danger"})
    def served_by(self, default: ManagedDefault) -> str:
        """The managed key that calls of this default leave with."""
        key = managed_key(default.provider)
        return f"{key.label} …{key.last4}" if key else NO_KEY


@admin.register(RoutingRule)
class RoutingRuleAdmin(ReadOnlyAdmin):
    """What organizations chose. Read-only: routes are the organization's own decision."""

    list_display = ("organization", "action_name", "key", "key_status", "model", "updated_by", "updated_at")
    list_display_links = ("organization", "action_name")
    list_filter = (BY_ORGANIZATION,)
    list_filter_submit = True
    list_select_related = ("organization", "key", "updated_by")
    search_fields = (
        "organization__name",
        "organization__slug",
        "action",
        "model",
        "key__provider",
        "key__label",
    )
    fields = (
        "organization",
        "action_name",
        "key",
        "key_status",
        "model",
        "version",
        "updated_by",
        "updated_at",
    )
    readonly_fields = ("action_name", "key_status")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NewestFirst]:
        return NewestFirst

    @display(description="Action", ordering="action")
    def action_name(self, rule: RoutingRule) -> str:
        return _action_name(rule.action)

    @display(description="Key status")
    def key_status(self, rule: RoutingRule) -> str:
        return rule.key.state.label


def _action_name(slug: str) -> str:
    return ACTIONS[slug].name if slug in ACTIONS else slug
