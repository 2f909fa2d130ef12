"""Who belongs to an organization, with which role, and its settings. Every change leaves an audit event."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.db import transaction

from organizations import audit, clock
from organizations.edits import check_seen
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


class OnlyOwnersManageAdmins(MemberChangeRefused):
    def __init__(self) -> None:
        super().__init__("Only an owner can change or remove another admin.")


class OnlyManagersManageMembers(MemberChangeRefused):
    def __init__(self) -> None:
        super().__init__("Only owners and admins of an organization manage its members.")


class NoLongerMember(MemberChangeRefused):
    def __init__(self) -> None:
        super().__init__("This person is no member any more.")


class RecencyNotShared(Exception):
    """The organization cannot take part in the recency network; str() is a sentence."""


class UsdNotYours(Exception):
    def __init__(self) -> None:
        super().__init__("Only an owner decides whether members see what calls cost.")


class LastOwner(MemberChangeRefused):
    def __init__(self) -> None:
        super().__init__("An organization needs an owner. Make somebody else an owner first.")


def add_member(*, organization: Organization, email: str, role: str, actor: User | None) -> Membership:
    """
    Make the person with an account under `email` a member.

    Tells the actor whether an account exists: only owners and admins get here, and they name the person.
    Raises NoSuchAccount, AlreadyMember, OnlyOwnersManageOwners, OnlyManagersManageMembers.
    """
    with transaction.atomic():
        lock_members(organization)
        check_may_give(organization=organization, role=role, actor=actor)
        user = User.objects.filter(email=email.strip().lower(), is_active=True).first()
        if user is None:
            raise NoSuchAccount(email)
        if Membership.objects.for_organization(organization).filter(user=user).exists():
            raise AlreadyMember(user.email)
        membership = Membership.objects.create(organization=organization, user=user, role=Role(role))
        invitations = Invitation.objects.for_organization(organization).open()
        invitations.filter(email=user.email).update(revoked_at=clock.now())
        audit.record(
            organization=organization,
            actor=actor,
            action="member.added",
            target=user.email,
            role=membership.role,
        )
    return membership


def change_role(*, membership: Membership, role: str, actor: User | None, seen: str | None = None) -> Membership:
    """
    Give a member another role; the same changes nothing. Raises MemberChangeRefused in each of its kinds, and
    ChangedMeanwhile where the page had `seen` another role.
    """
    organization = membership.organization
    with transaction.atomic():
        lock_members(organization)
        _refresh(membership)
        before = membership.role
        if role == before:
            return membership
        _check_seen(membership, seen, reader=actor)
        if role == Role.OWNER or not _helps(actor, organization):
            check_may_give(organization=organization, role=role, actor=actor)
        _check_may_change(membership, actor)
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


def remove_member(*, membership: Membership, actor: User | None, seen: str | None = None) -> None:
    """
    End a membership; the person's account stays. Raises MemberChangeRefused in each of its kinds, and ChangedMeanwhile
    where the page had `seen` another role.
    """
    organization = membership.organization
    with transaction.atomic():
        lock_members(organization)
        _refresh(membership)
        _check_seen(membership, seen, reader=actor)
        _check_may_change(membership, actor)
        _check_owner_remains(membership)
        email, role = membership.user.email, membership.role
        membership.delete()
        audit.record(organization=organization, actor=actor, action="member.removed", target=email, role=role)


def set_recency_window(*, organization: Organization, days: int, actor: User | None, seen: str | None = None) -> None:
    """
    How long an earlier check still counts as recent: 30, 60 or 90 days. The same value changes nothing.

    Raises ChangedMeanwhile where the page had `seen` another value.
    """
    days = Organization.RecencyWindow(days).value
    with transaction.atomic():
        lock_members(organization)
        before = Organization.objects.values_list("recency_window_days", flat=True).get(pk=organization.pk)
        organization.recency_window_days = before
        if days == before:
            return
        check_seen(
            seen,
            recency_parts(organization),
            what=f"the recency window to {before} days",
            organization=organization,
            actions=["organization.recency_window_changed", "organization.changed_by_staff"],
            reader=actor,
            what_to_do="Your choice is still marked: save again to overrule.",
        )
        organization.recency_window_days = days
        organization.save(update_fields=["recency_window_days"])
        audit.record(
            organization=organization,
            actor=actor,
            action="organization.recency_window_changed",
            before=before,
            after=days,
        )


def recency_parts(organization: Organization) -> dict[str, object]:
    """What the form of the recency window is built from."""
    return {"days": organization.recency_window_days}


def member_parts(membership: Membership) -> dict[str, object]:
    """What the forms of a member's line are built from."""
    return {"role": membership.role}


def set_recency_sharing(*, organization: Organization, shares: bool, actor: User | None) -> None:
    """
    Let an organization take part in the recency network, or end that. The same value changes nothing.

    Raises RecencyNotShared where the installation has no such network, or for anybody but an owner.
    """
    with transaction.atomic():
        lock_members(organization)
        if _standing(organization, actor) != Role.OWNER:
            raise RecencyNotShared("Only an owner decides whether an organization shares recency.")
        if shares and not settings.KEYFARE_NETWORK_RECENCY:
            raise RecencyNotShared("This installation does not share recency between organizations.")
        before = Organization.objects.values_list("shares_recency", flat=True).get(pk=organization.pk)
        organization.shares_recency = shares
        if shares == before:
            return
        organization.save(update_fields=["shares_recency"])
        audit.record(
            organization=organization,
            actor=actor,
            action="organization.recency_sharing_changed",
            before=before,
            after=shares,
        )


