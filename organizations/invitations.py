"""
Inviting people by e-mail.

The link holds a random token, of which only the digest is stored. An offer is good for the person who owns the
address, once, for seven days, and for no more than its giver may give when it is accepted.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from organizations import audit
from organizations.edits import Seen, moment
from organizations.models import AuditEvent, Invitation, Membership, Organization, OutgoingMail, User
from organizations.outbox.backend import expiring
from organizations.services import (
    AlreadyMember,
    MemberChangeRefused,
    check_may_give,
    lock_members,
)
from organizations.templatetags import mail_text
from organizations.tenancy import EVERY, scope

Role = Membership.Role
LIFETIME = timedelta(days=7)
TOKEN_BYTES = 32
FORM = re.compile(r"[\w-]{43}", re.ASCII)  # of so many bytes
# For each organization; new invitations and those sent again count alike.
MAILS_A_DAY = 100
MAILS_A_DAY_TO_ONE_ADDRESS = 5


class AlreadyInvited(MemberChangeRefused):
    def __init__(self, email: str) -> None:
        super().__init__(f"{email} is invited already. Send the invitation again, or withdraw it, in the list.")


class TooManyInvitations(MemberChangeRefused):
    """Whoever may invite could otherwise fill the mailboxes of others, in the name of this installation."""


class InvitationOver(MemberChangeRefused):
    """Whoever follows a dead link reads why; nothing about the organization is told."""


class NoSuchInvitation(InvitationOver):
    def __init__(self) -> None:
        super().__init__("This invitation does not exist, or was sent again: the link in the newest e-mail is good.")


class InvitationUsed(InvitationOver):
    def __init__(self) -> None:
        super().__init__("This invitation was accepted already. Each one works once.")


class InvitationWithdrawn(InvitationOver):
    def __init__(self) -> None:
        super().__init__("This invitation was withdrawn. Ask the person who invited you for a new one.")


class InvitationExpired(InvitationOver):
    def __init__(self) -> None:
        super().__init__("This invitation has expired. Ask the person who invited you to send it again.")


class SentMeanwhile(MemberChangeRefused):
    def __init__(self, invitation: Invitation) -> None:
        at = moment(invitation.expires_at - LIFETIME)
        super().__init__(
            f"{invitation.email} was sent the invitation at {at}, after this page was opened, so no other mail went "
            "out. The list is up to date now: if that one was lost, send it again."
        )


class ForSomebodyElse(MemberChangeRefused):
    def __init__(self, *, invited: str, user: User) -> None:
        super().__init__(f"This invitation is for {invited}, and you are logged in as {user.email}.")


class BelongsAlready(MemberChangeRefused):
    def __init__(self, organization: Organization) -> None:
        super().__init__(f"You belong to {organization.name} already.")


@dataclass(frozen=True)
class Offer:
    """An invitation together with its token, which exists in this object and in the e-mail only."""

    invitation: Invitation
    token: str = field(repr=False)


def invite_member(*, organization: Organization, email: str, role: str, actor: User, now: datetime) -> Offer:
    """
    Offer a place to whoever reads `email`, account or not; `mail_invitation` tells them.

    Raises AlreadyMember, AlreadyInvited (an expired offer is replaced instead), TooManyInvitations,
    OnlyOwnersManageOwners.
    """
    email = email.strip().lower()
    with transaction.atomic():
        lock_members(organization)
        check_may_give(organization=organization, role=role, actor=actor)
        if Membership.objects.for_organization(organization).filter(user__email=email).exists():
            raise AlreadyMember(email)
        earlier = Invitation.objects.for_organization(organization).open().filter(email=email)
        if earlier.filter(expires_at__gt=now).exists():
            raise AlreadyInvited(email)
        _check_may_mail(organization=organization, email=email, now=now)
        earlier.update(revoked_at=now)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        invitation = Invitation.objects.create(
            organization=organization,
            email=email,
            role=Role(role),
            token_digest=digest(token),
            invited_by=actor,
            expires_at=now + LIFETIME,
        )
        audit.record(
            organization=organization, actor=actor, action="member.invited", target=email, role=invitation.role
        )
    return Offer(invitation, token)


def invitation_parts(invitation: Invitation) -> dict[str, object]:
    """What the buttons of an invitation's line are built from."""
    return {"good_until": invitation.expires_at.isoformat()}


