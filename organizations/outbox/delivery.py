"""Handing one mail to the mail server, within a time that the server cannot draw out."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection


class TookTooLong(TimeoutError):
    """The server answered each step in time, or drop by drop, but not the whole."""


class NotTaken(Exception):
    """The transport said that it sent nothing, and not why."""


STAY_HERE = ("console", "filebased", "dummy")  # Django's transports by which no mail leaves


def can_leave() -> bool:
    """Whether MAIL_TRANSPORT takes mails anywhere: printed ones are read by nobody who waits for mail."""
    module = settings.MAIL_TRANSPORT.rpartition(".")[0]
    return bool(module) and module not in {f"django.core.mail.backends.{name}" for name in STAY_HERE}


def deliver(message: EmailMessage) -> None:
    """
    Send `message` through MAIL_TRANSPORT, by a connection of its own. Raises what went wrong.

    A timeout of sockets counts from byte to byte. So a thread talks to the server, and is left behind with its
    connection closed when three times EMAIL_TIMEOUT are over. A mail that was taken has left, however the server then
    says goodbye.
    """
    transport: Any = get_connection(settings.MAIL_TRANSPORT)
    outcome: Future[int | None] = Future()

    def talk() -> None:
        try:
            transport.open()  # so that sending does not close it, and fail by that
            outcome.set_result(transport.send_messages([message]))
        except BaseException as error:
            outcome.set_exception(error)
        with suppress(Exception):
            transport.close()

    thread = threading.Thread(target=talk, name="mail", daemon=True)
    thread.start()
    try:
        taken = outcome.result(3 * settings.EMAIL_TIMEOUT)
    except TimeoutError:
        if outcome.done():
            raise
        raise TookTooLong from None
    finally:
        thread.join(settings.EMAIL_TIMEOUT if outcome.done() else 0)
        if thread.is_alive():
            _hang_up(transport)
    if not taken:
        raise NotTaken


def _hang_up(transport: Any) -> None:
    """Wakes the thread that reads from the socket."""
    connection = getattr(transport, "connection", None) or getattr(transport, "_partial_connection", None)
    sock = getattr(connection, "sock", None)
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
