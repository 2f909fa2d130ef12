"""
Where the events of a stream end: server-sent events with a blank line, the elements of a JSON array with a bracket.

Sources: WHATWG HTML, "Server-sent events" (line ends are CR LF, LF or CR, also mixed); RFC 8259. Checked 2026-11-28.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

MOST_EVENT_BYTES = 1024 * 1024  # what is held of an event until it is whole; larger ones are passed on in parts

_BLANK_LINE = re.compile(rb"\n\n|\n\r\n?|\r\r\n?")
_OUTSIDE_STRINGS = re.compile(rb'["\[\]{}]')
_INSIDE_STRINGS = re.compile(rb'["\\]')


class Kind(Enum):
    WHOLE = auto()  # one or more events, or the separators between them
    PART = auto()  # of an event that is too long to be held
    LAST_PART = auto()


class Piece(NamedTuple):
    kind: Kind
    raw: bytes


class Cutter(ABC):
    """Cuts bytes at the ends of events. The pieces joined are the bytes that were fed, but for what `rest` gives."""

    def __init__(self, most_event_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most = most_event_bytes
        self._held = bytearray()  # of the event that has not ended
        self._is_long = False  # inside an event that was larger than may be held

    @property
    def is_between_events(self) -> bool:
        """Whether everything that was handed on are whole events, so that a comment may go in here."""
        return not self._is_long

    def feed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        start = 0
        for end in self._ends(data):
            pieces.append(self._ended(data[start:end]))
            start = end
        if start < len(data):
            if self._is_long:
                pieces.append(Piece(Kind.PART, data[start:]))
            else:
                self._held += data[start:]
                if len(self._held) > self._most:
                    pieces.append(Piece(Kind.PART, self.rest()))
                    self._is_long = True
        return pieces

    def rest(self) -> bytes:
        """What has come of an event that has not ended."""
        rest = bytes(self._held)
        self._held.clear()
        return rest

    def _ended(self, raw: bytes) -> Piece:
        if self._is_long:
            self._is_long = False
            return Piece(Kind.LAST_PART, raw)
        return Piece(Kind.WHOLE, self.rest() + raw if self._held else raw)

    @abstractmethod
    def _ends(self, data: bytes) -> list[int]:
        """Where something whole ends in `data`, in ascending order."""


class EventCutter(Cutter):
    """
    Cuts at the blank lines between server-sent events, as many at once as have come.

    A CR ends a line at once, as the LF that may belong to it may never come; if it comes, it is a piece of its own.
    """

    def __init__(self, most_event_bytes: int = MOST_EVENT_BYTES) -> None:
        super().__init__(most_event_bytes)
        self._last = b""  # the byte before what comes next
        self._is_at_end = True  # whether that byte ended an event

    def feed(self, data: bytes) -> list[Piece]:
        if self._is_at_end and self._last != b"\r" and data[-2:] == b"\n\n":  # as most servers send them
            self._last = b"\n"
            return [Piece(Kind.WHOLE, data)]
        return super().feed(data)

    def _ends(self, data: bytes) -> list[int]:
        ends: list[int] = []
        if self._is_at_end:
            if self._last == b"\r" and data[:1] == b"\n":
                ends.append(1)
        elif across := _BLANK_LINE.match(self._last + data[:2]):
            ends.append(across.end() - 1)
        if self._is_long and not ends and (first := _BLANK_LINE.search(data)):
            ends.append(first.end())
        last = _last_end(data, ends[-1] if ends else 0)
        if last:
            ends.append(last)
        if data:
            self._last = data[-1:]
            self._is_at_end = bool(ends) and ends[-1] == len(data)
        return ends


def _last_end(data: bytes, start: int) -> int:
    """Where the last blank line after `start` ends, 0 if there is none."""
    at = data.rfind(b"\n\n", start)
    if data.find(b"\r", start) >= 0:
        at = max(at, data.rfind(b"\n\r", start), data.rfind(b"\r\r", start))
    if at < 0:
        return 0
    end = at + 2
    return end + 1 if data[at + 1 : end + 1] == b"\r\n" else end


def events_in(raw: bytes) -> Iterator[bytes]:
    """The events of a whole piece, one by one, each with the blank line after it; the last one may lack that."""
    start = 0
    for blank in _BLANK_LINE.finditer(raw):
        yield raw[start : blank.end()]
        start = blank.end()
    if start < len(raw):
        yield raw[start:]


def fields_of(event: bytes) -> tuple[bytes, bytes]:
    """The name of an event, b"" if it has none, and its data."""
    name, lines = b"", []
    for line in event.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip()
    return name, b"\n".join(lines)


class ElementCutter(Cutter):
    """Cuts after each element of a JSON array; a text that is no array is an element itself."""

    def __init__(self, most_event_bytes: int = MOST_EVENT_BYTES) -> None:
        super().__init__(most_event_bytes)
        self._depth = 0
        self._outer: int | None = None  # the depth between elements; unknown before the first bracket
        self._is_in_string = False
        self._is_escaped = False
        self.has_ended = False  # whether the array was closed

    def _ends(self, data: bytes) -> list[int]:
        ends: list[int] = []
        at = 0
        if self._is_escaped and data:
            self._is_escaped, at = False, 1
        while found := (_INSIDE_STRINGS if self._is_in_string else _OUTSIDE_STRINGS).search(data, at):
            at = found.end()
            mark = found[0]
            if mark == b'"':
                self._is_in_string = not self._is_in_string
            elif mark == b"\\":
                self._is_escaped = at == len(data)
                at += 1
            elif self._turned(mark):
                ends.append(at)
        is_between = not self._is_in_string and self._depth <= (self._outer or 0)
        if data and is_between and not (ends and ends[-1] == len(data)):
            ends.append(len(data))
        return ends

    def _turned(self, mark: bytes) -> bool:
        """Whether this bracket ends an element, or the array."""
        if self._outer is None:
            self._outer = 1 if mark == b"[" else 0
        if mark in b"[{":
            self._depth += 1
            return False
        self._depth = max(self._depth - 1, 0)
        self.has_ended = self.has_ended or self._depth < self._outer
        return self._depth <= self._outer


def element_in(raw: bytes) -> bytes:
    """The element of a whole piece, without the separators around it."""
    return raw.strip(b" \t\r\n,[]")
