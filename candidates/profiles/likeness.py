"""
Whether two profiles may be one person's at two times, by their text alone.

Compared are the words and the pairs of neighbouring words that the model would read, without headings, name and contact
data. Of the shorter text's, half must stand in the longer: a profile may grow from three lines, or be cut to them. Of a
few words, which other people may well share, it must be more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from candidates.profiles.names import folded
from candidates.profiles.reading import MAX_TEXT_CHARACTERS, ReadProfile, read_profile

# Measured on 1,864 sample profiles; the figures stand in docs/how-it-works.md.
ENOUGH, ENOUGH_OF_LITTLE = 0.5, 0.7
LITTLE = 40  # words and pairs
# Scripts without spaces: each character is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")

Traits = frozenset[str | tuple[str, str]]


def are_alike(one: Traits, other: Traits) -> bool:
    """Whether enough of the shorter text stands in the other; a text without words stands in every other."""
    shorter = min(len(one), len(other))
    return len(one & other) >= (ENOUGH_OF_LITTLE if shorter < LITTLE else ENOUGH) * shorter


def traits(content: dict[str, Any]) -> Traits:
    """What a stored profile is compared by."""
    found: set[str | tuple[str, str]] = set()
    left = MAX_TEXT_CHARACTERS  # what no model reads tells nothing
    for text in _texts(read_profile(content)):
        for line in text[:left].split("\n"):
            words = _WORD.findall(folded(line))
            found.update(words)
            found.update(pairwise(words))
        left -= len(text)
        if left <= 0:
            break
    return frozenset(found)


def _texts(profile: ReadProfile) -> Iterator[str]:
    yield profile.headline
    yield profile.summary
    for section in profile.sections:
        if section.for_prompts:
            for entry in section.entries:
                yield from (entry.title, entry.text, *entry.items)
    yield profile.raw_text
