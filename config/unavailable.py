"""Errors that mean: the database is not broken, only busy or away. Who meets one reads so (config/error_pages.py)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import OperationalError

# PostgreSQL's classes of errors: no connection; no connections, memory or disk left; stopping or starting.
AWAY = ("08", "53", "57P")
SQLITE_BUSY, SQLITE_LOCKED = 5, 6
LONGEST_CHAIN = 20


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database could not be had, or what went wrong did so after that."""
    return any(_is_away(each) or _is_busy(each) for each in _chain(error))


def is_momentary(error: BaseException | None) -> bool:
    """Whether others only held the database for longer than we wait: nothing for an operator to mend."""
    return any(map(_is_busy, _chain(error)))


def _is_away(error: BaseException) -> bool:
    """libpq's own errors, and those of the pool, come without a code."""
    return isinstance(error, OperationalError) and (error.sqlstate is None or error.sqlstate.startswith(AWAY))


def _is_busy(error: BaseException) -> bool:
    """Extended codes hold the plain one in their lowest byte."""
    code: object = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in (SQLITE_BUSY, SQLITE_LOCKED)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(LONGEST_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
