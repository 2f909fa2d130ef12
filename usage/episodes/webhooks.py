"""The secrets by which webhooks are signed, under new master keys."""

from __future__ import annotations

from cryptography.fernet import InvalidToken

from organizations.sealing import every_fernet
from usage.models import AnomalyWebhook

PURPOSE = b"keyfare/webhook-secret/1"


def rotate_webhook_secrets() -> None:
    """Seal them under the first master key; what no key opens stays as it is, and says so when it is used."""
    every = every_fernet(PURPOSE)
    for hook in AnomalyWebhook.objects.order_by("pk").iterator():
        try:
            anew = every.rotate(hook.sealed_secret.encode()).decode()
        except InvalidToken:
            continue
        AnomalyWebhook.objects.filter(pk=hook.pk, sealed_secret=hook.sealed_secret).update(sealed_secret=anew)
