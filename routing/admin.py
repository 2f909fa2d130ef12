from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from organizations.audit import record
from organizations.guarded_admin import GuardedAdmin
from organizations.long_lists import NewestFirst
from organizations.models import Organization, User
from organizations.read_only_admin import ReadOnlyAdmin
from organizations.typed_numbers import DecimalField, WholeNumberField
from providers.adapters.key_shapes import model_holds_key
from providers.catalog import PROVIDERS
from providers.forms import ModelIdField, OpenText
from providers.models import AvailableModel, ProviderKey
from routing.agents import close_managed, open_managed
from routing.models import Agent, CallableAgent, CallAccess, DirectKey, ManagedDefault, ModelNotice, RoutingRule
from routing.resolve import managed_key, managed_keys
from routing.services import lock_routes
from usage.amounts import ONE_USD
from usage.names import action_name, provider_name

NO_KEY = "No working key"


class ManagedDefaultForm(OpenText, forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Provider and model of a managed default; the model is one that a managed key lists, where any does."""

    open_fields = {"model": model_holds_key}

    provider = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    model = ModelIdField(
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


class ManagedDefaults(NewestFirst):
    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """With the keys that serve them, asked for once."""
        super().get_results(request)
        serving = managed_keys({default.provider for default in self.result_list})
        for default in self.result_list:
            default.serving = serving.get(default.provider)


@admin.register(ManagedDefault)
class ManagedDefaultAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is published without types
    """One row for each built-in action; changed here, made by `manage.py init`."""

    form = ManagedDefaultForm
    list_display = ("action", "provider", "model", "served_by", "updated_at")
    search_fields = ("action", "provider", "model")
    ordering = ("action",)
    fields = ("action", "provider", "model", "served_by", "updated_at")
    readonly_fields = ("action", "served_by", "updated_at")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ManagedDefaults

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
                target=action_name(obj.action),
                provider=obj.provider,
                model=obj.model,
            )

    @display(description="Managed key", label={NO_KEY: "danger"})
    def served_by(self, default: ManagedDefault) -> str:
        """The managed key that calls of this default leave with."""
        key = default.serving if hasattr(default, "serving") else managed_key(default.provider)
        return f"{key.label} …{key.last4}" if key else NO_KEY


class AgentManagedForm(OpenText, forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """What staff open for an agent: a model on the managed key, and how much of it a day. All four, or none."""

    open_fields = {"managed_model": model_holds_key}
    MOST_CALLS, MOST_USD = 10_000_000, Decimal(1_000_000)

    managed_provider = forms.ChoiceField(label="Managed provider", required=False, widget=UnfoldAdminSelectWidget)
    managed_model = ModelIdField(
        max_length=200,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="As the provider names it, for example openai/gpt-4.1-mini.",
    )
    managed_calls_a_day = WholeNumberField(
        label="Calls a day",
        required=False,
        min_value=1,
        max_value=MOST_CALLS,
        widget=UnfoldAdminTextInputWidget,
        help_text="UTC days.",
    )
    usd_a_day = DecimalField(
        label="USD a day",
        required=False,
        least=Decimal("0.01"),
        most=MOST_USD,
        places=2,
        widget=UnfoldAdminTextInputWidget,
        help_text="What its calls may cost the operator.",
    )

    class Meta:
        model = Agent
        fields = ("managed_provider", "managed_model", "managed_calls_a_day")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        providers = [(each.slug, each.name) for each in PROVIDERS.values() if not each.takes_base_url]
        self.fields["managed_provider"].choices = [("", "None: its own keys alone"), *providers]  # type: ignore[attr-defined]
        nano = self.instance.managed_nanousd_a_day
        self.initial["usd_a_day"] = None if nano is None else (Decimal(nano) / ONE_USD).quantize(Decimal("0.01"))

    def clean(self) -> dict[str, Any] | None:
        names = ("managed_provider", "managed_model", "managed_calls_a_day", "usd_a_day")
        if self.errors:
            return self.cleaned_data
        filled = {name: self.cleaned_data.get(name) for name in names}
        if any(filled.values()):
            for name, value in filled.items():
                if not value:
                    self.add_error(name, "Fill in provider, model and both limits, or none of them.")
        if self.instance.archived_at:
            self.add_error(None, "This agent is archived.")
        return self.cleaned_data


@admin.register(Agent)
class AgentAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]
    """Agents are the organization's; staff may let one run on a managed key, for so much a day."""

    form = AgentManagedForm
    list_display = ("name", "slug", "organization", "managed_model", "managed_calls_a_day", "created_at", "archived_at")
    list_select_related = ("organization", "created_by")
    search_fields = ("organization__name", "organization__slug", "name", "slug")
    readonly_fields = ("organization", "name", "slug", "description", "created_by", "created_at", "archived_at")
    fields = (*readonly_fields, "managed_provider", "managed_model", "managed_calls_a_day", "usd_a_day")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NewestFirst]:
        return NewestFirst

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def lock(self, row: Agent) -> None:
        lock_routes(row.organization)

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: Any) -> None:
        chosen, actor = form.cleaned_data, cast(User, request.user)
        agent = Agent.objects.select_related("organization").get(pk=obj.pk)  # as it is, not as the form made it
        if not chosen["managed_provider"]:
            return close_managed(agent=agent, actor=actor)
        if managed_key(chosen["managed_provider"]) is None:
            name = provider_name(chosen["managed_provider"])
            messages.warning(request, f"No managed key of {name} works now. Until one does, the agent answers nothing.")
        return open_managed(
            agent=agent,
            provider=chosen["managed_provider"],
            model=chosen["managed_model"],
            calls_a_day=chosen["managed_calls_a_day"],
            nanousd_a_day=int(chosen["usd_a_day"] * ONE_USD),
            actor=actor,
        )


