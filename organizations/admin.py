from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserCreationForm

from organizations import api_tokens, audit, services
from organizations.forms import MembershipAdminForm, OrganizationAdminForm, UserAdminForm
from organizations.models import (
    ApiToken,
    AuditEvent,
    AuditHead,
    Invitation,
    MailServer,
    Membership,
    Organization,
    OutgoingMail,
    User,
)

RIGHTS = ("is_active", "is_staff", "is_superuser", "user_permissions")

admin.site.unregister(Group)  # staff rights are `is_staff` and single permissions


class MembershipInline(TabularInline):  # type: ignore[misc]  # unfold is published without types
    """Read-only: members change on their own page, where the rules of owners hold."""

    model = Membership
    extra = 0
    tab = True
    show_change_link = True
    fields = ("organization", "user", "role", "created_at")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        rows: QuerySet[Membership] = super().get_queryset(request)
        return rows.select_related("user", "organization")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # not subscriptable at run time
    form = UserAdminForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = (MembershipInline,)
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active", "last_login", "created_at")
    list_filter = (
        "is_staff",
        "is_superuser",
        "is_active",
        ("memberships__organization", RelatedDropdownFilter),
    )
    list_filter_submit = True
    search_fields = ("email", "name", "memberships__organization__name")
    readonly_fields = ("last_login", "created_at")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        (
            "Rights",
            {"fields": RIGHTS, "classes": ("tab",)},
        ),
        ("Times", {"fields": ("last_login", "created_at"), "classes": ("tab",)}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> tuple[type[TabularInline], ...]:
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only superusers give rights."""
        rights = () if _actor(request).is_superuser else ("is_staff", "is_superuser", "user_permissions")
        return (*self.readonly_fields, *rights)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """An address that staff enter counts as confirmed."""
        super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            EmailAddress.objects.filter(user=obj, primary=True).delete()
            EmailAddress.objects.create(user=obj, email=obj.email.lower(), primary=True, verified=True)
        self._record_rights(request, obj, [name for name in form.changed_data if name in RIGHTS], change)

    def _record_rights(self, request: HttpRequest, person: User, changed: list[str], change: bool) -> None:
        """Rights over the whole installation are audited in the log of the platform, once that exists."""
        platform = Organization.objects.filter(is_platform=True).first()
        if platform and changed and (change or person.is_staff):
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
        if isinstance(obj, User) and obj.is_superuser and not _actor(request).is_superuser:
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # people are made inactive: what they did keeps its name


class OrganizationAdmin(ModelAdmin):  # type: ignore[misc]
    """Registered by config/admin.py, which adds what an organization needs from the other apps."""

    form = OrganizationAdminForm
    inlines = (MembershipInline,)
    list_display = ("name", "slug", "state", "member_count", "recency_window_days", "created_at")
    list_filter = (("recency_window_days", ChoicesDropdownFilter), ("created_at", RangeDateTimeFilter))
    list_filter_submit = True
    search_fields = ("name", "slug", "memberships__user__email")
    readonly_fields = ("shares_recency", "closed_at", "is_platform", "created_at")  # owners decide what is shared
    fields = ("name", "slug", "recency_window_days", "shares_recency", "closed_at", "is_platform", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        rows: QuerySet[Organization] = super().get_queryset(request)
        return rows.annotate(members=Count("memberships", filter=Q(memberships__user__is_active=True)))

    @display(description="Members", ordering="members")  # type: ignore[untyped-decorator]
    def member_count(self, organization: Any) -> int:
        count: int = organization.members
        return count

    @display(description="State", label={"Open": "success", "Closed": "danger", "Platform": "info"})  # type: ignore[untyped-decorator]
    def state(self, organization: Organization) -> str:
        if organization.is_platform:
            return "Platform"
        return "Closed" if organization.closed_at else "Open"

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if isinstance(obj, Organization) and obj.is_platform:
            return False
        return bool(super().has_change_permission(request, obj))

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.changed_data:
            audit.record(
                organization=obj,
                actor=_actor(request),
                action="organization.changed_by_staff",
                target=obj.name,
                fields=", ".join(form.changed_data),
            )

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # its ledger and usage stay; an organization is closed instead


@contextmanager
def _refused_is_forbidden() -> Iterator[None]:
    """What the form could not know: rights that this one of the staff lacks, and what happened meanwhile."""
    try:
        yield
    except services.MemberChangeRefused as refusal:
        raise PermissionDenied(str(refusal)) from refusal


@admin.register(Membership)
class MembershipAdmin(ModelAdmin):  # type: ignore[misc]
    form = MembershipAdminForm
    list_display = ("user", "organization", "role_label", "created_at")
    list_filter = (("role", ChoicesDropdownFilter), ("organization", RelatedDropdownFilter))
    list_filter_submit = True
    list_select_related = ("user", "organization")
    search_fields = ("user__email", "user__name", "organization__name", "organization__slug")
    autocomplete_fields = ("user", "organization")

    @display(  # type: ignore[untyped-decorator]
        description="Role", ordering="role", label={"Owner": "success", "Admin": "info"}
    )
    def role_label(self, membership: Membership) -> str:
        return str(membership.get_role_display())

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("user", "organization", "created_at") if obj else ("created_at",)

    def save_model(self, request: HttpRequest, obj: Membership, form: MembershipAdminForm, change: bool) -> None:
        actor = _actor(request)
        with _refused_is_forbidden():
            if change:
                services.change_role(membership=Membership.objects.get(pk=obj.pk), role=obj.role, actor=actor)
            else:
                obj.pk = services.add_member(
                    organization=obj.organization, email=obj.user.email, role=obj.role, actor=actor
                ).pk

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if isinstance(obj, Membership) and services.is_last_owner(obj):
            return False
        return bool(super().has_delete_permission(request, obj))

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        with _refused_is_forbidden():
            services.remove_member(membership=obj, actor=_actor(request))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)  # one at a time, so that an owner remains
        return actions


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "organization", "seq", "actor_label", "action", "target")
    list_filter = (("organization", RelatedDropdownFilter), ("created_at", RangeDateTimeFilter))
    list_filter_submit = True
    list_select_related = ("organization",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("actor_label", "action", "target", "organization__name", "organization__slug")
    ordering = ("-created_at", "-pk")


@admin.register(AuditHead)
class AuditHeadAdmin(ReadOnlyAdmin):
    list_display = ("organization", "seq", "hash")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug")


def _actor(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """People invite on the members page, where the rules of owners hold."""

    list_display = ("email", "organization", "role", "invited_by", "expires_at", "accepted_at", "revoked_at")
    list_filter = (("organization", RelatedDropdownFilter), ("expires_at", RangeDateTimeFilter))
    list_filter_submit = True
    list_select_related = ("organization", "invited_by")
    search_fields = ("email", "organization__name", "organization__slug")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Owners and admins make tokens on their own page; staff can end one."""

    actions = ("revoke",)
    list_display = (
        "name",
        "prefix",
        "organization",
        "scopes",
        "created_by",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = (("organization", RelatedDropdownFilter), ("expires_at", RangeDateTimeFilter))
    list_filter_submit = True
    list_select_related = ("organization", "created_by")
    search_fields = ("name", "prefix", "organization__name", "organization__slug", "created_by__email")
    exclude = ("digest",)

    @action(description="Revoke selected tokens", permissions=["view"])  # type: ignore[untyped-decorator]
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        revoked = sum(
            api_tokens.revoke_token(token=token, actor=_actor(request), now=timezone.now())
            for token in tokens.select_related("organization")
        )
        messages.success(request, f"{revoked} revoked. They are refused from now on.")


@admin.register(OutgoingMail)
class OutgoingMailAdmin(ReadOnlyAdmin):
    """Where a mail is, never what it says: it may hold a link that opens somebody's account."""

    list_display = ("recipient", "subject", "state", "attempts", "last_error", "created_at", "finished_at")
    list_filter = (("state", ChoicesDropdownFilter), ("created_at", RangeDateTimeFilter))
    list_filter_submit = True
    search_fields = ("recipient", "subject", "message_id")
    ordering = ("-created_at", "-pk")
    exclude = ("sealed",)


@admin.register(MailServer)
class MailServerAdmin(ReadOnlyAdmin):
    search_fields = ("last_error",)
    list_display = ("__str__", "failures", "last_error", "failing_since", "paused_until")
    exclude = ("holder",)
