"""
What other people wrote (profiles, requirements, job descriptions) as it goes into a prompt: as data between our tags.

Nothing in it reads as one of our tags. Whether something does is decided on a folded copy, without invisible
characters, accents, width, look-alike letters, entities and what stands between letters: no spelling slips through.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from organizations.storable import storable

MAX_INPUT_CHARACTERS = 100_000  # of a profile or a job description; about 25,000 tokens

TAGS = ("requirements", "profile", "jobdescription")  # as folding leaves them
# What looks like a letter of our tags in other scripts; width, style and accents are NFKD's.
_LOOK_ALIKES = {
    ord(look_alike): letter
    for letter, look_alikes in {
        "b": "ьвƅ", "c": "сϲⲥᴄ", "d": "ԁ", "e": "еєҽεⲉᴇ℮", "f": "ƒꞙ", "i": "іιıɩ", "j": "јϳ", "l": "ӏⅼ1", "m": "мᴍ",
        "n": "пոηɴ", "o": "оοσօⲟᴏ0", "p": "рρⲣᴘ", "q": "ԛգ", "r": "гᴦⲅʀ", "s": "ѕꜱ", "t": "тτᴛ", "u": "υսᴜ",
    }.items()
    for look_alike in look_alikes
}  # fmt: skip


def neutralised(text: str) -> str:
    """`text` in which nothing reads as one of our tags: the opening bracket of look-alikes becomes "["."""
    first, *others = _OPENING.split(storable(text))
    return first + "".join(
        ("[" if _reads_as_our_tag(rest) else bracket) + rest
        for bracket, rest in zip(others[::2], others[1::2], strict=True)
    )


def bounded(text: str) -> str:
    """`text` as data for a prompt: neutralised, and cut where it is longer than a prompt may be."""
    text = neutralised(text)
    if len(text) <= MAX_INPUT_CHARACTERS:
        return text
    return f"{text[:MAX_INPUT_CHARACTERS]}\n(The text goes on; it was cut here.)"


def _reads_as_our_tag(text: str) -> bool:
    """Whether the first letters after an opening bracket are the name of one of our tags."""
    read = ""
    for letter in _letters(html.unescape(html.unescape(text)) if "&" in text else text):
        read += letter
        if read in TAGS:
            return True
        if not any(tag.startswith(read) for tag in TAGS):
            return False
    return False


def _letters(text: str) -> Iterator[str]:
    for char in text:
        yield from _folded(char)


@lru_cache(maxsize=4_096)
def _folded(char: str) -> str:
    """The plain small letters or digits that a character looks like; "" for what is neither."""
    plain = unicodedata.normalize("NFKD", char).casefold().translate(_LOOK_ALIKES)
    return "".join(letter for letter in plain if letter.isalnum())


def _opening_brackets() -> Iterator[str]:
    """The less-than sign and whatever is named after it, or after an angle that opens to the right."""
    for code in (*range(0x20, 0x300), *range(0x1400, 0x1700), *range(0x2000, 0x3100), *range(0xFE00, 0x10000)):
        name = unicodedata.name(chr(code), "")
        if "LESS-THAN" in name or ("ANGLE" in name and "LEFT" in name and "RECTANGLE" not in name):
            yield chr(code)
    yield from "ᐸᚲ˂❮❰"


# Also as an entity. In a group of its own, so that splitting at it keeps it.
_OPENING = re.compile(
    rf"([{''.join(map(re.escape, _opening_brackets()))}]"
    r"|&(?:amp;)*(?:lt|LT|#0*60(?![0-9])|#[xX]0*3[cC](?![0-9a-fA-F]));?)"
)
