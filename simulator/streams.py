"""
Answers that come bit by bit.

A streamed answer says the same as a whole one: each wire makes its events of the answer that it would give at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.faults import Fault

CHARACTERS_IN_AN_EVENT = 16


class Event(NamedTuple):
    """The bytes of one event; `reports` where it reports the tokens of the whole answer."""

    raw: bytes
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Streamed:
    """A whole answer as events; `broken` is what comes in their place where an error ends them."""

    events: Sequence[Event]
    broken: bytes
    content_type: str = "text/event-stream"

    def with_fault(self, fault: Fault | None) -> list[bytes]:
        """What is sent. Every answer has an event before the middle and one after it."""
        middle = [event.raw for event in self.events[: len(self.events) // 2]]
        match fault:
            case Fault.CUT | Fault.STALL:
                return middle
            case Fault.BROKEN:
                return [*middle, self.broken]
            case Fault.USAGE_TWICE:
                return [raw for event in self.events for raw in [event.raw] * (1 + event.reports)]
        return [event.raw for event in self.events]


def sse(content: object, name: str = "") -> bytes:
    """A server-sent event of JSON, or of text as it is."""
    data = content if isinstance(content, str) else compact(content)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def named(content: dict[str, Any]) -> bytes:
    """An event that is called as its type."""
    return sse(content, content["type"])


def pieces(text: str) -> list[str]:
    """Text as it is streamed; an empty one is one piece."""
    size = CHARACTERS_IN_AN_EVENT
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def compact(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
