"""
Keys that a provider writes back: as the id of a request, as a model's name, in a header, in an error.

Every answer passes through here with the key that its call carried, before anything is read from it. So nothing that
is kept or shown of an answer can hold that key or a long part of it, wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NoReturn

CROSSED_OUT = b"****"
SHORTEST_KEY = 8  # a shorter one ("EMPTY") is a word: it is crossed out where it is all that a JSON text says
LONGEST_COINCIDENCE = 12
BLOCK = LONGEST_COINCIDENCE // 2
LONGEST_LINE_HELD = 64 * 1024
_SCHEME = re.compile(r"^(?:bearer|basic)\s+", re.IGNORECASE)
_PUBLIC_PREFIX = re.compile(rb"(?:[a-z]+[0-9]*-){1,3}")  # "sk-ant-api03-" tells nothing
# ASCII that is written as JSON escapes, but for the signs that have to be escaped.
_ESCAPED = re.compile(rb"(?<!\\)((?:\\\\)*)\\(?:u00([2-7][0-9a-fA-F])|(/))")


class _Key:
    """A key that may come back, and the blocks of it of which each run that is crossed out holds one as a whole."""

    __slots__ = ("blocks", "is_short", "public", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.is_short = len(text) < SHORTEST_KEY
        prefix = _PUBLIC_PREFIX.match(text)
        self.public = prefix.end() if prefix else 0  # the length of the prefix that tells nothing
        # A run is longer than two of them less one.
        self.blocks = [text[at : at + BLOCK] for at in range(self.public, len(text) - BLOCK + 1, BLOCK)]

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key that is looked for cannot be pickled.")

    def may_be_in(self, text: bytes) -> bool:
        """A cheap look: False where nothing of it is to be crossed out in `text`."""
        if self.text in text:
            return True
        if not self.is_short:
            for block in self.blocks:
                if block in text:
                    return True
        return False


class Echoes:
    """What the key of one call may come back as."""

    def __init__(self, credential_headers: Mapping[str, str]) -> None:
        given = (_SCHEME.sub("", value).encode() for value in credential_headers.values())
        self.keys = [_Key(key) for key in given if key]

    def out_of(self, body: bytes) -> bytes:
        """`body` of an answer, with the keys crossed out."""
        return _without_in_json(body, self.keys)

    def out_of_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        together = "\n".join(headers.values()).encode(errors="surrogateescape")
        if not any(key.may_be_in(together) for key in self.keys):
            return dict(headers)
        return {
            name: _without(value.encode(errors="surrogateescape"), self.keys).decode(errors="replace")
            for name, value in headers.items()
        }


class StreamedEchoes:
    """
    The same for a body that comes in pieces, which are handed on at once: only what may be the beginning of a key waits
    for the next piece, and a line with ASCII in escapes for its end. No key holds the end of a line, with which every
    event of a stream ends.
    """

    def __init__(self, echoes: Echoes) -> None:
        self._keys = echoes.keys
        self._echoes = [b'"' + key.text + b'"' if key.is_short else key.text for key in self._keys]
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        text = self._held + chunk
        held = self._length_held(text)
        self._held = text[len(text) - held :]
        return _without_in_json(text[: len(text) - held], self._keys)

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return _without_in_json(held, self._keys)

    def _length_held(self, text: bytes) -> int:
        line = len(text) - text.rfind(b"\n") - 1
        if line <= LONGEST_LINE_HELD and text.find(b"\\", len(text) - line) >= 0:
            return line
        return max((_overlap(text, echo) for echo in self._echoes), default=0)


def _overlap(text: bytes, echo: bytes) -> int:
    """How many bytes at the end of `text` are a part of `echo`."""
    length = 0
    while length < len(text) and text[len(text) - length - 1 :] in echo:
        length += 1
    return length


def _without_in_json(body: bytes, keys: Iterable[_Key]) -> bytes:
    if b"\\u00" in body or b"\\/" in body:
        plain = _ESCAPED.sub(_unescaped, body)
        if (crossed_out := _without(plain, keys)) != plain:
            return crossed_out
    return _without(body, keys)


def _unescaped(found: re.Match[bytes]) -> bytes:
    sign = b"/" if found[3] else bytes([int(found[2], 16)])
    return found[0] if sign in (b'"', b"\\") else found[1] + sign


def _without(text: bytes, keys: Iterable[_Key]) -> bytes:
    for key in keys:
        if not key.may_be_in(text):
            continue
        if key.is_short:
            text = CROSSED_OUT if text == key.text else text.replace(b'"' + key.text + b'"', b'"' + CROSSED_OUT + b'"')
        else:
            text = _without_runs(text.replace(key.text, CROSSED_OUT), key)
    return text


def _without_runs(text: bytes, key: _Key) -> bytes:
    """Without the parts of `key` that are longer than a coincidence. Text of megabytes is put together once a run."""
    for start in range(key.public, len(key.text) - LONGEST_COINCIDENCE + 1):
        run = key.text[start : start + LONGEST_COINCIDENCE]
        kept: list[bytes] = []
        end, at = 0, text.find(run)
        while at >= 0:
            kept.append(text[end:at])
            end = at + LONGEST_COINCIDENCE
            while end < len(text) and end - at + start < len(key.text) and text[end] == key.text[end - at + start]:
                end += 1
            at = text.find(run, end)
        if kept:
            text = CROSSED_OUT.join((*kept, text[end:]))
    return text
