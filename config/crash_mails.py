"""
Mails to ADMINS about crashes, few enough to be read.

A place of the code that crashes again and again is mailed once in a while, and all places together send no more than
a person looks at; what is held back stands in the log, and the next mail says how much it was. Counted in memory, as
a crash may be the database's: each process has a count of its own, so that four processes may send four mails.
That others held SQLite's file for too long is no crash.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from logging import LogRecord
from traceback import walk_tb
from typing import Any

from django.conf import settings
from django.utils.log import AdminEmailHandler

from config.unavailable import is_momentary, is_unavailable

SAME_PLACE_SECONDS = 15 * 60
MOST_AN_HOUR = 10
PLACES_REMEMBERED = 1000
OURS = f"{settings.BASE_DIR}{os.sep}"
LIBRARIES = "site-packages"


class FewCrashMails(AdminEmailHandler):
    """`emit` runs under the handler's lock, so that one thread at a time counts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begin()

    def begin(self) -> None:
        self._mailed_at: dict[str, float] = {}
        self._last_hour: deque[float] = deque()
        self._held_back: Counter[str] = Counter()

    def emit(self, record: LogRecord) -> None:
        if record.exc_info and is_momentary(record.exc_info[1]):
            return
        now, place = self._now(), place_of(record)
        while self._last_hour and self._last_hour[0] <= now - 3600:
            self._last_hour.popleft()
        last = self._mailed_at.get(place)
        if (last is not None and now - last < SAME_PLACE_SECONDS) or len(self._last_hour) >= MOST_AN_HOUR:
            self._held_back[place if place in self._held_back or len(self._held_back) < PLACES_REMEMBERED else ""] += 1
            return
        record.held_back = self._note(place)
        if len(self._mailed_at) >= PLACES_REMEMBERED:
            self._mailed_at.clear()
        self._mailed_at[place] = now
        self._last_hour.append(now)
        super().emit(record)
        self._held_back.clear()

    def format(self, record: LogRecord) -> str:
        return f"{super().format(record)}\n\n{getattr(record, 'held_back', '')}"

    def _note(self, place: str) -> str:
        here = self._held_back[place]
        elsewhere = self._held_back.total() - here
        rule = (
            f"The same place is mailed once in {SAME_PLACE_SECONDS // 60} minutes, all together {MOST_AN_HOUR} times "
            "an hour and process; the log has every crash."
        )
        if not here and not elsewhere:
            return rule
        return f"Held back since the last mail: {here} more at this place, {elsewhere} at others. {rule}"

    def _now(self) -> float:
        return time.monotonic()


def place_of(record: LogRecord) -> str:
    """Where in our code it broke, and where beneath; for what is no exception, where it was logged."""
    error, trace = (record.exc_info[1], record.exc_info[2]) if record.exc_info else (None, None)
    if error is None or trace is None:
        return f"{record.name} {record.pathname}:{record.lineno} {record.msg}"
    if is_unavailable(error):
        return "the database"
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(trace)]
    ours = [frame for frame in frames if frame[0].startswith(OURS) and LIBRARIES not in frame[0]]
    return f"{type(error).__qualname__} {(ours or frames)[-1]} {frames[-1]}"
