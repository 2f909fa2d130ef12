"""
E-mails to those who manage an organization's keys: its owners and admins; for managed keys, the staff.

Told once: a notice is claimed on the key's row before it is sent, and given back if sending fails. No e-mail holds
a key or a part of one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django_q.tasks import async_task

from organizations.models import Membership, Organization, User
from providers.catalog import PROVIDERS
from providers.models import BROKEN_STATUSES, ProviderKey

BreakNotice = ProviderKey.BreakNotice
Role = Membership.Role


def queue_break_notice(key_id: UUID) -> None:
    """Tell that a key broke, in the background and only if the current transaction stands."""
    transaction.on_commit(lambda: async_task("providers.tasks.tell_key_broke", str(key_id)))


def tell_key_broke(*, key_id: UUID) -> bool:
    """
    Send the notice that is due for a key. Returns whether it was sent.

    Running twice sends it once; a key that works again meanwhile has none.
    """
    due = ProviderKey.objects.filter(pk=key_id, status__in=BROKEN_STATUSES, break_notice=BreakNotice.DUE)
    if not due.update(break_notice=BreakNotice.SENT):
        return False
    key = ProviderKey.objects.select_related("organization").defer("ciphertext").get(pk=key_id)
    name = PROVIDERS[key.provider].name
    try:
        _send(
            key.organization,
            f"{name} key “{key.label}” of {key.organization} stopped working",
            "providers/email/key_broke.txt",
            {"key": key, "provider": name},
        )
    except Exception:
        ProviderKey.objects.filter(pk=key_id, break_notice=BreakNotice.SENT).update(break_notice=BreakNotice.DUE)
        raise
    return True


def send_due_break_notices() -> int:
    """Send what a lost task or a mail server out of reach left unsent. Returns how many."""
    due = ProviderKey.objects.filter(status__in=BROKEN_STATUSES, break_notice=BreakNotice.DUE)
    return sum(tell_key_broke(key_id=key_id) for key_id in list(due.values_list("pk", flat=True)))


def remind_key_rotation(*, now: datetime) -> int:
    """
    Remind of keys whose secret is KEYFARE_KEY_ROTATION_DAYS old or older: each once in such a period, with one
    e-mail an organization. Returns how many keys. Where sending fails, the next run tries again; raises then, at last.
    """
    due = _due_for_rotation(now=now)
    organizations = Organization.objects.filter(pk__in=due.values("organization"), closed_at=None).order_by("pk")
    reminded, trouble = 0, None
    for organization in organizations:
        reminded_before = {
            key.pk: key.rotation_reminded_at for key in due.filter(organization=organization).defer("ciphertext")
        }
        claimed = [pk for pk in reminded_before if due.filter(pk=pk).update(rotation_reminded_at=now)]
        keys = list(ProviderKey.objects.filter(pk__in=claimed).defer("ciphertext").order_by("created_at"))
        if not keys:
            continue
        rows = [(key, PROVIDERS[key.provider], (now - key.secret_since).days) for key in keys]
        try:
            _send(
                organization,
                f"Time to replace {len(keys)} provider key{'s' if len(keys) > 1 else ''} of {organization}",
                "providers/email/key_rotation.txt",
                {"rows": rows, "days": settings.KEYFARE_KEY_ROTATION_DAYS},
            )
        except Exception as error:
            trouble = error
            for key in keys:
                ProviderKey.objects.filter(pk=key.pk).update(rotation_reminded_at=reminded_before[key.pk])
        else:
            reminded += len(keys)
    if trouble:
        raise trouble
    return reminded


def _due_for_rotation(*, now: datetime) -> QuerySet[ProviderKey]:
    """A disabled key and a server without one guard nothing, and one that needs re-entry is pasted anew anyway."""
    if not settings.KEYFARE_KEY_ROTATION_DAYS:
        return ProviderKey.objects.none()
    cutoff = now - timedelta(days=settings.KEYFARE_KEY_ROTATION_DAYS)
    keys = ProviderKey.objects.filter(
        Q(replaced_at=None, created_at__lte=cutoff) | Q(replaced_at__lte=cutoff),
        Q(rotation_reminded_at=None) | Q(rotation_reminded_at__lte=cutoff),
        replaces=None,
    ).exclude(status__in=[ProviderKey.Status.DISABLED, ProviderKey.Status.NEEDS_REENTRY])
    return keys.exclude(~Q(base_url=""), fingerprint="")


def _send(organization: Organization, subject: str, template: str, context: dict[str, Any]) -> None:
    """One e-mail to each person, so that nobody's address is shown to the others."""
    if organization.is_platform:
        people = User.objects.filter(is_staff=True, is_active=True)
        path = reverse("admin:providers_providerkey_changelist")
    else:
        managers = organization.memberships.filter(role__in=[Role.OWNER, Role.ADMIN], user__is_active=True)
        people = User.objects.filter(pk__in=managers.values("user"))
        path = f"{reverse('settings', args=[organization.slug])}#llm-providers"
    text = render_to_string(template, {**context, "organization": organization, "url": settings.SITE_URL + path})
    messages = [EmailMessage(" ".join(subject.split()), text, to=[person.email]) for person in people.order_by("pk")]
    if messages:
        get_connection().send_messages(messages)
