"""
Cells of CSV files (RFC 4180, UTF-8). Spreadsheets take a text that begins with certain signs for a formula: such a text
gets a ' in front. Numbers are written as they are, so that a negative one stays a number.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import NamedTuple

BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
NOTHING = ""


class Piece(NamedTuple):
    """A part of a file, and how many rows are in it, the line of the columns not counted."""

    content: bytes
    rows: int


def text(value: str) -> str:
    return f"'{value}" if value.startswith(BEGINS_A_FORMULA) else value


def number(value: int | None) -> str:
    """Nothing for what nobody knows."""
    return NOTHING if value is None else str(value)


def scaled(amount: int, places: int) -> str:
    """`amount` / 10 ** `places`, exactly and without zeros at its end: 1250 of 3 places is "1.25"."""
    whole, rest = divmod(abs(amount), 10**places)
    decimals = f"{rest:0{places}d}".rstrip("0")
    return f"{'-' if amount < 0 else ''}{whole}{'.' * bool(decimals)}{decimals}"


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pairs(values: Mapping[str, str]) -> str:
    """As one JSON object, which no spreadsheet takes for a formula; nothing where there are none."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if values else NOTHING


def piece(rows: Sequence[Sequence[str]]) -> Piece:
    return Piece(_lines(rows), len(rows))


def heading(columns: Sequence[str]) -> Piece:
    return Piece(_lines([columns]), 0)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    lines = StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue().encode()
