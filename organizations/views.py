from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from organizations import clock, invitations, services
from organizations.edits import FIELD, ChangedMeanwhile, stamp
from organizations.forms import InviteForm, MembersSeeUsdForm, RecencySharingForm, RecencyWindowForm, RoleForm
from organizations.models import AuditEvent, Invitation, Membership
from organizations.paging import page_of_rows
from organizations.permissions import (
    OrganizationHttpRequest,
    Permission,
    may,
    organization_view,
    recently_authenticated,
)

AUDIT_PAGE_SIZE = 50


@organization_view(Permission.VIEW)
@require_safe
def members(request: OrganizationHttpRequest) -> HttpResponse:
    return render(request, "organizations/members.html", _members_context(request))


@organization_view(Permission.MANAGE_MEMBERS)
@require_POST
@recently_authenticated(back="organizations:members")
def change_role(request: OrganizationHttpRequest, membership_id: int) -> HttpResponse:
    membership = _membership_or_404(request, membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return members_refused(request, refusal="Choose one of the roles.")
    try:
        services.change_role(
            membership=membership, role=form.cleaned_data["role"], actor=request.user, seen=request.POST.get(FIELD)
        )
    except (services.MemberChangeRefused, ChangedMeanwhile) as refusal:
        return members_refused(request, refusal=str(refusal))
    messages.success(request, f"{membership.user.email} is {membership.get_role_display().lower()} now.")
    if membership.user_id == request.user.pk:  # what this page may show has changed, too
        return _go(request, reverse("organizations:members", args=[request.organization.slug]))
    return members_changed(request)


@organization_view(Permission.MANAGE_MEMBERS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="organizations:members")
def remove_member(request: OrganizationHttpRequest, membership_id: int) -> HttpResponse:
    """GET asks for confirmation on a page of its own, for browsers without scripts."""
    membership = _membership_or_404(request, membership_id)
    if membership.user_id == request.user.pk:
        return _go(request, reverse("organizations:leave", args=[request.organization.slug]))
    if request.method == "GET":
        context = {"member": membership, "seen": stamp(services.member_parts(membership))}
        return render(request, "organizations/remove_member.html", context)
    email = membership.user.email
    try:
        services.remove_member(membership=membership, actor=request.user, seen=request.POST.get(FIELD))
    except (services.MemberChangeRefused, ChangedMeanwhile) as refusal:
        return members_refused(request, refusal=str(refusal))
    messages.success(request, f"{email} removed.")
    return members_changed(request)


@organization_view(Permission.VIEW)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="organizations:members")
def leave(request: OrganizationHttpRequest) -> HttpResponse:
    if request.method == "GET":
        return render(request, "organizations/leave.html")
    try:
        services.remove_member(membership=request.membership, actor=request.user)
    except services.MemberChangeRefused as refusal:
        return members_refused(request, refusal=str(refusal))
    messages.success(request, f"You left {request.organization.name}.")
    return redirect("home")


@organization_view(Permission.MANAGE_MEMBERS)
@require_safe
def audit_log(request: OrganizationHttpRequest) -> HttpResponse:
    events = AuditEvent.objects.for_organization(request.organization)
    page = page_of_rows(request, events, by=("-seq",), size=AUDIT_PAGE_SIZE)
    return render(request, "organizations/audit.html", {"page": page})


@organization_view(Permission.MANAGE_SETTINGS)
@require_POST
def save_recency_window(request: OrganizationHttpRequest) -> HttpResponse:
    form = RecencyWindowForm(request.POST)
    if not form.is_valid():
        return _recency_panel(request, status=422, recency_form=form)
    try:
        services.set_recency_window(
            organization=request.organization,
            days=form.cleaned_data["days"],
            actor=request.user,
            seen=request.POST.get(FIELD),
        )
    except ChangedMeanwhile as conflict:
        form.add_error(None, str(conflict))
        return _recency_panel(request, status=422, recency_form=form)
    messages.success(request, "Recency window saved.")
    return _recency_panel(request, status=200)


