"""
Keys that a provider writes back: as the id of a request, as a model's name, in a header, in an error.

Every answer passes through here with the key that its call carried, before anything is read from it. So nothing that
is kept or shown of an answer can hold that key or a long part of it, wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

CROSSED_OUT = b"****"
SHORTEST_KEY = 8  # a shorter one ("EMPTY") is a word: it is crossed out where it is all that a JSON text says
LONGEST_COINCIDENCE = 12
BLOCK = LONGEST_COINCIDENCE // 2
LONGEST_LINE_HELD = 64 * 1024
_SCHEME = re.compile(r"^(?:bearer|basic)\s+", re.IGNORECASE)
_PUBLIC_PREFIX = re.compile(rb"(?:[a-z]+[0-9]*-){1,3}")  # "sk-ant-api03-" tells nothing
# ASCII that is written as JSON escapes, but for the signs that have to be escaped.
_ESCAPED = re.compile(rb"(?<!\\)((?:\\\\)*)\\(?:u00([2-7][0-9a-fA-F])|(/))")


def without_echoes(
    body: bytes, headers: Mapping[str, str], *, credential_headers: Mapping[str, str]
) -> tuple[bytes, dict[str, str]]:
    """`body` and `headers` of an answer, with the keys of its call crossed out."""
    keys = _keys(credential_headers)
    clean = dict(headers)
    if _may_hold("\n".join(headers.values()).encode(errors="surrogateescape"), keys):
        clean = {
            name: _without(value.encode(errors="surrogateescape"), keys).decode(errors="replace")
            for name, value in headers.items()
        }
    return _without_in_json(body, keys), clean


class StreamedEchoes:
    """
    The same for a body that comes in pieces, which are handed on at once: only what may be the beginning of a key waits
    for the next piece, and a line with ASCII in escapes for its end. No key holds the end of a line, with which every
    event of a stream ends.
    """

    def __init__(self, credential_headers: Mapping[str, str]) -> None:
        self._keys = _keys(credential_headers)
        self._echoes = [key if len(key) >= SHORTEST_KEY else b'"' + key + b'"' for key in self._keys]
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


def _keys(credential_headers: Mapping[str, str]) -> list[bytes]:
    return [key for value in credential_headers.values() if (key := _SCHEME.sub("", value).encode())]


def _may_hold(text: bytes, keys: Iterable[bytes]) -> bool:
    """A cheap look: whether there may be anything to be crossed out."""
    return any(key in text if len(key) < SHORTEST_KEY else _has_a_part(text, key) for key in keys)


def _has_a_part(text: bytes, key: bytes) -> bool:
    """
    False where no run of `key` that is crossed out can be in `text`: each holds one of these blocks as a whole, as it
    is longer than two of them less one.
    """
    return key in text or any(key[at : at + BLOCK] in text for at in range(_public(key), len(key) - BLOCK + 1, BLOCK))


def _public(key: bytes) -> int:
    """The length of the prefix of `key` that tells nothing."""
    prefix = _PUBLIC_PREFIX.match(key)
    return prefix.end() if prefix else 0


def _without_in_json(body: bytes, keys: Iterable[bytes]) -> bytes:
    if b"\\u00" in body or b"\\/" in body:
        plain = _ESCAPED.sub(_unescaped, body)
        if (crossed_out := _without(plain, keys)) != plain:
            return crossed_out
    return _without(body, keys)


def _unescaped(found: re.Match[bytes]) -> bytes:
    sign = b"/" if found[3] else bytes([int(found[2], 16)])
    return found[0] if sign in (b'"', b"\\") else found[1] + sign


def _without(text: bytes, keys: Iterable[bytes]) -> bytes:
    for key in keys:
        if len(key) < SHORTEST_KEY:
            text = CROSSED_OUT if text == key else text.replace(b'"' + key + b'"', b'"' + CROSSED_OUT + b'"')
        elif _has_a_part(text, key):
            text = _without_runs(text.replace(key, CROSSED_OUT), key)
    return text


def _without_runs(text: bytes, key: bytes) -> bytes:
    """Without the parts of `key` that are longer than a coincidence. Text of megabytes is put together once a run."""
    for start in range(_public(key), len(key) - LONGEST_COINCIDENCE + 1):
        run = key[start : start + LONGEST_COINCIDENCE]
        kept: list[bytes] = []
        end, at = 0, text.find(run)
        while at >= 0:
            kept.append(text[end:at])
            end = at + LONGEST_COINCIDENCE
            while end < len(text) and end - at + start < len(key) and text[end] == key[end - at + start]:
                end += 1
            at = text.find(run, end)
        if kept:
            text = CROSSED_OUT.join((*kept, text[end:]))
    return text
