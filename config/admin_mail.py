"""What the staff dashboard says of outgoing mail."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import reverse_lazy

from organizations.models import MailServer, OutgoingMail


def mail_figure() -> dict[str, Any]:
    """How many mails wait, and why; see `config.admin.dashboard`."""
    return {
        "label": "Mails waiting",
        "value": OutgoingMail.objects.filter(state=OutgoingMail.State.WAITING).count(),
        "note": _note(),
        "link": reverse_lazy("admin:organizations_outgoingmail_changelist"),
        "of": "organizations.outgoingmail",
    }


def _note() -> str:
    if not settings.MAIL_TRANSPORT:
        return "No mail server is configured: set EMAIL_URL."
    if settings.MAIL_TRANSPORT.endswith(".console.EmailBackend"):
        return "No mail server: mails are printed by the worker."
    server = MailServer.objects.filter(failures__gt=0).first()
    if server is not None and server.failing_since is not None:
        return f"The mail server has failed since {server.failing_since:%Y-%m-%d %H:%M} UTC. {server.last_error}"
    return "The mail server is well, as far as is known."
