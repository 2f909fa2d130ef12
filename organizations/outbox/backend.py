"""
What Django's mail functions write to: the outbox.

A mail is a row of the transaction that wrote it, so it goes out if that stands and only then, and no page ever waits
for a mail server. How it leaves: `sending`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate, make_msgid, parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.views.decorators.debug import sensitive_variables
from django_q.tasks import async_task

from organizations import clock
from organizations.models import OutgoingMail
from organizations.sealing import every_fernet

PURPOSE = b"keyfare/outgoing-mail/1"
LONGEST_WAIT = timedelta(days=3)
TASK = "organizations.tasks.send_mails"


class OutboxBackend(BaseEmailBackend):
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        return sum(bool(store(message)) for message in email_messages)


def store(message: EmailMessage, *, withheld: str = "") -> list[OutgoingMail]:
    """
    Put a mail into the outbox, once for each recipient, and wake who sends.

    A header `Expires` (see `expiring`) says until when it is worth sending; LONGEST_WAIT at most. `withheld` says why
    it is never sent: the same is done and written for it as for one that is. Raises BadHeaderError, and ValueError for
    attachments, which are not kept.
    """
    if message.attachments:
        raise ValueError("The outbox keeps no attachments.")
    headers = {
        "Date": formatdate(),
        "Message-ID": make_msgid(domain=urlsplit(settings.SITE_URL).hostname or "localhost"),
        **message.extra_headers,
    }
    message.extra_headers = headers
    message.message()  # raises for what is no header
    sealed = seal(message)
    now = clock.now()
    good_until = min([now + LONGEST_WAIT, *(_expiry(headers[name]) for name in headers if name.lower() == "expires")])
    common = {
        "subject": " ".join(str(message.subject).split())[:300],
        "sealed": sealed,
        "message_id": str(headers["Message-ID"])[:255],
        "good_until": good_until,
    }
    if withheld:
        ended = {"state": OutgoingMail.State.GIVEN_UP, "finished_at": now, "last_error": withheld, "sealed": ""}
        common |= ended
    with transaction.atomic():
        rows = [OutgoingMail.objects.create(recipient=address, **common) for address in message.recipients()]
    transaction.on_commit(lambda: async_task(TASK), robust=True)
    return rows


def expiring(at: datetime) -> dict[str, str]:
    """The header of a mail whose link is dead after `at`."""
    return {"Expires": format_datetime(at.astimezone(UTC))}


def _expiry(header: str) -> datetime:
    return parsedate_to_datetime(header).astimezone(UTC)


class MailTo(EmailMultiAlternatives):
    """A stored mail again, for one of its recipients."""

    recipient = ""

    def recipients(self) -> list[str]:
        return [self.recipient]


@sensitive_variables()
def seal(message: EmailMessage) -> str:
    parts: dict[str, Any] = {
        "subject": str(message.subject),
        "body": str(message.body),
        "from_email": message.from_email,
        "to": list(message.to),
        "cc": list(message.cc),
        "reply_to": list(message.reply_to),
        "headers": {name: str(value) for name, value in message.extra_headers.items()},
        "alternatives": [[str(content), kind] for content, kind in getattr(message, "alternatives", ())],
    }
    content = {"parts": parts, "subtype": message.content_subtype}
    return every_fernet(PURPOSE).encrypt(json.dumps(content).encode()).decode()


@sensitive_variables()
def unseal(mail: OutgoingMail) -> MailTo:
    """Raises cryptography's InvalidToken if no master key opens it."""
    content = json.loads(every_fernet(PURPOSE).decrypt(mail.sealed))
    alternatives = [tuple(each) for each in content["parts"].pop("alternatives")]
    message = MailTo(**content["parts"], alternatives=alternatives)
    message.content_subtype = content["subtype"]
    message.recipient = mail.recipient
    return message
