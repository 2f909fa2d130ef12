"""
Sending what waits in the outbox: `manage.py send_mail_queue`, every minute, and at once when a mail was written.

One process at a time holds the server's row for a while; each mail is claimed by counting its attempt, which sets when
the next one is due, then sent, then marked. Whoever dies in between leaves a mail that is tried again, and sent twice
if it had left: at least once. Turns and attempts go by the database's clock.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django_q.tasks import async_task

from organizations.models import MailServer, OutgoingMail
from organizations.outbox.answers import Fault, fault_of, sentence_of
from organizations.outbox.backend import PURPOSE, TASK, unseal
from organizations.outbox.delivery import deliver
from organizations.sealing import every_fernet, fernets

logger = logging.getLogger(__name__)
State = OutgoingMail.State
MOST_ATTEMPTS = 24  # the last one 19 hours after the first
LONGEST_PAUSE_MINUTES = 16
RUN_FOR_SECONDS = 45
KEEP_DAYS = 30
UNREADABLE = "None of KEYFARE_MASTER_KEYS opens it any more."
TOO_LATE = "It could not be sent while its link was good. "


@dataclass(frozen=True, slots=True)
class Run:
    sent: int = 0
    failed: int = 0
    given_up: int = 0
    waiting: int = 0


def send_waiting_mail(*, even_if_paused: bool = False) -> Run:
    """
    Send what is due; ends with the first failure that is the server's own, and after RUN_FOR_SECONDS.

    Does nothing while another process sends, while a server that failed is left alone (unless `even_if_paused`: then
    every waiting mail is due), or where no server is configured.
    """
    sent = failed = 0
    given_up = _give_up_late_ones()
    _forget_old_ones()
    if settings.MAIL_TRANSPORT:
        if even_if_paused:
            MailServer.objects.update(paused_until=None)
            OutgoingMail.objects.filter(state=State.WAITING).update(next_attempt_at=Now())
        end_at = time.monotonic() + RUN_FOR_SECONDS
        while _due().exists() and (holder := _take_turn()):
            try:
                while time.monotonic() < end_at and (mail := _claim_next()):
                    ended = _send(mail, holder)
                    sent += ended == State.SENT
                    given_up += ended == State.GIVEN_UP
                    failed += ended == State.WAITING
            finally:
                MailServer.objects.filter(holder=holder).update(holder=None, held_until=None)
            if time.monotonic() >= end_at:
                async_task(TASK)  # others get their turn in between
                break
    return Run(sent, failed, given_up, OutgoingMail.objects.filter(state=State.WAITING).count())


def rotate_outgoing_mail() -> None:
    """Seal what waits anew under the first master key; what no key opens is given up when its turn comes."""
    first, every = fernets(PURPOSE)[0], every_fernet(PURPOSE)
    for mail in OutgoingMail.objects.filter(state=State.WAITING).iterator():
        if not _opens(first, mail.sealed):
            try:
                anew = every.rotate(mail.sealed.encode()).decode()
            except InvalidToken:
                continue
            OutgoingMail.objects.filter(pk=mail.pk, sealed=mail.sealed).update(sealed=anew)


def _opens(key: Fernet, sealed: str) -> bool:
    try:
        key.decrypt(sealed)
    except InvalidToken:
        return False
    return True


def _due() -> QuerySet[OutgoingMail]:
    return OutgoingMail.objects.filter(state=State.WAITING, next_attempt_at__lte=Now(), good_until__gt=Now())


def _take_turn() -> UUID | None:
    MailServer.objects.get_or_create(pk=1)
    holder = uuid4()
    free = MailServer.objects.filter(
        Q(held_until=None) | Q(held_until__lt=Now()), Q(paused_until=None) | Q(paused_until__lte=Now())
    )
    return holder if free.update(holder=holder, held_until=Now() + _hold()) else None


def _hold() -> timedelta:
    """Longer than one mail can take."""
    return timedelta(seconds=3 * settings.EMAIL_TIMEOUT + 60)


def _claim_next() -> OutgoingMail | None:
    if MailServer.objects.filter(paused_until__gt=Now()).exists():
        return None
    for mail in _due().order_by("next_attempt_at", "pk")[:20]:
        claimed = OutgoingMail.objects.filter(pk=mail.pk, state=State.WAITING, attempts=mail.attempts).update(
            attempts=F("attempts") + 1, next_attempt_at=Now() + max(_hold(), _backoff(mail.attempts + 1))
        )
        if claimed:
            mail.attempts += 1
            return mail
    return None


def _backoff(attempts: int) -> timedelta:
    return timedelta(minutes=min(2**attempts, 60))


def _send(mail: OutgoingMail, holder: UUID) -> str:
    """Returns the state the mail is in now."""
    MailServer.objects.filter(holder=holder).update(held_until=Now() + _hold())
    try:
        message = unseal(mail)
    except InvalidToken:
        return _finish(mail, State.GIVEN_UP, UNREADABLE)
    try:
        deliver(message)
    except Exception as error:
        sentence, fault = sentence_of(error, message), fault_of(error)
        logger.warning("Mail %d did not leave (attempt %d): %s", mail.pk, mail.attempts, sentence)
        if fault is Fault.SERVER:
            _pause(sentence)
        if fault is Fault.FINAL or mail.attempts >= MOST_ATTEMPTS:
            return _finish(mail, State.GIVEN_UP, sentence)
        OutgoingMail.objects.filter(pk=mail.pk, state=State.WAITING).update(last_error=sentence)
        return State.WAITING
    MailServer.objects.filter(failures__gt=0).update(failures=0, last_error="", failing_since=None, paused_until=None)
    return _finish(mail, State.SENT)


def _finish(mail: OutgoingMail, state: str, error: str = "") -> str:
    OutgoingMail.objects.filter(pk=mail.pk).update(state=state, sealed="", last_error=error, finished_at=Now())
    return state


def _pause(error: str) -> None:
    """Leaves the server alone: 1, 2, 4 … minutes. Ends the run, whose next claim finds it paused."""
    with transaction.atomic():
        server = MailServer.objects.select_for_update().get(pk=1)
        minutes = min(2**server.failures, LONGEST_PAUSE_MINUTES)
        MailServer.objects.filter(pk=1).update(
            failures=server.failures + 1,
            last_error=error,
            failing_since=Coalesce("failing_since", Now()),
            paused_until=Now() + timedelta(minutes=minutes),
        )


def _give_up_late_ones() -> int:
    late = OutgoingMail.objects.filter(state=State.WAITING, good_until__lte=Now())
    server = MailServer.objects.filter(pk=1).values_list("last_error", flat=True).first() or ""
    given_up = 0
    for mail in late.order_by("pk"):
        reason = mail.last_error or server or ("" if settings.MAIL_TRANSPORT else "No mail server was configured.")
        given_up += late.filter(pk=mail.pk).update(
            state=State.GIVEN_UP, sealed="", finished_at=Now(), last_error=(TOO_LATE + reason)[:300].strip()
        )
    return given_up


def _forget_old_ones() -> None:
    """Addresses and subjects are about people: kept as long as somebody may ask where a mail is."""
    OutgoingMail.objects.filter(finished_at__lt=Now() - timedelta(days=KEEP_DAYS)).delete()
