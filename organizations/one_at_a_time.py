"""
Work that one process does at a time, for longer than a transaction.

On PostgreSQL by a lock of the database session, on SQLite, which serves one host, by one of a file beside the database.
Both end with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from django.db import Error, connection

LOOKS_AGAIN_SECONDS = 1.0


class AnotherIsAtIt(Exception):
    pass


@contextmanager
def one_at_a_time(work: str, *, waits: Callable[[], None] | None = None) -> Iterator[None]:
    """
    Alone at `work` inside the block. While another one is: raises AnotherIsAtIt, or says so by `waits` and then waits.

    Take it before a transaction, not within one.
    """
    take = _in_postgresql if connection.vendor == "postgresql" else _in_file
    with ExitStack() as held:
        if not take(work, held):
            if waits is None:
                raise AnotherIsAtIt
            waits()
            while not take(work, held):  # a statement that waits would keep VACUUM from what others delete
                time.sleep(LOOKS_AGAIN_SECONDS)
        yield


def _in_postgresql(work: str, held: ExitStack) -> bool:
    key = zlib.crc32(f"keyfare {work}".encode())
    if not _asked("SELECT pg_try_advisory_lock(%s)", key):
        return False
    held.callback(_let_go, key)
    return True


def _let_go(key: int) -> None:
    with suppress(Error):  # a connection that broke holds nothing
        _asked("SELECT pg_advisory_unlock(%s)", key)


def _asked(statement: str, key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, [key])
        return bool(cursor.fetchone()[0])


def _in_file(work: str, held: ExitStack) -> bool:
    database = Path(connection.settings_dict["NAME"])
    if not database.is_file():  # in memory: of this process alone
        return True
    file = database.with_name(f"{database.name}-{work}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    held.enter_context(file)
    return True
