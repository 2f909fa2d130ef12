"""Inviting from the members page, and what the invited person sees."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from organizations import clock, invitations, services
from organizations.edits import FIELD
from organizations.forms import InviteForm
from organizations.models import Invitation, Membership, User
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from organizations.views import members_changed, members_refused

WILL_BE_MAILED = "We will send a mail with the link; it may take a minute."
OVER_MEANWHILE = "The invitation of {} was accepted or withdrawn before, so there was nothing left to do."
SESSION_KEY = "invitation"  # the digest of the token whose link was followed last


def _gives_rights(request: OrganizationHttpRequest, invitation_id: int | None = None) -> bool:
    """Whether the invitation being posted, or the one being sent again, is for more than a member."""
    if invitation_id is None:
        return request.POST.get("role") != Membership.Role.MEMBER
    return _invitation_or_404(request, invitation_id).role != Membership.Role.MEMBER


@organization_view(Permission.MANAGE_MEMBERS)
@require_POST
@recently_authenticated(back="organizations:members", when=_gives_rights)
def invite(request: OrganizationHttpRequest) -> HttpResponse:
    roles = services.assignable_roles(organization=request.organization, actor=request.user)
    form = InviteForm(request.POST, roles=roles)
    if form.is_valid():
        try:
            with transaction.atomic():
                offer = invitations.invite_member(
                    organization=request.organization, actor=request.user, now=clock.now(), **form.cleaned_data
                )
                invitations.mail_invitation(offer)
        except services.MemberChangeRefused as refusal:
            form.add_error("email", str(refusal))
        else:
            messages.success(request, f"{offer.invitation.email} invited. {WILL_BE_MAILED}")
            return members_changed(request)
    return members_refused(request, invite_form=form)


@organization_view(Permission.MANAGE_MEMBERS)
@require_POST
@recently_authenticated(back="organizations:members", when=_gives_rights)
def send_again(request: OrganizationHttpRequest, invitation_id: int) -> HttpResponse:
    invitation = _invitation_or_404(request, invitation_id)
    try:
        with transaction.atomic():
            offer = invitations.renew_invitation(
                invitation=invitation, actor=request.user, now=clock.now(), seen=request.POST.get(FIELD)
            )
            invitations.mail_invitation(offer)
    except invitations.InvitationOver:
        return members_refused(request, refusal=OVER_MEANWHILE.format(invitation.email))
    except services.MemberChangeRefused as refusal:
        return members_refused(request, refusal=str(refusal))
    messages.success(request, f"{invitation.email} gets a new link; the earlier one no longer works. {WILL_BE_MAILED}")
    return members_changed(request)


@organization_view(Permission.MANAGE_MEMBERS)
@require_POST
def withdraw(request: OrganizationHttpRequest, invitation_id: int) -> HttpResponse:
    invitation = _invitation_or_404(request, invitation_id)
    try:
        invitations.revoke_invitation(invitation=invitation, actor=request.user, now=clock.now())
    except invitations.InvitationOver:
        return members_refused(request, refusal=OVER_MEANWHILE.format(invitation.email))
    except services.MemberChangeRefused as refusal:
        return members_refused(request, refusal=str(refusal))
    messages.success(request, f"Invitation of {invitation.email} withdrawn.")
    return members_changed(request)


@require_safe
@never_cache
def follow_link(request: HttpRequest, token: str) -> HttpResponse:
    """
    Move the token from the address, where history and logs keep it, into the session. Accepts nothing.

    An invented one is told so at once: it makes no session, and without the form of ours costs no query.
    """
    if not invitations.is_known(token):
        return _over(request, str(invitations.NoSuchInvitation()), status=410)
    request.session[SESSION_KEY] = invitations.digest(token)
    return redirect("accept-invitation")


@require_http_methods(["GET", "POST"])
@never_cache
def accept(request: HttpRequest) -> HttpResponse:
    """The invitation whose link was followed last: accept it, or read how to get there, or why not."""
    token_digest = request.session.get(SESSION_KEY)
    if token_digest is None:
        return _over(request, str(invitations.NoSuchInvitation()), status=410)
    try:
        invitation = invitations.find_invitation(token_digest=token_digest, now=clock.now())
    except invitations.InvitationOver as over:
        if isinstance(request.user, User) and (mine := invitations.accepted_before(token_digest, request.user)):
            return redirect("overview", mine.organization.slug)  # the second click
        return _over(request, str(over), status=410)
    if not isinstance(request.user, User):
        if request.method == "POST":
            return redirect_to_login(request.path)
        has_account = User.objects.filter(email=invitation.email, is_active=True).exists()
        context = {"invitation": invitation, "has_account": has_account}
        return render(request, "organizations/invitation.html", context)
    if request.method == "GET" and invitations.owns_address(request.user, invitation.email):
        return render(request, "organizations/invitation.html", {"invitation": invitation})
    try:
        membership = invitations.accept_invitation(token_digest=token_digest, user=request.user, now=clock.now())
    except invitations.ForSomebodyElse as refusal:
        return _over(request, str(refusal), status=403, is_for_somebody_else=True)
    except services.MemberChangeRefused as over:
        if mine := invitations.accepted_before(token_digest, request.user):
            return redirect("overview", mine.organization.slug)
        return _over(request, str(over), status=410)
    messages.success(request, f"Welcome to {membership.organization.name}.")
    return redirect("overview", membership.organization.slug)


def invited_email(request: HttpRequest | None) -> str | None:
    """The address that this session may sign up with, because a good invitation was sent to it."""
    token_digest = request.session.get(SESSION_KEY) if request is not None else None
    if not token_digest:
        return None
    try:
        return invitations.find_invitation(token_digest=token_digest, now=clock.now()).email
    except invitations.InvitationOver:
        return None


def _invitation_or_404(request: OrganizationHttpRequest, invitation_id: int) -> Invitation:
    rows = Invitation.objects.for_organization(request.organization).select_related("organization")
    return get_object_or_404(rows, pk=invitation_id)


def _over(request: HttpRequest, sentence: str, *, status: int, is_for_somebody_else: bool = False) -> HttpResponse:
    context = {"sentence": sentence, "is_for_somebody_else": is_for_somebody_else}
    return render(request, "organizations/invitation_over.html", context, status=status)
