"""
Verdicts on a profile, found by comparing words: no model, but a result that a reader can follow.

A requirement whose telling words all stand in the profile is met; at least half of them, partly; else it is
not met. What profiles cannot tell (salary, notice period, …) is unknown unless they do. Years are compared as
numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from simulator.words import WORD, significant_words, stem, years_in

BOUNDARY = re.compile(r"[.!?]\s+(?=[^a-z\s])|;\s+|\n\s*")
LONGEST_QUOTE = 240
SEEN_BEFORE_THE_WORD = 60
# About circumstances and wishes, which people do not write into profiles.
UNTOLD = frozenset(
    stem(word)
    for word in """salary compensation remuneration notice availability available relocate relocation visa
    permit sponsorship clearance travel commute shift shifts weekend weekends overtime willing willingness
    license licence driving passport reference references vaccination residency""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class ReadProfile:
    """A profile taken apart: its sentences as they stand there, with their stems."""

    text: str
    sentences: tuple[tuple[str, frozenset[str]], ...]
    stems: frozenset[str]

    @cached_property
    def years(self) -> int | None:
        return years_in(self.text)


@lru_cache(maxsize=256)
def read_profile(text: str) -> ReadProfile:
    sentences = tuple((sentence, frozenset(map(stem, WORD.findall(sentence)))) for sentence in sentences_in(text))
    return ReadProfile(text, sentences, frozenset().union(*(stems for _, stems in sentences)))


def sentences_in(text: str) -> Iterator[str]:
    """The lines of a text, and the sentences in them; a point before a small letter ends none ("B.Sc. in")."""
    start = 0
    for boundary in BOUNDARY.finditer(text):
        yield text[start : boundary.start() + 1].strip()
        start = boundary.end()
    yield text[start:].strip()


def verdicts(requirements: list[Any], profile: str) -> list[dict[str, Any]]:
    """One verdict for each `{"id", "requirement"}`, in their order; quotes are pieces of the profile."""
    read = read_profile(profile)
    return [
        {"id": row["id"], **verdict(str(row.get("requirement", "")), read)}
        for row in requirements
        if isinstance(row, dict) and "id" in row
    ]


def verdict(requirement: str, profile: ReadProfile) -> dict[str, str]:
    wanted = significant_words(requirement)
    found = [stems & profile.stems for stems, _ in wanted if stems & profile.stems]
    missing_stems = [stems for stems, _ in wanted if not stems & profile.stems]
    missing = [written for stems, written in wanted if not stems & profile.stems]
    parts, fulfilled = len(wanted), len(found)
    wanted_years = years_in(requirement)
    if wanted_years is not None:
        parts += 1
        if profile.years is not None and profile.years >= wanted_years:
            fulfilled += 1
        else:
            missing.append(f"{wanted_years} years")
    if any(UNTOLD & stems for stems in missing_stems):
        return _row("unknown", "", f"The profile does not tell: {', '.join(missing)}.")
    if not parts:
        return _row("unknown", "", "The requirement names nothing that could be looked for.")
    if fulfilled == parts:
        quote = best_quote(found, profile) if found else years_quote(profile)
        return _row("met", quote, "The profile shows all of it.")
    if fulfilled * 2 >= parts:
        quote = best_quote(found, profile) if found else years_quote(profile)
        return _row("partly", quote, f"The profile does not show: {', '.join(missing)}.")
    if found:
        return _row("not_met", "", f"The profile shows too little of it; missing: {', '.join(missing)}.")
    return _row("not_met", "", "The profile shows nothing of it.")


def best_quote(found: list[frozenset[str]], profile: ReadProfile) -> str:
    """The first of the sentences that hold most of the words, cut around them if it is long."""
    wanted = frozenset().union(*found)
    sentence, _ = max(profile.sentences, key=lambda row: len(wanted & row[1]))
    if len(sentence) <= LONGEST_QUOTE:
        return sentence
    first = next(match.start() for match in WORD.finditer(sentence) if stem(match.group()) in wanted)
    start = sentence.rfind(" ", 0, max(first - SEEN_BEFORE_THE_WORD, 0)) + 1
    piece = sentence[start : start + LONGEST_QUOTE]
    return piece.strip() if start + LONGEST_QUOTE >= len(sentence) else piece[: piece.rfind(" ")].strip()


def years_quote(profile: ReadProfile) -> str:
    return next((text for text, _ in profile.sentences if years_in(text) == profile.years), "")[:LONGEST_QUOTE]


def _row(outcome: str, quote: str, reason: str) -> dict[str, str]:
    return {"verdict": outcome, "quote": quote, "reason": reason}