class OfTokens(ReadOnlyAdmin):
    """What tokens may call: the organization's own decision."""


@admin.register(CallAccess)
class CallAccessAdmin(OfTokens):
    list_display = ("token", "organization", "member", "every_agent", "is_bound")
    list_select_related = ("organization", "token", "member")
    search_fields = ("organization__name", "organization__slug", "token__name", "token__prefix", "member__email")


@admin.register(CallableAgent)
class CallableAgentAdmin(OfTokens):
    list_display = ("agent", "organization", "access")
    list_select_related = ("organization", "agent", "access__token")
    search_fields = ("organization__name", "organization__slug", "agent__name", "agent__slug", "access__token__name")


@admin.register(DirectKey)
class DirectKeyAdmin(OfTokens):
    list_display = ("access", "organization", "provider", "key")
    list_select_related = ("organization", "access__token", "key")
    search_fields = ("organization__name", "organization__slug", "provider", "key__label", "access__token__name")


@admin.register(RoutingRule)
class RoutingRuleAdmin(ReadOnlyAdmin):
    """What organizations chose. Read-only: routes are the organization's own decision."""

    list_display = ("organization", "action", "key", "key_status", "model", "updated_by", "updated_at")
    list_display_links = ("organization", "action")
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
        "action",
        "key",
        "key_status",
        "model",
        "temperature",
        "most_output_tokens",
        "reasoning_effort",
        "allowed_models",
        "paused_at",
        "version",
        "updated_by",
        "updated_at",
    )
    readonly_fields = ("key_status",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NewestFirst]:
        return NewestFirst

    @display(description="Key status")
    def key_status(self, rule: RoutingRule) -> str:
        return rule.key.state.label


@admin.register(ModelNotice)
class ModelNoticeAdmin(ReadOnlyAdmin):
    list_display = ("organization", "kind", "action", "provider", "model", "noted_at", "dismissed_at")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug", "action", "provider", "model")
    fields = (*list_display, "dismissed_by")
