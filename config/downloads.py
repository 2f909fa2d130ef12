"""A file as an answer: whole where it is small, so that what is wrong with it is a sentence; else as it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from usage.exports.cells import Piece

HELD_BYTES = 4 * 1024**2
CSV = "text/csv; charset=utf-8"


def csv_answer(request: HttpRequest, pieces: Iterator[Piece], name: str) -> HttpResponseBase:
    """
    Raises what reading the first megabytes raises. What comes later breaks the answer off: no client takes it for
    whole, since the end of its last part is missing.
    """
    held: list[bytes] = []
    size = 0
    answer: HttpResponseBase | None = None
    for piece in pieces:
        held.append(piece.content)
        size += len(piece.content)
        if size > HELD_BYTES:
            # Django would read all of an iterator of the wrong kind before it sends anything.
            if isinstance(request, ASGIRequest):
                answer = StreamingHttpResponse(_streamed(held, pieces), content_type=CSV)
            else:
                answer = StreamingHttpResponse(_in_turn(held, pieces), content_type=CSV)
            break
    answer = answer or HttpResponse(b"".join(held), content_type=CSV)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _in_turn(held: Sequence[bytes], rest: Iterator[Piece]) -> Iterator[bytes]:
    yield from held
    while (content := _next(rest)) is not None:
        yield content


async def _streamed(held: Sequence[bytes], rest: Iterator[Piece]) -> AsyncIterator[bytes]:
    for content in held:
        yield content
    while (more := await sync_to_async(_next_of_many)(rest)) is not None:
        yield more


def _next(rest: Iterator[Piece]) -> bytes | None:
    piece = next(rest, None)
    return None if piece is None else piece.content


def _next_of_many(rest: Iterator[Piece]) -> bytes | None:
    """Between two parts, which a slow reader may draw out, the connection is somebody else's."""
    try:
        return _next(rest)
    finally:
        close_old_connections()
