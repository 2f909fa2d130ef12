"""Managed keys in the staff admin: staff add, replace and remove them, as owners do with their organization's."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django_htmx.http import HttpResponseClientRedirect
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from organizations import clock
from organizations.models import Organization, User
from organizations.read_only_admin import ReadOnlyAdmin
from providers.admin_forms import ManagedKeyForm
from providers.catalog import PROVIDERS
from providers.custody.sealing import SealBroken
from providers.keys import replacement, saving, validation
from providers.models import ProviderKey

CHANGE_KEYS = "providers.change_providerkey"


class ManagedKeyAdmin(ReadOnlyAdmin):
    """What staff do with managed keys; the other keys are their organization's to add, replace and remove."""

    actions_list = ("add_managed_key",)
    actions_detail: tuple[str, ...] = ("replace_managed_key", "discard_managed_replacement")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Managed keys only, one by one; a customer's key is the customer's to remove."""
        return (
            isinstance(obj, ProviderKey)
            and obj.organization.is_platform
            and request.user.has_perm("providers.delete_providerkey")
        )

    # Actions name these methods: a dotted permission makes Unfold's system check read the database, which a new
    # installation has not migrated yet.
    def has_change_keys_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm(CHANGE_KEYS)

    def has_replace_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm(CHANGE_KEYS) and _managed_keys().filter(pk=cast(str, object_id)).exists()

    def has_discard_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        waiting = _managed_keys().filter(replaces_id=cast(UUID, object_id))
        return request.user.has_perm(CHANGE_KEYS) and waiting.exists()

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        return [str(key) for key in objs], {"managed keys": len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: ProviderKey) -> None:
        saving.delete_provider_key(key=obj, actor=person(request))

    @action(description="Add managed key", url_path="managed", permissions=["change_keys"], icon="add")
    def add_managed_key(self, request: HttpRequest) -> HttpResponse:
        return redirect("admin:providers_managed_key_add")

    @action(description="Replace key", url_path="replace-managed", permissions=["replace"], icon="autorenew")
    def replace_managed_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect("admin:providers_managed_key_replace", object_id)

    @action(
        description="Discard new key",
        url_path="discard-replacement",
        permissions=["discard"],
        icon="delete",
        dialog={
            "title": "Discard the new key?",
            "description": "The new key that waits here is deleted. The present one goes on serving.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Discard new key",
        },
    )
    def discard_managed_replacement(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        key = get_object_or_404(_managed_keys(), pk=object_id)
        if replacement.discard_replacement(key=key, actor=person(request)):
            messages.success(request, "New key discarded.")
        else:
            messages.info(request, "There is no new key to discard any more: it took over, or somebody discarded it.")
        return HttpResponseClientRedirect(reverse("admin:providers_providerkey_change", args=[key.pk]))

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
        platform = Organization.objects.platform()
        if platform is None:
            messages.error(request, "This installation has no platform organization yet. Run: manage.py init")
            return redirect("admin:providers_providerkey_changelist")
        replaced = get_object_or_404(_managed_keys(), pk=key_id) if key_id else None
        form = ManagedKeyForm(
            request.POST if request.method == "POST" else None, replaced=replaced, organization=platform
        )
        if form.is_valid():
            try:
                key = _store(form, platform=platform, replaced=replaced, actor=person(request))
            except saving.KeyLabelTaken as error:
                form.add_error("label", str(error))
            except SealBroken:
                form.add_error("key", "The master keys do not open the platform's own key. Check KEYFARE_MASTER_KEYS.")
            else:
                validation.request_validation(key=key, actor=person(request), now=clock.now())
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


def _managed_keys() -> QuerySet[ProviderKey]:
    return ProviderKey.objects.filter(organization__is_platform=True)


def person(request: HttpRequest) -> User:
    return cast(User, request.user)


@sensitive_variables()
def _store(form: ManagedKeyForm, *, platform: Organization, replaced: ProviderKey | None, actor: User) -> ProviderKey:
    if replaced:
        return replacement.replace_provider_key(
            key=replaced, secret=form.cleaned_data["key"], actor=actor, now=clock.now()
        )
    return saving.save_provider_key(
        organization=platform,
        provider=form.provider.slug,
        secret=form.cleaned_data["key"],
        label=form.cleaned_data["label"],
        actor=actor,
        now=clock.now(),
    )
