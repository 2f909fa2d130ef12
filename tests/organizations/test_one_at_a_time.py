from __future__ import annotations

import threading

import pytest
from django.db import connection

from organizations import one_at_a_time as module
from organizations.one_at_a_time import AnotherIsAtIt, one_at_a_time
from tests.usage.test_concurrency import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_a_file(monkeypatch, tmp_path):
    """The database of tests is in memory on SQLite, where no other process is."""
    monkeypatch.setattr(module, "LOOKS_AGAIN_SECONDS", 0.01)
    if connection.vendor == "sqlite":
        file = tmp_path / "db.sqlite3"
        file.touch()
        monkeypatch.setitem(connection.settings_dict, "NAME", str(file))


def test_one_is_at_it_and_others_are_told_or_wait():
    came, waited, order = threading.Event(), threading.Event(), []

    def other() -> None:
        with pytest.raises(AnotherIsAtIt), one_at_a_time("a"):
            order.append("never")
        with one_at_a_time("b"):
            order.append("other work")
        came.set()
        with one_at_a_time("a", waits=waited.set):
            order.append("second")

    with one_at_a_time("a"):
        (thread,) = in_threads(other)
        assert came.wait(20)
        assert waited.wait(20)
        order.append("first")
    thread.join()

    assert order == ["other work", "first", "second"]


def test_work_that_fails_lets_go():
    with pytest.raises(RuntimeError), one_at_a_time("a"):
        raise RuntimeError

    free = threading.Event()

    def other() -> None:
        with one_at_a_time("a"):
            free.set()

    (thread,) = in_threads(other)
    thread.join()
    assert free.is_set()
