"""
Pictures in profiles, which neither we nor a model read: image fields, `data:` addresses, files as base64 or hex.

They stand anywhere: in fields of their own, in HTML, in the middle of long texts. What is left is text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from organizations.reading import whole_number

LEAST_BLOB_CHARACTERS = 200
LEAST_BLOB_NUMBERS = 64
SHORT_KEY_CHARACTERS = 60  # longer than any name of a picture

_FIELD = re.compile(
    r"(?:profile|user|cover|company|candidate|person|my|main)?"
    r"(?:image|img|photo|photograph|picture|pic|avatar|portrait|headshot|thumbnail|logo|icon|iconcolor)"
    r"(?:url|uri|src|link|path|file|data|base64)?"
)
_FILE_NAME = re.compile(r"\.(?:jpe?g|png|gif|webp|svg|bmp|tiff?|heic|avif)\b", re.IGNORECASE)
_ENDS = r"(?=[\s\"'<>()\[\]]|\Z)"
_LAST_LINE = rf"(?:\r?\n[ \t]*(?=\S*[0-9+/])[\w+/-]{{1,100}}={{0,2}}{_ENDS})?"
_DATA = re.compile(
    r"\bdata:(?:[\w.+-]{1,40}/[\w.+-]{1,80})?(?:;[\w.+-]{1,40}=[^;,\s]{0,200}){0,5}"
    rf"(?:;base64,[\w+/=%-]*(?:(?:\r?\n[ \t]*[\w+/-]{{60,}})+{_LAST_LINE})?"
    r"|(?<=\w)(?:;[\w-]{1,20})?,(?:<svg\b(?:(?!<svg\b).){0,200000}?</svg\s*>|[^\s\"'<>)\]]*))",
    re.IGNORECASE | re.DOTALL,
)
_WRAPPED_BLOB = re.compile(
    rf"(?<![\w+/-])[\w+/-]{{60,}}(?:[\s>,;\"']{{1,8}}[\w+/-]{{60,}})+={{0,2}}{_LAST_LINE}", re.ASCII
)
_BLOB = re.compile(rf"[A-Za-z0-9+/_-]{{{LEAST_BLOB_CHARACTERS},}}={{0,2}}")


def text_without_pictures(text: str) -> str:
    """`text` without `data:` addresses and without long runs of base64 or hex. Words, however long, stay."""
    if len(text) < LEAST_BLOB_CHARACTERS and "data:" not in text.lower():
        return text
    text = _DATA.sub("", text)
    return _BLOB.sub(_kept, _WRAPPED_BLOB.sub(_kept, text))


def without_pictures(value: Any) -> Any:
    """A copy of parsed JSON in which no picture is left."""
    if isinstance(value, str):
        return text_without_pictures(value)
    if isinstance(value, list):
        return [] if _is_bytes(value) or _is_blob(value) else [without_pictures(item) for item in value]
    if isinstance(value, dict):
        # How browsers write a Uint8Array.
        if len(value) >= LEAST_BLOB_NUMBERS and _is_bytes(list(value.values())) and _is_numbered(value):
            return {}
        return {key: without_pictures(item) for key, item in value.items() if not is_picture(key, item)}
    return value


def is_picture(key: str, value: Any) -> bool:
    """Whether a field holds a picture or where to find one; "picture": "I see the big one" is a sentence."""
    if not (_names_a_picture_briefly(key) if len(key) <= SHORT_KEY_CHARACTERS else _names_a_picture(key)):
        return False
    return not isinstance(value, str) or len(value.split()) < 3 or bool(_FILE_NAME.search(value))


def folded_key(key: str) -> str:
    """The name of a field by its letters and digits, in small letters."""
    return _folded_short(key) if len(key) <= SHORT_KEY_CHARACTERS else _folded(key)


def _folded(key: str) -> str:
    return re.sub(r"[\W_]", "", key).lower()


def _names_a_picture(key: str) -> bool:
    return bool(_FIELD.fullmatch(_folded(key)))


# The same few names stand in every profile; long ones would fill the memory.
_folded_short = lru_cache(2000)(_folded)
_names_a_picture_briefly = lru_cache(2000)(_names_a_picture)


def _is_numbered(value: dict[str, Any]) -> bool:
    return all(whole_number(key) is not None for key in value)


def _is_bytes(values: list[Any]) -> bool:
    return len(values) >= LEAST_BLOB_NUMBERS and all(
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 255 and value == int(value)
        for value in values
    )


def _is_blob(values: list[Any]) -> bool:
    """Whether a list holds the lines of one base64 or hex."""
    if len(values) < 2 or not all(isinstance(value, str) for value in values):
        return False
    return not text_without_pictures("\n".join(values)).strip()


def _kept(found: re.Match[str]) -> str:
    """A run of characters if it may be words: no blob is without digits or all of one letter case."""
    run = found[0].split()[0].rstrip(">,;\"'")  # the first of several tells what they are
    digits, small, capital = (re.search(kind, run) for kind in ("[0-9]", "[a-z]", "[A-Z]"))
    is_blob = digits and (small or capital) and ((small and capital) or re.fullmatch(r"[0-9a-fA-F\s]+", run))
    return "" if is_blob else found[0]
