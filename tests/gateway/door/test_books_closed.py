"""Nothing leaves without an admission, and no answer is handed on without its event."""

from __future__ import annotations

from django.db import OperationalError

from gateway.writer import Ended, Writer
from tests.gateway.door.conftest import DoorBefore
from tests.gateway.door.upstream import chat_stream
from usage.models import InFlightCall


def close_books(monkeypatch, *, of: type) -> None:
    store = Writer._store

    def refuse(writer: Writer, items) -> None:
        if any(isinstance(item, of) for item in items):
            raise OperationalError("the database is away")
        store(writer, items)

    monkeypatch.setattr(Writer, "_store", refuse)


def test_a_call_that_cannot_be_admitted_does_not_leave(door: DoorBefore, monkeypatch) -> None:
    close_books(monkeypatch, of=object)
    answer = door.chat()
    assert answer.status_code == 503
    assert answer.headers["x-keyfare-error"] == "books_closed"
    assert "x-should-retry" not in answer.headers
    assert not door.upstream.received


def test_an_answer_that_cannot_be_booked_is_not_handed_on_and_counts_as_lost_later(door, monkeypatch) -> None:
    close_books(monkeypatch, of=Ended)
    answer = door.chat()
    assert answer.status_code == 503
    assert answer.headers["x-should-retry"] == "false"
    assert "Hello" not in answer.text
    assert InFlightCall.objects.for_organization(door.organization).count() == 1


def test_a_stream_that_cannot_be_booked_ends_with_an_error(door, monkeypatch) -> None:
    close_books(monkeypatch, of=Ended)
    door.upstream.answers.append(chat_stream("one"))
    answer = door.chat(stream=True)
    assert "books_closed" in answer.text
