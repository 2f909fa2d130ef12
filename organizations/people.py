"""
What staff may do to the accounts of people, and who hears of it.

Nobody of the staff changes the account of somebody who has rights that they lack: else every small right would be all
of them. Accounts are no organization's, so what happens to one stands in the log of each organization that the person
belongs to, and in that of the platform.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth.models import Permission
from django.core.mail import send_mail
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string

from organizations import audit
from organizations.models import AuditEvent, Membership, Organization, User
from organizations.templatetags.mail_text import one_line

CHANGE_PEOPLE = "organizations.change_user"


def may_manage(actor: User, person: User) -> bool:
    """Whether `actor` has every right over the installation that `person` has, were both active."""
    if not (actor.is_active and actor.is_staff):
        return False
    if actor.is_superuser:
        return True
    return not person.is_superuser and _rights_given(person) <= _rights_given(actor)


def record_about(
    person: User,
    *,
    actor: User | None,
    action: str,
    target: str = "",
    on_platform: bool = True,
    **details: str | int | bool | None,
) -> None:
    """Write one audit event for each organization concerned, in the caller's transaction; `target`: their e-mail."""
    with audit.events_last():
        for organization in _concerned(person, on_platform=on_platform):
            audit.record(
                organization=organization, actor=actor, action=action, target=target or person.email, **details
            )


def was_recorded(person: User, *, actor: User, action: str, since: datetime) -> bool:
    """Whether `record_about` wrote this of the person, under the e-mail they have now."""
    events = AuditEvent.objects.filter(organization__in=_concerned(person, on_platform=True))
    return events.filter(actor=actor, action=action, target=person.email, created_at__gt=since).exists()


def other_owners(person: User) -> list[User]:
    """
    Who may vouch for `person`: owners, other than the person, of every open organization that the person belongs to.

    Nobody for staff, and nobody where the person belongs to none: one organization's owner has no say in another.
    """
    organizations = set(Organization.objects.of_user(person).values_list("pk", flat=True))
    if not organizations or person.is_staff or person.is_superuser or _rights_given(person):
        return []
    ownerships = Membership.objects.filter(
        organization__in=organizations, role=Membership.Role.OWNER, user__is_active=True
    ).exclude(user=person)
    owned: dict[int, set[int]] = {}
    for user_id, organization_id in ownerships.values_list("user_id", "organization_id"):
        owned.setdefault(user_id, set()).add(organization_id)
    everywhere = [user_id for user_id, theirs in owned.items() if theirs == organizations]
    return list(User.objects.filter(pk__in=everywhere).order_by("email"))


def tell(email: str, *, subject: str, template: str, **context: Any) -> None:
    """Mail `email`, if the transaction stands."""
    send_mail(one_line(subject), render_to_string(template, context), None, [email])


def _concerned(person: User, *, on_platform: bool) -> QuerySet[Organization]:
    concerned = Q(memberships__user=person, is_platform=False)
    if on_platform:
        concerned |= Q(is_platform=True)
    return Organization.objects.filter(concerned).distinct().order_by("pk")


def _rights_given(person: User) -> set[int]:
    """Staff rights by id, whether or not the account is active and staff at present."""
    given = Q(user=person) | Q(group__user=person)
    return set(Permission.objects.filter(given).values_list("pk", flat=True))
