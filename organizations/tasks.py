"""What django-q2 runs; each line is a service."""

from __future__ import annotations

from organizations.outbox.sending import send_waiting_mail


def send_mails() -> None:
    send_waiting_mail()
