"""
Mail to the operators about what just broke: it may be the database or the worker that broke, so it needs neither.

Sent once, directly, without the outbox.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from organizations.outbox.answers import sentence_of
from organizations.outbox.delivery import can_leave, deliver

logger = logging.getLogger(__name__)
AT_A_TIME = 4  # more of them, while the server hangs, are dropped
_free = threading.BoundedSemaphore(AT_A_TIME)


class AtOnceBackend(BaseEmailBackend):
    """For the handler of crash reports: in a thread, so that no request waits for a mail server."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        if not settings.MAIL_TRANSPORT:
            return 0
        if settings.Q_CLUSTER["sync"]:
            return sum(_left(message) for message in email_messages)
        if not _free.acquire(blocking=False):
            logger.warning("A mail to ADMINS was dropped: %d others wait for the mail server.", AT_A_TIME)
            return 0
        threading.Thread(target=_send, args=[list(email_messages)], name="mail-admins", daemon=True).start()
        return len(email_messages)


def tell_admins(subject: str, text: str) -> bool:
    """
    Mail ADMINS now, waiting no longer than three times EMAIL_TIMEOUT. Returns whether a mail left; one that is printed
    has not.
    """
    addresses = [address for _, address in settings.ADMINS]
    if not addresses or not settings.MAIL_TRANSPORT:
        return False
    subject = " ".join(f"{settings.EMAIL_SUBJECT_PREFIX}{subject}".split())
    return _left(EmailMessage(subject, text, settings.SERVER_EMAIL, addresses)) and can_leave()


def _send(messages: list[EmailMessage]) -> None:
    try:
        for message in messages:
            _left(message)
    finally:
        _free.release()


def _left(message: EmailMessage) -> bool:
    try:
        deliver(message)
    except Exception as error:
        logger.warning(
            "A mail to ADMINS did not leave: %s", sentence_of(error, message)
        )  # no error: it would be mailed
        return False
    return True
