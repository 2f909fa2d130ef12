"""Mails about crashes: one that is read, instead of a hundred and thirty."""

from __future__ import annotations

import logging
import sqlite3
import sys

import pytest
from django.core import mail
from django.db import OperationalError
from django.test import RequestFactory

from config import crash_mails
from config.crash_mails import FewCrashMails


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def handler(settings, clock, monkeypatch) -> FewCrashMails:
    settings.ADMINS = [("Operator", "operator@keyfare.example")]
    monkeypatch.setattr(FewCrashMails, "_now", lambda self: clock[0])
    return FewCrashMails()


def here() -> None:
    raise RuntimeError("here")


def there() -> None:
    raise RuntimeError("there")


def crash(handler: FewCrashMails, where, path: str = "/o/acme/") -> None:
    request = RequestFactory().get(path)
    try:
        where()
    except Exception:
        record = logging.LogRecord("django.request", logging.ERROR, "x", 1, "%s", (path,), sys.exc_info())
        record.request = request
        handler.handle(record)


def bodies() -> list[str]:
    return [str(message.body) for message in mail.outbox]


def test_a_place_that_crashes_again_and_again_is_mailed_once_until_a_while_has_passed(handler, clock):
    for number in range(130):
        crash(handler, here, path=f"/o/acme/{number}/")
    assert len(mail.outbox) == 1
    assert "once in 15 minutes" in bodies()[0]
    assert "Held back" not in bodies()[0]

    clock[0] += crash_mails.SAME_PLACE_SECONDS
    crash(handler, here)
    crash(handler, here)

    assert len(mail.outbox) == 2
    assert "Held back since the last mail: 129 more at this place, 0 at others." in bodies()[1]


def test_another_place_is_mailed_and_says_what_was_held_back_elsewhere(handler):
    for _ in range(3):
        crash(handler, here)
    crash(handler, there)

    assert len(mail.outbox) == 2
    assert "Held back since the last mail: 0 more at this place, 2 at others." in bodies()[1]


def test_all_places_together_are_mailed_no_more_than_a_person_reads(handler, clock):
    for number in range(50):
        namespace: dict = {}
        exec(compile("\n" * (1000 + number) + "def broken():\n    raise RuntimeError", __file__, "exec"), namespace)  # noqa: S102
        crash(handler, namespace["broken"])
    assert len(mail.outbox) == crash_mails.MOST_AN_HOUR

    clock[0] += 3600
    crash(handler, there)
    assert f"{50 - crash_mails.MOST_AN_HOUR} at others" in bodies()[-1]


def test_what_is_remembered_of_places_has_an_end(handler, clock, monkeypatch):
    monkeypatch.setattr(crash_mails, "PLACES_REMEMBERED", 5)
    for number in range(40):
        handler.handle(logging.LogRecord("django.request", logging.ERROR, "x", number, "m", (), None))
        clock[0] += 400

    assert len(handler._mailed_at) <= 5
    assert len(handler._held_back) <= 6


def test_sqlite_held_by_another_process_is_no_crash(handler):
    def locked() -> None:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise OperationalError("database is locked") from error

    crash(handler, locked)

    assert mail.outbox == []


def test_without_anybody_to_mail_nothing_is_sent(handler, settings):
    settings.ADMINS = []
    crash(handler, here)

    assert mail.outbox == []


def test_the_installation_mails_through_it():
    assert any(isinstance(each, FewCrashMails) for each in logging.getLogger("django").handlers)
