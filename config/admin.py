"""The staff admin as a whole: who may enter it, how its lists look, and the models of installed apps."""

from __future__ import annotations

from typing import Any, cast

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.templatetags import unfold_list
from unfold.widgets import UnfoldAdminEmailInputWidget

from config import admin_confirmation, admin_mfa, admin_tasks, onboarding
from organizations import audit, clock, people
from organizations.admin import OrganizationAdmin
from organizations.forms import OrganizationAdminForm
from organizations.long_lists import LongList
from organizations.models import Organization, User
from organizations.second_factors import remove_second_factor

__all__ = ["admin_tasks"]  # registers its models

# Unfold repeats them in each cell of a list, five times what the cell says; static/keyfare/admin.css has them once.
for repeated in (unfold_list.ROW_CLASSES, unfold_list.CHECKBOX_CLASSES, unfold_list.LINK_CLASSES):
    repeated.clear()

admin_mfa.protect(admin.site)
admin_confirmation.protect(admin.site)


def own_password_page(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
    """Staff change their password where everybody does, and hear of it by mail."""
    return redirect("account_change_password")


admin.site.password_change = own_password_page  # type: ignore[method-assign]


class OpenOrganizationForm(OrganizationAdminForm):
    owner_email = forms.EmailField(
        label="Owner",
        widget=UnfoldAdminEmailInputWidget,
        help_text="E-mail of a person who has an account.",
    )

    class Meta(OrganizationAdminForm.Meta):
        fields: tuple[str, ...] = ("name", "slug")

    actor: User  # set by the admin

    def clean_owner_email(self) -> str:
        email = str(self.cleaned_data["owner_email"]).lower()
        owner = User.objects.filter(email=email, is_active=True).first()
        if owner is None:
            raise forms.ValidationError("Nobody with that e-mail has an account. Add the user first.")
        if not onboarding.may_open_for(self.actor, owner):
            raise forms.ValidationError("Nobody of the staff makes themselves an owner. Name who is going to own it.")
        return email


@admin.register(Organization)
class InstallationOrganizationAdmin(OrganizationAdmin):
    """Opens an organization with its owner, credit account and trial credits, and closes it for good."""

    actions_detail = ("close",)

    def has_close_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        open_one = Organization.objects.customers().filter(pk=cast(str, object_id), closed_at=None)
        return request.user.has_perm("organizations.change_organization") and open_one.exists()

    @action(  # type: ignore[untyped-decorator]
        description="Close organization",
        url_path="close",
        permissions=["close"],
        icon="block",
        dialog={
            "title": "Close this organization for good?",
            "description": (
                "Its members can no longer open it, its provider keys become unreadable at once, and nobody can bring "
                "them back. Ledger, usage and audit log stay."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": "Close organization",
        },
    )
    def close(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        organization = get_object_or_404(Organization.objects.customers(), pk=object_id)
        actor = request.user if isinstance(request.user, User) else None
        onboarding.close_organization(organization=organization, actor=actor, now=clock.now())
        messages.success(request, f"{organization.name} is closed.")
        return HttpResponseClientRedirect(reverse("admin:organizations_organization_change", args=[object_id]))

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = OpenOrganizationForm
        form = super().get_form(request, obj, change, **kwargs)  # a class made for this request
        form.actor = request.user
        return form

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return self.fields if obj else ("name", "slug", "owner_email")

    def get_inlines(self, request: HttpRequest, obj: Model | None = None) -> tuple[type, ...]:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        opened = onboarding.open_organization(
            name=obj.name,
            slug=obj.slug,
            owner=User.objects.get(email=form.cleaned_data["owner_email"]),
            actor=request.user if isinstance(request.user, User) else None,
        )
        obj.pk = opened.pk
        obj.refresh_from_db()


for installed in (EmailAddress, Authenticator):
    admin.site.unregister(installed)


@admin.register(EmailAddress)
class EmailAddressAdmin(LongList, AllauthEmailAddressAdmin, ModelAdmin):  # type: ignore[misc]
    """Looked at: people add addresses themselves, and staff ask for another one on the page of the user."""

    list_select_related = ("user",)
    actions = ("confirm",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_confirm_permission(self, request: HttpRequest) -> bool:
        """A confirmed address takes over what was offered to it, so only who may everything says so by hand."""
        return bool(request.user.is_active and request.user.is_superuser)

    @action(description="Mark selected addresses as confirmed", permissions=["confirm"])  # type: ignore[untyped-decorator]
    def confirm(self, request: HttpRequest, addresses: QuerySet[EmailAddress]) -> None:
        confirmed = 0
        with transaction.atomic(), audit.events_last():
            for address in addresses.filter(verified=False).select_related("user"):
                if address.set_verified():
                    confirmed += 1
                    actor = cast(User, request.user)
                    people.record_about(
                        address.user, actor=actor, action="account.email_confirmed", email=address.email
                    )
        messages.success(request, f"{confirmed} marked as confirmed.")


@admin.register(Authenticator)
class AuthenticatorAdmin(LongList, ModelAdmin):  # type: ignore[misc]
    """Staff remove the second step of people who lost theirs; the secrets in `data` are never shown."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude = ("data",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Authenticator | None = None) -> bool:
        """Django asks this of each of several that are deleted at once, too."""
        if obj is not None and not people.may_manage(cast(User, request.user), obj.user):
            return False
        return bool(super().has_delete_permission(request, obj))

    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:
        remove_second_factor(factor=obj, actor=cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Authenticator]) -> None:
        with transaction.atomic(), audit.events_last():
            for factor in queryset.select_related("user"):
                self.delete_model(request, factor)
