"""
One e-mail an episode, to whom it concerns: the owners, and the member whose token made the calls, where it was one.
Each reads what they may see on the page: a member no USD that owners keep.

Told once: an episode is claimed in the transaction that puts its mails into the outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse

from organizations.models import Membership, Organization
from organizations.templatetags import mail_text
from organizations.viewer import viewing
from usage.episodes.keeping import QUIET
from usage.episodes.words import Said, is_shown
from usage.models import Anomaly, AnomalyWebhook, UsageDaily

AT_ONCE = 500
FOUND_LATELY = timedelta(days=1)
SaidOf = Callable[[Anomaly], Said]  # in the words of the apps above: names of actions, and credits


def tell_anomalies(*, now: datetime, said_of: SaidOf) -> int:
    """Mail what was found and not told yet, also where it was over before anybody looked. Returns how many e-mails."""
    is_open = Q(state=Anomaly.State.OPEN, seen_at__gte=now - QUIET)
    is_past = Q(state=Anomaly.State.OVER, expected_at=None, found_at__gte=now - FOUND_LATELY)
    untold = (
        Anomaly.objects.filter(is_open | is_past, told_at=None).select_related("organization").order_by("pk")[:AT_ONCE]
    )
    return sum(_tell(anomaly, now, said_of) for anomaly in untold)


def member_of(anomaly: Anomaly) -> int | None:
    """The user whose token made the calls, where it was one."""
    calls = UsageDaily.objects.for_organization(anomaly.organization_id).filter(
        day__gte=anomaly.since.astimezone(UTC).date(), action=anomaly.action, mode=anomaly.mode
    )
    if anomaly.kind == Anomaly.Kind.NEW_CALLER:
        calls = calls.filter(token_id=int(anomaly.subject))
    tokens = list(calls.order_by().values_list("token_id", "member_id").distinct()[:2])
    return (tokens[0][1] or None) if len(tokens) == 1 and tokens[0][0] else None


def _tell(anomaly: Anomaly, now: datetime, said_of: SaidOf) -> int:
    organization = anomaly.organization
    with transaction.atomic():
        has_hook = AnomalyWebhook.objects.for_organization(organization).exists() and is_shown(anomaly)
        untold = Anomaly.objects.for_organization(organization).filter(pk=anomaly.pk, told_at=None)
        if not untold.update(told_at=now, post_due_at=now if has_hook else None) or not is_shown(anomaly):
            return 0
        people = _concerned(organization, member_of(anomaly))
        mails = [_mail(anomaly, _said_as(person, anomaly, said_of), person.user.email) for person in people]
        if mails:
            get_connection().send_messages(mails)
    return len(mails)


def _said_as(person: Membership, anomaly: Anomaly, said_of: SaidOf) -> Said:
    with viewing(sees_usd=person.sees_usd):
        return said_of(anomaly)


def _mail(anomaly: Anomaly, words: Said, address: str) -> EmailMessage:
    organization = anomaly.organization
    context = {
        "organization": organization,
        "said": words,
        "since": f"{anomaly.since.astimezone(UTC):%Y-%m-%d %H:%M}",
        "until": f"{anomaly.seen_at.astimezone(UTC):%Y-%m-%d %H:%M}" if anomaly.state == Anomaly.State.OVER else "",
        "url": settings.SITE_URL.rstrip("/") + reverse("anomalies", args=[organization.slug]),
    }
    subject = f"{mail_text.name(words.title)} in {mail_text.name(organization.name)}"
    return EmailMessage(subject, render_to_string("usage/email/anomaly.txt", context), to=[address])


def _concerned(organization: Organization, member: int | None) -> list[Membership]:
    """One mail to each person, so that nobody's address is shown to the others."""
    people = Membership.objects.for_organization(organization).filter(user__is_active=True)
    concerned = people.filter(
        Q(role=Membership.Role.OWNER) | Q(user=member) if member else Q(role=Membership.Role.OWNER)
    )
    return list(concerned.select_related("user", "organization").order_by("user"))
