"""Nothing leaves without an admission, and no answer is handed on without its event."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError

from gateway.writer import Ended, Writer
from tests.gateway.door.conftest import DoorBefore, served_door
from tests.gateway.door.upstream import chat_stream
from tests.served import PATIENCE_SECONDS
from usage.models import InFlightCall, UsageEvent


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


@contextmanager
def frozen_books(monkeypatch) -> Iterator[None]:
    """A database that takes what it is asked, and answers nothing inside the block."""
    answers, store = threading.Event(), Writer._store

    def wait(writer: Writer, items) -> None:
        assert answers.wait(PATIENCE_SECONDS)
        store(writer, items)

    with monkeypatch.context() as patched:
        patched.setattr("gateway.writer.ADMITTED_WITHIN_SECONDS", 0.2)
        patched.setattr(Writer, "_store", wait)
        try:
            yield
        finally:
            answers.set()


def assert_told_to_come_back(answer) -> None:
    assert (answer.status_code, answer.headers["x-keyfare-error"]) == (503, "books_closed")
    assert answer.headers["retry-after"] == "5"
    assert "x-should-retry" not in answer.headers


def test_who_waits_for_books_that_answer_nothing_is_told_in_time_and_the_books_are_right(door, monkeypatch) -> None:
    with frozen_books(monkeypatch):
        for _ in range(2):
            assert_told_to_come_back(door.chat())
        assert not door.upstream.received

    assert door.chat().status_code == 200
    assert [event.status for event in door.events] == [UsageEvent.Status.FAILED] * 2 + [UsageEvent.Status.ANSWERED]
    assert len(door.upstream.received) == 1
    assert not InFlightCall.objects.for_organization(door.organization).exists()


def test_those_that_gave_up_keep_their_places_so_that_what_is_to_be_written_has_an_end(door, monkeypatch) -> None:
    monkeypatch.setattr("gateway.writer.MOST_WAITING", 1)
    with served_door() as door.address:
        with frozen_books(monkeypatch):
            for _ in range(3):
                assert_told_to_come_back(door.chat())
        assert door.chat().status_code == 200

    assert door.events.count() == 2


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
