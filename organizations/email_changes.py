"""
A new e-mail address that staff enter for somebody.

Whoever reads an account's mail can set its password. So a new address works only after somebody who reads the old one,
or another owner of all organizations of the person, has agreed to it; each of them gets a link of their own. Who asks
for somebody else does not agree as well.
`manage.py change_email` is for the person whom none of them can help.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from organizations import people
from organizations.models import EmailChange, User
from organizations.tenancy import EVERY, scope

LIFETIME = timedelta(days=7)
A_DOUBLE_CLICK = timedelta(minutes=1)
SALT = "keyfare/email-change"
MAILS = "organizations/email/"


class EmailChangeRefused(Exception):
    """str() is a sentence."""


class AddressTaken(EmailChangeRefused):
    def __init__(self, email: str) -> None:
        super().__init__(f"{email} belongs to an account already.")


class NotTheirs(EmailChangeRefused):
    def __init__(self) -> None:
        super().__init__("This person has rights that you lack, so their account is not yours to change.")


class EmailChangeOver(EmailChangeRefused):
    """A link that does nothing any more, or never did."""

    def __init__(self) -> None:
        super().__init__("This link is over: it was used or refused, is older than 7 days, or a newer one was sent.")


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for: the change, and who agrees by it."""

    change: EmailChange
    by: User


def request_email_change(*, person: User, email: str, actor: User, now: datetime) -> EmailChange:
    """
    Ask whoever may agree, by mail; nothing changes until one of them has. An earlier request ends, but for the same one
    within A_DOUBLE_CLICK, which is this one.

    Raises NotTheirs, AddressTaken.
    """
    email = email.strip().lower()
    if not people.may_manage(actor, person):
        raise NotTheirs
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=person.pk)  # of two requests one is open at the end
        _check_is_free(email)
        just_asked = _open_changes(person).filter(
            old_email=person.email, new_email=email, requested_by=actor, expires_at__gt=now + LIFETIME - A_DOUBLE_CLICK
        )
        if same := just_asked.first():
            return same
        _open_changes(person).update(withdrawn_at=now)
        change = EmailChange.objects.create(
            user=person, old_email=person.email, new_email=email, requested_by=actor, expires_at=now + LIFETIME
        )
        for by in _agreeing(change):
            people.tell(
                by.email,
                subject=f"Agree to a new e-mail address of {person.email}?",
                template=f"{MAILS}email_change.txt",
                change=change,
                by=by,
                url=settings.SITE_URL.rstrip("/") + reverse("email-change", args=[_token(change, by)]),
                days=LIFETIME.days,
                site=settings.SITE_URL,
            )
        people.record_about(person, actor=actor, action="account.email_change_requested", new_email=email)
    return change


@scope(EVERY, "a person's organizations are several")
def find_link(*, token: str, now: datetime) -> Link:
    """Raises EmailChangeOver, also where who asked or who would agree may not any more."""
    try:
        change_id, by_id = signing.loads(token, salt=SALT)
    except (signing.BadSignature, TypeError, ValueError):
        raise EmailChangeOver from None
    changes = EmailChange.objects.select_related("user", "requested_by")
    change = changes.filter(pk=change_id, confirmed_at=None, withdrawn_at=None, expires_at__gt=now).first()
    if change is None or change.user.email != change.old_email:
        raise EmailChangeOver
    asked = change.requested_by
    if not (asked.has_perm(people.CHANGE_PEOPLE) and people.may_manage(asked, change.user)):
        raise EmailChangeOver
    agreeing = {each.pk: each for each in _agreeing(change)}
    if by_id not in agreeing:
        raise EmailChangeOver
    return Link(change, agreeing[by_id])


@scope(EVERY, "a person's organizations are several")
def confirm_email_change(*, token: str, now: datetime) -> EmailChange:
    """Let the new address be the person's; they confirm it by a mail when they log in next. Raises EmailChangeOver."""
    with transaction.atomic():
        link = _locked_link(token, now)
        _check_is_free(link.change.new_email)
        link.change.confirmed_at, link.change.confirmed_by = now, link.by
        link.change.save(update_fields=["confirmed_at", "confirmed_by"])
        set_email(person=link.change.user, email=link.change.new_email, actor=link.by, is_verified=False)
    return link.change


@scope(EVERY, "a person's organizations are several")
def refuse_email_change(*, token: str, now: datetime) -> EmailChange:
    """Raises EmailChangeOver."""
    with transaction.atomic():
        link = _locked_link(token, now)
        link.change.withdrawn_at = now
        link.change.save(update_fields=["withdrawn_at"])
        people.record_about(
            link.change.user, actor=link.by, action="account.email_change_refused", new_email=link.change.new_email
        )
    return link.change


def set_email(*, person: User, email: str, actor: User | None, is_verified: bool) -> None:
    """Change the address at once; the old one is told. Raises AddressTaken."""
    email = email.strip().lower()
    old = person.email
    with transaction.atomic():
        if email != old:
            _check_is_free(email)
        EmailAddress.objects.filter(user=person, email__iexact=old).delete()
        EmailAddress.objects.filter(user=person, primary=True).update(primary=False)
        EmailAddress.objects.create(user=person, email=email, primary=True, verified=is_verified)
        person.email = email
        person.save(update_fields=["email"])
        people.record_about(person, actor=actor, action="account.email_changed", target=old, new_email=email)
        if email != old:
            people.tell(
                old,
                subject="Your e-mail address was changed",
                template=f"{MAILS}email_changed.txt",
                old=old,
                new=email,
                actor=actor,
                site=settings.SITE_URL,
            )


def _agreeing(change: EmailChange) -> list[User]:
    others = [owner for owner in people.other_owners(change.user) if owner != change.requested_by]
    return [change.user, *others]


def _token(change: EmailChange, by: User) -> str:
    return signing.dumps((change.pk, by.pk), salt=SALT)


def _locked_link(token: str, now: datetime) -> Link:
    """The link as it is while its change is locked: of two clicks the second finds it over."""
    link = find_link(token=token, now=now)
    EmailChange.objects.select_for_update().get(pk=link.change.pk)
    return find_link(token=token, now=now)


def _open_changes(person: User) -> QuerySet[EmailChange]:
    return EmailChange.objects.filter(user=person, confirmed_at=None, withdrawn_at=None)


def _check_is_free(email: str) -> None:
    if User.objects.filter(email__iexact=email).exists() or EmailAddress.objects.filter(email__iexact=email).exists():
        raise AddressTaken(email)