def renew_invitation(*, invitation: Invitation, actor: User, now: datetime, seen: str | None = None) -> Offer:
    """
    A new token for seven days from now, in the name of `actor`; the earlier link stops working.

    Raises InvitationUsed, InvitationWithdrawn, TooManyInvitations, OnlyOwnersManageOwners, and SentMeanwhile where the
    page had `seen` an earlier mail: a second click sends no second one.
    """
    with transaction.atomic():
        lock_members(invitation.organization)
        invitation.refresh_from_db(fields=["role", "expires_at", "accepted_at", "revoked_at"])
        _check_is_open(invitation)
        if seen is not None and Seen(seen).changed(invitation_parts(invitation)):
            raise SentMeanwhile(invitation)
        check_may_give(organization=invitation.organization, role=invitation.role, actor=actor)
        _check_may_mail(organization=invitation.organization, email=invitation.email, now=now)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        invitation.token_digest = digest(token)
        invitation.invited_by = actor
        invitation.expires_at = now + LIFETIME
        invitation.save(update_fields=["token_digest", "invited_by", "expires_at"])
        audit.record(
            organization=invitation.organization, actor=actor, action="invitation.sent_again", target=invitation.email
        )
    return Offer(invitation, token)


def revoke_invitation(*, invitation: Invitation, actor: User, now: datetime) -> None:
    """End an open invitation. Raises InvitationUsed, InvitationWithdrawn, OnlyOwnersManageOwners."""
    with transaction.atomic():
        lock_members(invitation.organization)
        invitation.refresh_from_db(fields=["role", "accepted_at", "revoked_at"])
        _check_is_open(invitation)
        check_may_give(organization=invitation.organization, role=invitation.role, actor=actor)
        invitation.revoked_at = now
        invitation.save(update_fields=["revoked_at"])
        audit.record(
            organization=invitation.organization, actor=actor, action="invitation.withdrawn", target=invitation.email
        )


def end_invitations(*, organization: Organization, actor: User | None, now: datetime) -> int:
    """End every open invitation of `organization`, whoever made it. Returns how many."""
    with transaction.atomic(), audit.events_last():
        lock_members(organization)
        waiting = Invitation.objects.for_organization(organization).open()
        ended = list(waiting.order_by("pk").values_list("email", flat=True))
        waiting.update(revoked_at=now)
        for email in ended:
            audit.record(organization=organization, actor=actor, action="invitation.withdrawn", target=email)
    return len(ended)


@scope(EVERY, "the link says which organization")
def accept_invitation(*, token_digest: str, user: User, now: datetime) -> Membership:
    """
    Make `user` a member as the invitation says; it ends with that.

    Raises InvitationOver, ForSomebodyElse, BelongsAlready; then nothing has changed.
    """
    with transaction.atomic():
        organization = find_invitation(token_digest=token_digest, now=now).organization
        lock_members(organization)
        invitation = find_invitation(token_digest=token_digest, now=now)  # as it is under the lock
        if not owns_address(user, invitation.email):
            raise ForSomebodyElse(invited=invitation.email, user=user)
        if Membership.objects.for_organization(organization).filter(user=user).exists():
            raise BelongsAlready(organization)
        membership = Membership.objects.create(organization=organization, user=user, role=invitation.role)
        invitation.accepted_at = now
        invitation.save(update_fields=["accepted_at"])
        audit.record(
            organization=organization,
            actor=user,
            action="invitation.accepted",
            target=invitation.email,
            role=invitation.role,
            invited_by=invitation.invited_by.email,
        )
    return membership


@scope(EVERY, "the link says which organization")
def accepted_before(token_digest: str, user: User) -> Membership | None:
    """Where `user` is a member because they accepted this invitation."""
    invitation = Invitation.objects.filter(token_digest=token_digest).exclude(accepted_at=None).first()
    if invitation is None or not owns_address(user, invitation.email):
        return None
    mine = Membership.objects.select_related("organization").filter(organization=invitation.organization_id, user=user)
    return mine.filter(organization__closed_at=None, created_at__gte=invitation.created_at).first()