@organization_view(Permission.SHARE_RECENCY)
@require_POST
def save_recency_sharing(request: OrganizationHttpRequest) -> HttpResponse:
    form = RecencySharingForm(request.POST)
    if not form.is_valid():
        return _recency_panel(request, status=422, sharing_refused=form.errors["shares"][0])
    shares = form.cleaned_data["shares"]
    try:
        services.set_recency_sharing(organization=request.organization, shares=shares, actor=request.user)
    except services.RecencyNotShared as refusal:
        return _recency_panel(request, status=422, sharing_refused=str(refusal))
    taking = "takes part in shared recency now" if shares else "no longer takes part in shared recency"
    messages.success(request, f"{request.organization.name} {taking}.")
    return _recency_panel(request, status=200)


@organization_view(Permission.SHOW_USD)
@require_POST
def save_members_see_usd(request: OrganizationHttpRequest) -> HttpResponse:
    form = MembersSeeUsdForm(request.POST)
    if not form.is_valid():
        return members_refused(request, refusal=str(form.errors["sees"][0]))
    sees = form.cleaned_data["sees"]
    try:
        services.set_members_see_usd(organization=request.organization, sees=sees, actor=request.user)
    except services.UsdNotYours as refusal:
        return members_refused(request, refusal=str(refusal))
    messages.success(request, "Members see USD now." if sees else "USD are shown to owners and admins only now.")
    return members_changed(request)


def recency_panel_context(request: OrganizationHttpRequest) -> dict[str, Any]:
    """For `organizations/_recency_panel.html`, on the settings page."""
    return {
        "recency_form": RecencyWindowForm(initial={"days": request.organization.recency_window_days}),
        "recency_seen": stamp(services.recency_parts(request.organization)),
        "may_manage_settings": may(request.membership, Permission.MANAGE_SETTINGS),
        "may_share_recency": may(request.membership, Permission.SHARE_RECENCY),
        "network_recency": settings.KEYFARE_NETWORK_RECENCY,
    }


def _recency_panel(request: OrganizationHttpRequest, *, status: int, **what_differs: Any) -> HttpResponse:
    if status == 200 and not request.htmx:
        return redirect(reverse("settings", args=[request.organization.slug]) + "#candidate-recency-window")
    template = "organizations/recency_window.html" + ("#panel-response" if request.htmx else "")
    return render(request, template, recency_panel_context(request) | what_differs, status=status)


def _membership_or_404(request: OrganizationHttpRequest, membership_id: int) -> Membership:
    rows = Membership.objects.for_organization(request.organization).select_related("user", "organization")
    return get_object_or_404(rows, pk=membership_id)


def _members_context(
    request: OrganizationHttpRequest, *, invite_form: InviteForm | None = None, refusal: str = ""
) -> dict[str, Any]:
    rows = Membership.objects.for_organization(request.organization).select_related("user")
    may_manage = may(request.membership, Permission.MANAGE_MEMBERS)
    roles = services.assignable_roles(organization=request.organization, actor=request.user) if may_manage else []
    open_ones = Invitation.objects.for_organization(request.organization).open().select_related("invited_by")
    offers = list(open_ones.order_by("email")) if may_manage else []
    mail_states = invitations.mail_states(offers)
    return {
        "members": [(member, stamp(services.member_parts(member))) for member in rows.order_by("user__email")],
        "invitations": [
            (offer, mail_states.get(offer.pk, ""), stamp(invitations.invitation_parts(offer))) for offer in offers
        ],
        "now": clock.now(),
        "may_manage_members": may_manage,
        "may_show_usd": may(request.membership, Permission.SHOW_USD),
        "roles": roles,
        "changeable_roles": services.changeable_roles(roles),
        "invite_form": invite_form or InviteForm(roles=roles),
        "refusal": refusal,
    }


def members_changed(request: OrganizationHttpRequest) -> HttpResponse:
    if request.htmx:
        return render(request, "organizations/members.html#members-response", _members_context(request))
    return redirect("organizations:members", request.organization.slug)


def members_refused(
    request: OrganizationHttpRequest, *, invite_form: InviteForm | None = None, refusal: str = ""
) -> HttpResponse:
    template = "organizations/members.html" + ("#members-response" if request.htmx else "")
    context = _members_context(request, invite_form=invite_form, refusal=refusal)
    return render(request, template, context, status=422)


def _go(request: OrganizationHttpRequest, url: str) -> HttpResponse:
    """To another page; htmx would otherwise swap that page into the fragment."""
    if request.htmx:
        return HttpResponse(headers={"HX-Redirect": url})
    return redirect(url)
