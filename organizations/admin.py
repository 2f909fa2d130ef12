from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from organizations import api_tokens, audit, clock, people, services
from organizations.forms import MembershipAdminForm, OrganizationAdminForm
from organizations.guarded_admin import GuardedAdmin
from organizations.models import (
    ApiToken,
    AuditEvent,
    AuditHead,
    DoneRequest,
    Invitation,
    MailServer,
    Membership,
    Organization,
    OutgoingMail,
    User,
)
from organizations.people_admin import MembershipInline
from organizations.read_only_admin import ReadOnlyAdmin

admin.site.unregister(Group)  # staff rights are `is_staff` and single permissions


class OrganizationAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]
    """Registered by config/admin/organizations.py, which adds what an organization needs from the other apps."""

    form = OrganizationAdminForm
    inlines = (MembershipInline,)
    list_display = ("name", "slug", "state", "member_count", "recency_window_days", "created_at")
    list_filter = (("recency_window_days", ChoicesDropdownFilter),)
    search_fields = ("name", "slug", "memberships__user__email")
    ordering = ("-pk",)
    readonly_fields = ("shares_recency", "members_see_usd", "closed_at", "is_platform", "created_at")  # owners decide
    fields = ("name", "slug", "recency_window_days", *readonly_fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        rows: QuerySet[Organization] = super().get_queryset(request)
        return rows.annotate(members=Count("memberships", filter=Q(memberships__user__is_active=True)))

    @display(description="Members", ordering="members")
    def member_count(self, organization: Any) -> int:
        count: int = organization.members
        return count

    @display(description="State", label={"Open": "success", "Closed": "danger", "Platform": "info"})
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
    except services.AlreadyMember:
        raise  # the form knows, once it is asked again
    except services.MemberChangeRefused as refusal:
        raise PermissionDenied(str(refusal)) from refusal


def _owners(organization: Organization) -> list[str]:
    """Before a change, so that who loses the role by it hears of that."""
    owners = Membership.objects.for_organization(organization).filter(role=Membership.Role.OWNER, user__is_active=True)
    return list(owners.order_by("pk").values_list("user__email", flat=True))


def _tell_owners(owners: list[str], organization: Organization, actor: User, what: str) -> None:
    for email in owners:
        people.tell(
            email,
            subject=f"A change of members of {organization.name}",
            template="organizations/email/membership_by_staff.txt",
            actor=actor,
            what=what,
            organization=organization,
            site=settings.SITE_URL,
        )


@admin.register(Membership)
class MembershipAdmin(GuardedAdmin, ModelAdmin):  # type: ignore[misc]
    form = MembershipAdminForm
    raced = (IntegrityError, services.AlreadyMember)
    list_display = ("user", "organization", "role_label", "created_at")
    list_filter = (("role", ChoicesDropdownFilter),)
    list_select_related = ("user", "organization")
    search_fields = ("user__email", "user__name", "organization__name", "organization__slug")
    autocomplete_fields = ("user", "organization")

    @display(description="Role", ordering="role", label={"Owner": "success", "Admin": "info"})
    def role_label(self, membership: Membership) -> str:
        return str(membership.get_role_display())

    def lock(self, row: Membership) -> None:
        services.lock_members(row.organization)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("user", "organization", "created_at") if obj else ("created_at",)

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)  # a class made for this request
        form.actor = request.user
        return form

    def save_model(self, request: HttpRequest, obj: Membership, form: MembershipAdminForm, change: bool) -> None:
        actor = _actor(request)
        with _refused_is_forbidden(), transaction.atomic():
            owners = _owners(obj.organization)
            if change:
                services.change_role(membership=Membership.objects.get(pk=obj.pk), role=obj.role, actor=actor)
                what = f"made {obj.user.email} {obj.get_role_display().lower()}"
            else:
                obj.pk = services.add_member(
                    organization=obj.organization, email=obj.user.email, role=obj.role, actor=actor
                ).pk
                what = f"added {obj.user.email} as {obj.get_role_display().lower()}"
            if form.changed_data:
                _tell_owners(owners, obj.organization, actor, what)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whom an organization lets in its owners decide, and they invite."""
        return bool(request.user.is_active and request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if isinstance(obj, Membership) and services.is_last_owner(obj):
            return False
        return bool(super().has_delete_permission(request, obj))

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        with _refused_is_forbidden(), transaction.atomic():
            owners = _owners(obj.organization)
            what = f"removed {obj.user.email}"
            services.remove_member(membership=obj, actor=_actor(request))
            _tell_owners(owners, obj.organization, _actor(request), what)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)  # one at a time, so that an owner remains
        return actions


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "organization", "seq", "actor_label", "action", "target")
    list_select_related = ("organization",)
    search_fields = ("actor_label", "action", "target", "organization__name", "organization__slug")
    ordering = ("-created_at",)


@admin.register(AuditHead)
class AuditHeadAdmin(ReadOnlyAdmin):
    list_display = ("organization", "seq", "hash")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug")


@admin.register(DoneRequest)
class DoneRequestAdmin(ReadOnlyAdmin):
    list_display = ("purpose", "key", "result", "organization", "created_at")
    list_select_related = ("organization",)
    search_fields = ("key", "result", "organization__name", "organization__slug")


def _actor(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """People invite on the members page, where the rules of owners hold."""

    list_display = ("email", "organization", "role", "invited_by", "expires_at", "accepted_at", "revoked_at")
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
    list_select_related = ("organization", "created_by")
    search_fields = ("name", "prefix", "organization__name", "organization__slug", "created_by__email")
    exclude = ("digest",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("organizations.change_apitoken")

    @action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        revoked = sum(
            api_tokens.revoke_token(token=token, actor=_actor(request), now=clock.now())
            for token in tokens.select_related("organization")
        )
        messages.success(request, f"{revoked} revoked. They are refused from now on.")


@admin.register(OutgoingMail)
class OutgoingMailAdmin(ReadOnlyAdmin):
    """Where a mail is, never what it says: it may hold a link that opens somebody's account."""

    list_display = ("recipient", "subject", "state", "attempts", "last_error", "created_at", "finished_at")
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("recipient", "subject", "message_id")
    exclude = ("sealed",)


@admin.register(MailServer)
class MailServerAdmin(ReadOnlyAdmin):
    search_fields = ("last_error",)
    list_display = ("__str__", "failures", "last_error", "failing_since", "paused_until")
    exclude = ("holder",)
