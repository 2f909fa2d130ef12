"""
E-mails to those who manage an organization's keys: its owners and admins; for managed keys, the staff who may change
them, or ADMINS where there are none.

Told once: a notice is claimed on the key's row in the transaction that puts it into the outbox. No e-mail holds a key
or a part of one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django_q.tasks import async_task

from organizations.models import Membership, Organization, User
from organizations.templatetags import mail_text
from providers.catalog import PROVIDERS
from providers.models import BROKEN_STATUSES, ProviderKey

BreakNotice = ProviderKey.BreakNotice
Role = Membership.Role
CHANGE_KEYS = "providers.change_providerkey"


def queue_break_notice(key: ProviderKey) -> None:
    """Tell that a key broke, in the background and only if the current transaction stands."""
    key_id, group = str(key.pk), f"organization {key.organization_id}"
    transaction.on_commit(lambda: async_task("providers.tasks.tell_key_broke", key_id, group=group))


def tell_key_broke(*, key_id: UUID) -> bool:
    """
    Send the notice that is due for a key. Returns whether it was sent.

    Running twice sends it once; a key that works again meanwhile has none.
    """
    due = ProviderKey.objects.filter(pk=key_id, status__in=BROKEN_STATUSES, break_notice=BreakNotice.DUE)
    with transaction.atomic():
        if not due.update(break_notice=BreakNotice.SENT):
            return False
        key = ProviderKey.objects.select_related("organization").defer("ciphertext").get(pk=key_id)
        provider = PROVIDERS[key.provider].name
        _send(
            key.organization,
            f"{provider} key “{mail_text.name(key.label)}” of {mail_text.name(key.organization.name)} stopped working",
            "providers/email/key_broke.txt",
            {"key": key, "provider": provider},
        )
    return True


def send_due_break_notices() -> int:
    """Send what a lost task left unsent. Returns how many."""
    due = ProviderKey.objects.filter(status__in=BROKEN_STATUSES, break_notice=BreakNotice.DUE)
    return sum(tell_key_broke(key_id=key_id) for key_id in list(due.values_list("pk", flat=True)))


def remind_key_rotation(*, now: datetime) -> int:
    """
    Remind of keys whose secret is KEYFARE_KEY_ROTATION_DAYS old or older: each once in such a period, with one
    e-mail an organization. Returns how many keys.
    """
    due = _due_for_rotation(now=now)
    organizations = Organization.objects.filter(pk__in=due.values("organization"), closed_at=None).order_by("pk")
    return sum(_remind(organization, due.filter(organization=organization), now=now) for organization in organizations)


def _remind(organization: Organization, due: QuerySet[ProviderKey], *, now: datetime) -> int:
    with transaction.atomic():
        claimed = [pk for pk in due.values_list("pk", flat=True) if due.filter(pk=pk).update(rotation_reminded_at=now)]
        keys = list(ProviderKey.objects.filter(pk__in=claimed).defer("ciphertext").order_by("created_at"))
        if keys:
            _send(
                organization,
                f"Time to replace {len(keys)} provider key{'s' if len(keys) > 1 else ''} of "
                f"{mail_text.name(organization.name)}",
                "providers/email/key_rotation.txt",
                {
                    "rows": [(key, PROVIDERS[key.provider], (now - key.secret_since).days) for key in keys],
                    "days": settings.KEYFARE_KEY_ROTATION_DAYS,
                },
            )
    return len(keys)


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
        addresses = _responsible_for_managed_keys()
        path = reverse("admin:providers_providerkey_changelist")
    else:
        managers = organization.memberships.filter(role__in=[Role.OWNER, Role.ADMIN], user__is_active=True)
        addresses = list(
            User.objects.filter(pk__in=managers.values("user")).order_by("pk").values_list("email", flat=True)
        )
        path = reverse("settings-section", args=[organization.slug, "llm-providers"])
    url = settings.SITE_URL.rstrip("/") + path
    text = render_to_string(template, {**context, "organization": organization, "url": url})
    if addresses:
        get_connection().send_messages([EmailMessage(subject, text, to=[address]) for address in addresses])


def _responsible_for_managed_keys() -> list[str]:
    staff = ModelBackend().with_perm(CHANGE_KEYS).filter(is_staff=True)
    return list(staff.order_by("pk").values_list("email", flat=True)) or [address for _, address in settings.ADMINS]
