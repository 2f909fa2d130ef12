"""
Finding JSON in prose, as models write it: with line breaks inside of strings, with a comma too many or an escape that
JSON does not know.

Nothing that a model writes costs more than a bounded amount of work, however deep, long or broken it is.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 64
MAX_WORK = 20  # times the length of the text is looked at before we give up, a bracket as that many characters

# A string (the last one may be cut off) or a bracket.
_STEP = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(.))', re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)
_PAIRS = {"{": "}", "[": "]"}


class JsonFinder:
    """Reads JSON out of one text, piece by piece."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.open_ends: list[int] = []  # where objects and lists begin that never end
        self._work_left = MAX_WORK * len(text)

    def value_at(self, start: int) -> tuple[Any, int | None]:
        """The object or list that begins at `start` and where it ends; (None, None) if there is none."""
        if self._work_left <= 0:
            return None, None
        end = self._end_of(start)
        if end is None:
            return None, None
        written = self.text[start:end]
        for attempt in (written, _mended(written)):
            try:
                return _DECODER.decode(attempt), end
            except (ValueError, RecursionError):
                continue
        return None, None

    def _end_of(self, start: int) -> int | None:
        """Where the brackets that open at `start` are all closed."""
        awaited: list[str] = []
        for step in _STEP.finditer(self.text, start):
            mark = step.group()
            self._work_left -= len(mark) + MAX_WORK
            if mark in _PAIRS:
                awaited.append(_PAIRS[mark])
                if len(awaited) > MAX_DEPTH:
                    return None
            elif mark in "}]":
                if mark != awaited.pop():
                    return None
                if not awaited:
                    return step.end()
        self._work_left -= len(self.text) - start
        self.open_ends.append(start)
        return None


def _mended(written: str) -> str:
    """Without commas that nothing follows; escapes that JSON does not know (\\' and \\$) stand for the character."""
    return _STRING_OR_COMMA.sub(
        lambda token: "" if token.group() == "," else _ESCAPE.sub(lambda known: known[2] or known[0], token.group()),
        written,
    )
