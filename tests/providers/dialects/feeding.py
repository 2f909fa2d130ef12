"""How streams are fed in tests: in one piece, byte by byte, or cut where it hurts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from providers.adapters.dialects.base import Dialect, Stream
from usage.tokens import Report


def feed(stream: Stream, pieces: Iterable[bytes]) -> bytes:
    """Everything that a stream hands on of `pieces`, and of what is left when they end."""
    handed_on = [chunk for piece in pieces for chunk in stream.feed(piece)]
    return b"".join((*handed_on, *stream.close()))


def followed(dialect: Dialect, *pieces: bytes, **options: Any) -> Stream:
    stream = dialect.stream(**options)
    feed(stream, pieces)
    return stream


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place for place in places if 0 < place < len(body)), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def one_by_one(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def seen(stream: Stream) -> tuple[Report, bool, object]:
    """All that is told of a stream, to compare."""
    return stream.report, stream.is_complete, stream.error


def sse(*contents: object, end: str = "\n") -> bytes:
    """Events without names, each of a JSON value or of text as it is."""
    texts = (content if isinstance(content, str) else compact(content) for content in contents)
    return "".join(f"data: {text}{end}{end}" for text in texts).encode()


def named(*events: dict[str, Any], end: str = "\n") -> bytes:
    """Events that are called as their content's type."""
    return "".join(f"event: {event['type']}{end}data: {compact(event)}{end}{end}" for event in events).encode()


def compact(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
