"""What the staff dashboard says of outgoing mail."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import reverse_lazy

from organizations.models import MailServer, OutgoingMail


def mail_figure() -> dict[str, Any]:
    """How many mails wait, and why; see `config.admin.dashboard.dashboard`. `is_bad` where somebody has to look."""
    waiting = OutgoingMail.objects.filter(state=OutgoingMail.State.WAITING).count()
    failing = MailServer.objects.filter(failures__gt=0).exclude(failing_since=None).first()
    return {
        "label": "Mails waiting",
        "value": waiting,
        "note": _note(failing),
        "is_bad": bool(waiting) and (not settings.MAIL_TRANSPORT or (failing is not None and not _is_printed())),
        "link": reverse_lazy("admin:organizations_outgoingmail_changelist"),
        "of": "organizations.outgoingmail",
    }


def _note(failing: MailServer | None) -> str:
    if not settings.MAIL_TRANSPORT:
        return "No mail server is configured: set EMAIL_URL."
    if _is_printed():
        return "No mail server: mails are printed by the worker."
    if failing is not None:
        return f"The mail server has failed since {failing.failing_since:%Y-%m-%d %H:%M} UTC. {failing.last_error}"
    return "The mail server is well, as far as is known."


def _is_printed() -> bool:
    return str(settings.MAIL_TRANSPORT).endswith(".console.EmailBackend")
