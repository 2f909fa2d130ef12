"""Organizations in the staff admin: opened with an owner, and closed."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminEmailInputWidget

from config import onboarding
from organizations import clock
from organizations.admin import OrganizationAdmin
from organizations.forms import OrganizationAdminForm
from organizations.models import Organization, User


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

    @action(
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
