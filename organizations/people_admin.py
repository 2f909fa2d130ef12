"""
People in the staff admin: made, closed, helped.

Staff never know anybody's password and never change an address by themselves (organizations/email_changes.py). Nobody
changes the account of somebody who has rights that they lack (organizations/people.py).
"""

from __future__ import annotations

from typing import Any, cast

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminEmailInputWidget

from organizations import audit, clock, email_changes, people
from organizations.forms import NewUserForm, UserAdminForm
from organizations.guarded_admin import GuardedAdmin
from organizations.models import EmailChange, Membership, Organization, User
from organizations.read_only_admin import ReadOnly, ReadOnlyAdmin

RIGHTS = ("is_active", "is_staff", "is_superuser", "user_permissions")


class MembershipInline(ReadOnly, TabularInline):
    """Read-only: members change on their own page, where the rules of owners hold."""

    model = Membership
    extra = 0
    tab = True
    show_change_link = True
    fields = ("organization", "user", "role", "created_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        rows: QuerySet[Membership] = super().get_queryset(request)
        return rows.select_related("user", "organization")


class NewAddressForm(BaseDialogForm):
    email = forms.EmailField(label="New e-mail", max_length=254, widget=UnfoldAdminEmailInputWidget)


@admin.register(User)
class UserAdmin(GuardedAdmin, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # not subscriptable at run time
    form = UserAdminForm
    add_form = NewUserForm
    inlines = (MembershipInline,)
    actions_detail = ("change_email", "send_reset_link")
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active", "last_login", "created_at")
    list_filter = (
        "is_staff",
        "is_superuser",
        "is_active",
        ("memberships__organization", AutocompleteSelectFilter),
    )
    search_fields = ("email", "name", "memberships__organization__name")
    readonly_fields = ("last_login", "created_at")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name")}),
        ("Rights", {"fields": RIGHTS, "classes": ("tab",)}),
        ("Times", {"fields": ("last_login", "created_at"), "classes": ("tab",)}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name")}),)

    def get_urls(self) -> list[Any]:
        """Without the page on which Django lets staff set passwords."""
        return [url for url in super().get_urls() if url.name != "auth_user_password_change"]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> tuple[type[TabularInline], ...]:
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only superusers give rights; addresses change by the button alone."""
        rights = () if _actor(request).is_superuser else ("is_staff", "is_superuser", "user_permissions")
        return (*self.readonly_fields, *(("email",) if obj else ()), *rights)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            self._make(request, obj)
            return
        super().save_model(request, obj, form, change)
        changed = [name for name in form.changed_data if name in RIGHTS]
        with transaction.atomic(), audit.events_last():
            self._record_rights(request, obj, changed)
            if form.changed_data:
                people.record_about(
                    obj,
                    actor=_actor(request),
                    action="account.changed_by_staff",
                    on_platform=False,
                    fields=", ".join(form.changed_data),
                    is_active=obj.is_active,
                )

    def _make(self, request: HttpRequest, person: User) -> None:
        """Without a password: the person chooses it by a link, which also confirms the address."""
        person.email = person.email.lower()
        person.set_unusable_password()
        person.save()
        EmailAddress.objects.create(user=person, email=person.email, primary=True, verified=False)
        _send_password_link(person, _actor(request), is_new=True)
        messages.success(request, f"{person.email} was sent a link to choose a password.")

    def _record_rights(self, request: HttpRequest, person: User, changed: list[str]) -> None:
        """Rights over the whole installation are audited in the log of the platform, once that exists."""
        platform = Organization.objects.platform()
        if platform and changed:
            audit.record(
                organization=platform,
                actor=_actor(request),
                action="user.rights_changed",
                target=person.email,
                fields=", ".join(changed),
                is_active=person.is_active,
                is_staff=person.is_staff,
                is_superuser=person.is_superuser,
            )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, User) and not people.may_manage(_actor(request), obj):
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # people are made inactive: what they did keeps its name

    def has_manage_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        person = User.objects.filter(pk=cast(str, object_id), is_active=True).first()
        return person is not None and self.has_change_permission(request, person)

    @action(
        description="Change e-mail",
        url_path="change-email",
        permissions=["manage"],
        icon="alternate_email",
        dialog={
            "title": "Ask for another e-mail address?",
            "description": (
                "The old address is asked to agree by mail, and with it whoever else owns all organizations of this "
                "person. The new one works once one of them has agreed. If none can be reached, run manage.py "
                "change_email on the server."
            ),
            "form_class": NewAddressForm,
            "form_submit_text": "Ask by mail",
        },
    )
    def change_email(self, request: HttpRequest, form: NewAddressForm, object_id: str) -> HttpResponse:
        person = get_object_or_404(User, pk=object_id)
        try:
            change = email_changes.request_email_change(
                person=person, email=form.cleaned_data["email"], actor=_actor(request), now=clock.now()
            )
        except email_changes.EmailChangeRefused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"{change.old_email} stays until somebody has agreed to {change.new_email}.")
        return _back(object_id)

    @action(
        description="Send reset link",
        url_path="send-reset-link",
        permissions=["manage"],
        icon="lock_reset",
        dialog={
            "title": "Send a link to choose a new password?",
            "description": "It goes to the person's own address. The password stays as it is until they use it.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Send",
        },
    )
    def send_reset_link(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        person = get_object_or_404(User, pk=object_id)
        actor, action = _actor(request), "account.reset_link_sent"
        with transaction.atomic():
            User.objects.select_for_update(no_key=True).get(pk=person.pk)  # of two clicks the second finds the first
            since = clock.now() - email_changes.A_DOUBLE_CLICK
            if not people.was_recorded(person, actor=actor, action=action, since=since):
                people.record_about(person, actor=actor, action=action)
                _send_password_link(person, actor, is_new=False)
        messages.success(request, f"{person.email} was sent a link.")
        return _back(object_id)


@admin.register(EmailChange)
class EmailChangeAdmin(ReadOnlyAdmin):
    """Asked for on the page of the user; here one reads what became of it."""

    list_display = (
        "user",
        "old_email",
        "new_email",
        "requested_by",
        "created_at",
        "expires_at",
        "confirmed_by",
        "withdrawn_at",
    )
    list_select_related = ("user", "requested_by", "confirmed_by")
    search_fields = ("old_email", "new_email", "requested_by__email")


def _send_password_link(person: User, actor: User, *, is_new: bool) -> None:
    """The same link as of "Forgot it?" on the login page."""
    token = default_token_generator.make_token(person)
    path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(person), token])
    people.tell(
        person.email,
        subject="Choose a password for Keyfare",
        template="organizations/email/choose_password.txt",
        actor=actor,
        is_new=is_new,
        url=settings.SITE_URL.rstrip("/") + path,
        days=settings.PASSWORD_RESET_TIMEOUT // (24 * 60 * 60),
        site=settings.SITE_URL,
    )


def _back(object_id: str) -> HttpResponse:
    return HttpResponseClientRedirect(reverse("admin:organizations_user_change", args=[object_id]))


def _actor(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user
