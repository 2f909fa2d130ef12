"""Text that others wrote, as every database takes it and UTF-8 can write it."""

from __future__ import annotations

import re

# NUL, which PostgreSQL refuses, and halves of surrogate pairs, which JSON lets through and no encoding has bytes for.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """`text` without NUL, and with U+FFFD for halves of surrogate pairs. The same again for what is clean."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)