def set_members_see_usd(*, organization: Organization, sees: bool, actor: User | None) -> None:
    """
    Show USD to members as well, or to owners and admins alone. The same value changes nothing.

    Raises UsdNotYours for anybody but an owner.
    """
    with transaction.atomic():
        lock_members(organization)
        if _standing(organization, actor) != Role.OWNER:
            raise UsdNotYours
        before = Organization.objects.values_list("members_see_usd", flat=True).get(pk=organization.pk)
        organization.members_see_usd = sees
        if sees == before:
            return
        organization.save(update_fields=["members_see_usd"])
        audit.record(
            organization=organization,
            actor=actor,
            action="organization.usd_for_members_changed",
            before=before,
            after=sees,
        )


def assignable_roles(*, organization: Organization, actor: User | None) -> list[Role]:
    """The roles that `actor` may give: none above their own, and members give none."""
    role = _standing(organization, actor)
    if role == Role.OWNER:
        return list(Role)
    return [Role.ADMIN, Role.MEMBER] if role == Role.ADMIN else []


def check_may_give(*, organization: Organization, role: str, actor: User | None) -> None:
    """Raises OnlyOwnersManageOwners, OnlyManagersManageMembers."""
    standing = _standing(organization, actor)
    if role == Role.OWNER and standing != Role.OWNER:
        raise OnlyOwnersManageOwners
    if standing not in (Role.OWNER, Role.ADMIN):
        raise OnlyManagersManageMembers


def changeable_roles(assignable: Collection[str]) -> list[Role]:
    """Whom else those may change and remove who may give `assignable` roles: owners everybody, admins members."""
    return [role for role in Role if role in assignable and (Role.OWNER in assignable or role == Role.MEMBER)]


def is_last_owner(membership: Membership) -> bool:
    """Whether no other owner can log in."""
    owners = Membership.objects.for_organization(membership.organization).filter(role=Role.OWNER, user__is_active=True)
    return membership.role == Role.OWNER and not owners.exclude(pk=membership.pk).exists()


def last_owner_of(user: User) -> list[Organization]:
    """
    The open organizations that would have no owner without `user`, by name.

    In a transaction: members of those that `user` owns stay locked until its end, so that the answer stays true.
    """
    owned = Organization.objects.of_user(user).filter(memberships__role=Role.OWNER).order_by("pk").distinct()
    for organization in owned:
        lock_members(organization)
    mine = Membership.objects.filter(user=user, role=Role.OWNER, organization__in=owned).select_related("organization")
    return sorted((each.organization for each in mine if is_last_owner(each)), key=lambda each: each.name)


def lock_members(organization: Organization) -> None:
    """Member changes of an organization happen one after another: two must not remove the last two owners."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)


def _standing(organization: Organization, actor: User | None) -> str:
    """The role by which `actor` acts: the system itself, and staff who are superusers, act as owners do."""
    if actor is None or (actor.is_staff and actor.is_active and actor.is_superuser):
        return Role.OWNER
    mine = Membership.objects.for_organization(organization).filter(user=actor, user__is_active=True).first()
    return mine.role if mine else ""


def _helps(actor: User | None, organization: Organization) -> bool:
    """
    Staff who may change members: any of them, but they let nobody in and make nobody an owner. Else they would read a
    customer's organization through the account of a friend. In an organization that they belong to their role counts,
    and nothing else: an admin there puts no owner down, and a member makes nobody an admin.
    """
    if actor is None or not (actor.is_staff and actor.has_perm("organizations.change_membership")):
        return False
    return not Membership.objects.for_organization(organization).filter(user=actor).exists()


def _check_may_change(membership: Membership, actor: User | None) -> None:
    if _helps(actor, membership.organization):
        return
    changeable = changeable_roles(assignable_roles(organization=membership.organization, actor=actor))
    if membership.role in changeable or (actor is not None and membership.user_id == actor.pk):
        return
    if membership.role == Role.OWNER:
        raise OnlyOwnersManageOwners
    raise OnlyOwnersManageAdmins if changeable else OnlyManagersManageMembers


def _refresh(membership: Membership) -> None:
    try:
        membership.refresh_from_db()
    except Membership.DoesNotExist:
        raise NoLongerMember from None


def _check_seen(membership: Membership, seen: str | None, *, reader: User | None) -> None:
    check_seen(
        seen,
        member_parts(membership),
        what=f"the role of {membership.user.email} to {membership.get_role_display().lower()}",
        organization=membership.organization,
        actions=["member.role_changed"],
        target=membership.user.email,
        reader=reader,
        what_to_do="The list is up to date now: if you still want it, do it again.",
    )


def _check_owner_remains(membership: Membership) -> None:
    if is_last_owner(membership):
        raise LastOwner
