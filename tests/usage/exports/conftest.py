from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

import pytest

from tests.usage.conftest import event
from usage.exports.cells import Piece
from usage.exports.periods import Days, Month, Period
from usage.exports.sealing import usage_file


def content_of(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece.content for piece in pieces)


def rows_of(content: bytes | str) -> list[dict[str, str]]:
    text = content.decode() if isinstance(content, bytes) else content
    return list(csv.DictReader(StringIO(text, newline="")))


def read(name: str, organization, period: Period) -> list[dict[str, str]]:
    return rows_of(content_of(usage_file(name, organization, period)))


@pytest.fixture
def november() -> Month:
    from datetime import date

    return Month(date(2026, 11, 1))


__all__ = ["Days", "Month", "content_of", "event", "november", "read", "rows_of"]
