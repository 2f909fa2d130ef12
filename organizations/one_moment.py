"""Reading many rows of many tables as they stood at one moment, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def one_moment() -> Iterator[bool]:
    """
    A transaction that reads, and that no writer waits for; yields whether it reads one moment of the database.

    It does not inside another transaction, whose isolation is given.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            yield False
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            _execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield True
    else:
        _execute("BEGIN DEFERRED")  # Django's own would lock writers out
        try:
            yield True
        finally:
            _execute("ROLLBACK")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