@scope(EVERY, "the link says which organization")
def find_invitation(*, token_digest: str, now: datetime) -> Invitation:
    """The invitation that can be accepted at `now`. Raises InvitationOver, which says why there is none."""
    invitation = (
        Invitation.objects.select_related("organization", "invited_by").filter(token_digest=token_digest).first()
    )
    if invitation is None:
        raise NoSuchInvitation
    _check_is_open(invitation)
    if invitation.expires_at <= now:
        raise InvitationExpired
    if invitation.organization.closed_at is not None or not _may_still_give(invitation):
        raise InvitationWithdrawn
    return invitation


@scope(EVERY, "the link says which organization")
def is_known(token: str) -> bool:
    """Whether an invitation was ever sent with `token`, and not sent again since."""
    return bool(FORM.fullmatch(token)) and Invitation.objects.filter(token_digest=digest(token)).exists()


def mail_invitation(offer: Offer) -> None:
    """Put the e-mail with the link into the outbox: it goes out if the current transaction stands."""
    invitation = offer.invitation
    context = {
        "invitation": invitation,
        "url": settings.SITE_URL.rstrip("/") + reverse("invitation", args=[offer.token]),
        "days": LIFETIME.days,
        "site": settings.SITE_URL,
    }
    subject = f"Join {mail_text.name(invitation.organization.name)} on Keyfare"
    body = render_to_string("organizations/email/invitation.txt", context)
    headers = {"Message-ID": _message_id(invitation), **expiring(invitation.expires_at)}
    EmailMessage(subject, body, to=[invitation.email], headers=headers).send()


def mail_states(invitations: Iterable[Invitation]) -> dict[int, str]:
    """By invitation: whether the newest e-mail with its link waits, was sent or was given up (OutgoingMail.State)."""
    by_message = {_message_id(invitation): invitation.pk for invitation in invitations}
    mails = OutgoingMail.objects.filter(message_id__in=by_message).values_list("message_id", "state")
    return {by_message[message]: state for message, state in mails}


def _message_id(invitation: Invitation) -> str:
    """Another one for each link."""
    return f"<invitation.{invitation.token_digest[:32]}@{urlsplit(settings.SITE_URL).hostname or 'localhost'}>"


def digest(token: str) -> str:
    """What is stored of a token. It is random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def owns_address(user: User, email: str) -> bool:
    """Whether `email` is the person's own, or one they have confirmed."""
    if user.email.lower() == email:
        return True
    return bool(EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists())


def _check_is_open(invitation: Invitation) -> None:
    if invitation.accepted_at is not None:
        raise InvitationUsed
    if invitation.revoked_at is not None:
        raise InvitationWithdrawn


def _may_still_give(invitation: Invitation) -> bool:
    """Whether the giver could make the same offer today."""
    giver = invitation.invited_by
    if not giver.is_active:
        return False
    try:
        check_may_give(organization=invitation.organization, role=invitation.role, actor=giver)
    except MemberChangeRefused:
        return False
    return True


def _check_may_mail(*, organization: Organization, email: str, now: datetime) -> None:
    """The audit log has counted what went out. Raises TooManyInvitations."""
    sent = AuditEvent.objects.for_organization(organization).filter(
        action__in=("member.invited", "invitation.sent_again"), created_at__gt=now - timedelta(days=1)
    )
    if sent.filter(target=email[:200]).count() >= MAILS_A_DAY_TO_ONE_ADDRESS:
        raise TooManyInvitations(
            f"{email} was sent {MAILS_A_DAY_TO_ONE_ADDRESS} invitations in the last 24 hours. Ask the person to look "
            "among unwanted mail, or send the next one tomorrow."
        )
    if sent.count() >= MAILS_A_DAY:
        raise TooManyInvitations(
            f"{MAILS_A_DAY} invitations went out in the last 24 hours. Send the next one tomorrow."
        )
