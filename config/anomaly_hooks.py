"""
Anomalies posted to a server of the organization's, signed as Standard Webhooks says (standardwebhooks.com).

An episode is posted when it is told of, and again with the next run of `detect_anomalies` until the server takes it:
at least once, with the same `webhook-id`. The secret is shown when it is made, and kept under the master keys.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
from datetime import UTC, datetime
from typing import Any

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from standardwebhooks import Webhook

from config.anomalies import said_of
from config.anomaly_addresses import AddressRefused, address_named
from organizations.audit import record
from organizations.edits import check_seen
from organizations.models import Organization, User
from organizations.sealing import every_fernet
from providers.adapters.base import HttpCall, ProviderError
from providers.egress.short_calls import send_now
from usage.audience import sees_usd
from usage.episodes.webhooks import PURPOSE
from usage.models import Anomaly, AnomalyWebhook

logger = logging.getLogger(__name__)
MOST_ATTEMPTS = 24  # one an hour
AT_ONCE = 200
TIMEOUT_SECONDS = 10
MOST_BYTES = 64 * 1024  # of an answer that nobody reads


@sensitive_variables("secret")
def webhook_parts(hook: AnomalyWebhook | None) -> dict[str, object]:
    """What the form showed: organizations/edits.py."""
    return {"made": hook.made_at.isoformat()} if hook else {"made": ""}


def save_webhook(*, organization: Organization, url: str, actor: User, now: datetime, seen: str | None = None) -> str:
    """
    Have anomalies posted to `url`. Returns the new secret, the only time. Raises AddressRefused, and ChangedMeanwhile
    where a secret was made after the form was shown: another one would take its place.
    """
    destination = address_named(organization=organization, url=url)
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        check_seen(
            seen,
            webhook_parts(AnomalyWebhook.objects.for_organization(organization).first()),
            what="the webhook",
            organization=organization,
            actions=["webhook.saved", "webhook.removed"],
            reader=actor,
            what_to_do="Save again to make another secret.",
        )
        AnomalyWebhook.objects.update_or_create(
            organization=organization,
            defaults={
                "url": destination.base_url,
                "sealed_secret": every_fernet(PURPOSE).encrypt(secret.encode()).decode(),
                "made_by": actor,
                "made_at": now,
                "last_answer": "",
                "last_post_at": None,
            },
        )
        record(organization=organization, actor=actor, action="webhook.saved", target=destination.base_url)
    return secret


def remove_webhook(*, organization: Organization, actor: User) -> bool:
    """Returns whether there was one."""
    with transaction.atomic():
        hook = AnomalyWebhook.objects.for_organization(organization).first()
        if hook is None:
            return False
        AnomalyWebhook.objects.for_organization(organization).delete()
        record(organization=organization, actor=actor, action="webhook.removed", target=hook.url)
    return True


def post_anomalies(*, now: datetime) -> int:
    """Post what is due. Returns how many were taken."""
    due = Anomaly.objects.filter(post_due_at__lte=now, organization__closed_at=None).select_related("organization")
    return sum(_post(anomaly, now) for anomaly in due.order_by("post_due_at", "pk")[:AT_ONCE])


def _post(anomaly: Anomaly, now: datetime) -> bool:
    own = Anomaly.objects.for_organization(anomaly.organization_id).filter(pk=anomaly.pk)
    # Claimed by its number of attempts, so that two runs at once post it once.
    if not own.filter(post_attempts=anomaly.post_attempts).update(post_attempts=F("post_attempts") + 1):
        return False
    hook = AnomalyWebhook.objects.for_organization(anomaly.organization_id).first()
    if hook is None:
        own.update(post_due_at=None)
        return False
    answer, is_taken = _send(hook, anomaly, now)
    if is_taken or anomaly.post_attempts + 1 >= MOST_ATTEMPTS:
        own.update(post_due_at=None)
    AnomalyWebhook.objects.for_organization(anomaly.organization_id).update(last_answer=answer, last_post_at=now)
    return is_taken


@sensitive_variables("secret")
def _send(hook: AnomalyWebhook, anomaly: Anomaly, now: datetime) -> tuple[str, bool]:
    """What came of it in a sentence, and whether the server took it."""
    try:
        secret = every_fernet(PURPOSE).decrypt(hook.sealed_secret.encode()).decode()
        destination = address_named(organization=anomaly.organization, url=hook.url)
    except InvalidToken:
        return "None of KEYFARE_MASTER_KEYS opens its secret any more. Make a new one.", False
    except AddressRefused as refused:
        return str(refused)[:300], False
    body = json.dumps(_content(anomaly, now))
    message_id = f"anomaly_{anomaly.pk}"
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body),
    }
    call = HttpCall("POST", destination.base_url, headers, body.encode())
    try:
        answer = send_now(
            call, credential_headers={}, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MOST_BYTES, reach=destination.reach
        )
    except ProviderError as error:
        return f"It could not be posted: {error}"[:300], False
    return f"The server answered with status {answer.status}.", 200 <= answer.status < 300


def _content(anomaly: Anomaly, now: datetime) -> dict[str, Any]:
    organization = anomaly.organization
    words = said_of(anomaly)
    shows_usd = sees_usd(anomaly.mode) and anomaly.a_day_nanousd is not None
    return {
        "type": "anomaly.found",
        "timestamp": now.astimezone(UTC).isoformat(),
        "data": {
            "id": anomaly.pk,
            "organization": organization.slug,
            "kind": anomaly.kind,
            "action": anomaly.action,
            "mode": anomaly.mode,
            "subject": anomaly.subject,
            "since": anomaly.since.astimezone(UTC).isoformat(),
            "seen": anomaly.seen_at.astimezone(UTC).isoformat(),
            "is_over": anomaly.state == Anomaly.State.OVER,
            "title": words.title,
            "what": words.what,
            "cost": words.cost,
            "also": list(words.also),
            "more_than_usual_nanousd_a_day": anomaly.a_day_nanousd if shows_usd else None,
            "drivers": anomaly.drivers,
            "unmeasured": anomaly.unmeasured,
            "url": settings.SITE_URL.rstrip("/") + reverse("anomalies", args=[organization.slug]),
        },
    }
