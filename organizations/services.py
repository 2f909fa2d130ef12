"""Who belongs to an organization, with which role, and its settings. Every change leaves an audit event."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from organizations import audit
from organizations.models import Invitation, Membership, Organization, User

Role = Membership.Role


class MemberChangeRefused(Exception):
    """A change of members that the rules forbid; str() is a sentence."""


class NoSuchAccount(MemberChangeRefused):
    def __init__(self, email: str) -> None:
        super().__init__(f"Nobody with the e-mail {email} has an account here. Ask them to sign up first.")


class AlreadyMember(MemberChangeRefused):
    def __init__(self, email: str) -> None:
        super().__init__(f"{email} is a member already. Change the role in the list instead.")


class OnlyOwnersManageOwners(MemberChangeRefused):
    def __init__(self) -> None:
        super().__init__("Only an owner can make, change or remove an owner.")


class LastOwner(MemberChangeRefused):
    def __init__(self) -> None:
        super().__init__("An organization needs an owner. Make somebody else an owner first.")


def add_member(*, organization: Organization, email: str, role: str, actor: User | None) -> Membership:
    """
    Make the person with an account under `email` a member.

    Tells the actor whether an account exists: only owners and admins get here, and they name the person.
    Raises NoSuchAccount, AlreadyMember, OnlyOwnersManageOwners.
    """
    with transaction.atomic():
        lock_members(organization)
        check_may_touch(organization=organization, roles={role}, actor=actor)
        user = User.objects.filter(email=email.strip().lower(), is_active=True).first()
        if user is None:
            raise NoSuchAccount(email)
        if Membership.objects.for_organization(organization).filter(user=user).exists():
            raise AlreadyMember(user.email)
        membership = Membership.objects.create(organization=organization, user=user, role=Role(role))
        invitations = Invitation.objects.for_organization(organization).open()
        invitations.filter(email=user.email).update(revoked_at=timezone.now())
        audit.record(
            organization=organization,
            actor=actor,
            action="member.added",
            target=user.email,
            role=membership.role,
        )
    return membership


def change_role(*, membership: Membership, role: str, actor: User | None) -> Membership:
    """Give a member another role; the same changes nothing. Raises OnlyOwnersManageOwners, LastOwner."""
    organization = membership.organization
    with transaction.atomic():
        lock_members(organization)
        membership.refresh_from_db()
        before = membership.role
        if role == before:
            return membership
        check_may_touch(organization=organization, roles={before, role}, actor=actor)
        _check_owner_remains(membership)
        membership.role = Role(role)
        membership.save(update_fields=["role"])
        audit.record(
            organization=organization,
            actor=actor,
            action="member.role_changed",
            target=membership.user.email,
            before=str(before),
            after=str(role),
        )
    return membership


def remove_member(*, membership: Membership, actor: User | None) -> None:
    """End a membership; the person's account stays. Raises OnlyOwnersManageOwners, LastOwner."""
    organization = membership.organization
    with transaction.atomic():
        lock_members(organization)
        membership.refresh_from_db()
        check_may_touch(organization=organization, roles={membership.role}, actor=actor)
        _check_owner_remains(membership)
        email, role = membership.user.email, membership.role
        membership.delete()
        audit.record(organization=organization, actor=actor, action="member.removed", target=email, role=role)


def set_recency_window(*, organization: Organization, days: int, actor: User | None) -> None:
    """How long an earlier check still counts as recent: 30, 60 or 90 days. The same value changes nothing."""
    days = Organization.RecencyWindow(days).value
    with transaction.atomic():
        lock_members(organization)
        before = Organization.objects.values_list("recency_window_days", flat=True).get(pk=organization.pk)
        organization.recency_window_days = days
        if days == before:
            return
        organization.save(update_fields=["recency_window_days"])
        audit.record(
            organization=organization,
            actor=actor,
            action="organization.recency_window_changed",
            before=before,
            after=days,
        )


def assignable_roles(*, organization: Organization, actor: User | None) -> list[Role]:
    """The roles that `actor` may give."""
    if _manages_owners(organization=organization, actor=actor):
        return list(Role)
    return [Role.ADMIN, Role.MEMBER]


def is_last_owner(membership: Membership) -> bool:
    owners = Membership.objects.for_organization(membership.organization).filter(role=Role.OWNER)
    return membership.role == Role.OWNER and not owners.exclude(pk=membership.pk).exists()


def lock_members(organization: Organization) -> None:
    """Member changes of an organization happen one after another: two must not remove the last two owners."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)


def _manages_owners(*, organization: Organization, actor: User | None) -> bool:
    """Owners, staff, and the system itself."""
    if actor is None or actor.is_staff:
        return True
    return Membership.objects.for_organization(organization).filter(user=actor, role=Role.OWNER).exists()


def check_may_touch(*, organization: Organization, roles: set[str], actor: User | None) -> None:
    if Role.OWNER in roles and not _manages_owners(organization=organization, actor=actor):
        raise OnlyOwnersManageOwners


def _check_owner_remains(membership: Membership) -> None:
    if is_last_owner(membership):
        raise LastOwner
