"""How a process hears of changes (`gateway/change_triggers.py`), and that it still would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.db import connection

from gateway.change_triggers import AT_WORK, CHANNEL, MARKS, TRIGGERS

BEAT_SECONDS: Final = 1.0
# After this a connection without an answer is given up, and another one opened.
ANSWER_SECONDS: Final = 5.0

SIGN_OF_LIFE = f"SELECT extract(epoch FROM clock_timestamp()), ({AT_WORK['postgresql']})"  # noqa: S608
MARK = f"SELECT (SELECT mark FROM {MARKS}), ({AT_WORK['sqlite']})"  # noqa: S608

Reading = Callable[[Callable[[], Any]], Awaitable[Any]]


class NotTold(Exception):
    """Changes do not come through, so nobody can know of them; the text says why."""


@dataclass(frozen=True, slots=True)
class Told:
    """Of a table, whose rows changed: an organization's id, a person's in their own table. None: anybody's."""

    table: str
    whose: int | None


ANYTHING = Told("", None)


@dataclass(frozen=True, slots=True)
class Beat:
    """
    What changed since the beat before. With `asked_at` it is a sign of life: whatever was committed by that moment of
    the monotonic clock has been told, and the database's clock showed `time`, in seconds since 1970.
    """

    told: Sequence[Told] = ()
    asked_at: float | None = None
    time: float = 0.0


def beats(read: Reading) -> AsyncGenerator[Beat, None]:
    """
    One at least each BEAT_SECONDS, and on PostgreSQL whenever something changed; the first says that anything did.

    `read` has a thread ask the database. Whatever this raises, changes may have been missed; begin anew.
    """
    return _listen() if connection.vendor == "postgresql" else _poll(read)


async def _listen() -> AsyncGenerator[Beat, None]:
    async with asyncio.timeout(ANSWER_SECONDS):
        session = await psycopg.AsyncConnection.connect(**_parameters(), autocommit=True)
    async with session:
        await _prove(session)
        yield Beat([ANYTHING])
        while True:
            yield await _sign_of_life(session)
            told = [_read(note.payload) async for note in session.notifies(timeout=BEAT_SECONDS, stop_after=1)]
            if told:
                yield Beat(told)


async def _prove(session: Any) -> None:
    """Listen, and find out that this is heard: a pooler that gives each statement another session says nothing."""
    async with asyncio.timeout(ANSWER_SECONDS):
        await session.execute(f"LISTEN {CHANNEL}")
        await session.execute(f"NOTIFY {CHANNEL}")
    if not [note async for note in session.notifies(timeout=ANSWER_SECONDS, stop_after=1)]:
        raise NotTold("PostgreSQL's notifications do not arrive. Connect to it directly, or by a pooler of sessions.")


async def _sign_of_life(session: Any) -> Beat:
    asked_at = time.monotonic()
    async with asyncio.timeout(ANSWER_SECONDS):
        answer = await session.execute(SIGN_OF_LIFE)
        (now, at_work) = await answer.fetchone()
    _refuse_missing(at_work)
    return Beat(asked_at=asked_at, time=float(now))


async def _poll(read: Reading) -> AsyncGenerator[Beat, None]:
    told, seen = [ANYTHING], await read(_mark)
    while True:
        asked_at = time.monotonic()
        mark = await read(_mark)
        if mark != seen:
            told, seen = [ANYTHING], mark
        yield Beat(told, asked_at, time.time())
        told = []
        await asyncio.sleep(BEAT_SECONDS)


def _mark() -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(MARK)
        mark, at_work = cursor.fetchone()
    _refuse_missing(at_work)
    return int(mark) if mark is not None else None


def _refuse_missing(at_work: int) -> None:
    if at_work != TRIGGERS[connection.vendor]:
        raise NotTold("The triggers that tell of changes are not all at work. `manage.py migrate` puts them back.")


def _parameters() -> dict[str, Any]:
    """Of a connection of its own, beside those of a pool."""
    parameters: dict[str, Any] = connection.get_connection_params()
    for name in ("context", "cursor_factory"):  # of Django's synchronous ones
        parameters.pop(name, None)
    return {**parameters, "application_name": "keyfare gateway"}


def _read(payload: str) -> Told:
    table, _, whose = payload.partition(" ")
    with suppress(ValueError):
        return Told(table, int(whose))
    return ANYTHING
