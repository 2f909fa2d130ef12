from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

from usage.exports.cells import Piece
from usage.exports.periods import Period
from usage.exports.sealing import usage_file


def content_of(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece.content for piece in pieces)


def rows_of(content: bytes | str) -> list[dict[str, str]]:
    text = content.decode() if isinstance(content, bytes) else content
    return list(csv.DictReader(StringIO(text, newline="")))


def read(name: str, organization, period: Period) -> list[dict[str, str]]:
    return rows_of(content_of(usage_file(name, organization, period)))
