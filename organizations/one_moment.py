"""Reading many rows of many tables as they stood at one moment, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def one_moment() -> Iterator[bool]:
    """
    A transaction that reads; yields whether it reads one moment of the database.

    It does not inside another transaction, whose isolation is given, and on SQLite only what that locks.
    """
    is_whole = connection.vendor == "postgresql" and not connection.in_atomic_block
    with transaction.atomic():
        if is_whole:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield is_whole
