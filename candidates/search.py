"""
Finding people among many by the beginnings of words in name, headline and e-mail.

PostgreSQL lets no index serve LIKE behind row-level security. So each word of a person, folded as names are compared
(letter case and accents do not count), is a row of its own, in bytes, whose order no collation changes; what begins
with the typed letters lies together in the index. Whoever changes what a person is found by calls `note_words`.

Where a word begins is not always plain. “Node.js” and “O'Brien” are noted as one word and as two, “C++” and “C#” with
their signs as well, which folding drops: else they would find whatever begins with c. Chinese, Japanese and
Thai put no spaces between words, Koreans none into a name: there one may begin at any letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import BooleanField, F, Func, Q, QuerySet
from django.db.models.lookups import In

from candidates.models import Candidate, CandidateWord
from candidates.profiles.names import folded
from organizations.many_rows import insert_rows
from organizations.models import Organization

MOST_BYTES = 60  # of a word
FEW = 500  # are quicker looked up one by one than all people in a hash
AFTER_ALL = b"\xff"  # in no UTF-8
_DOTS = re.compile(r"[.．]")
_INNER_SIGNS = re.compile(r"[.．'`´‘’ʻʼ\u200c]")  # which folding takes out of words
_SIGNED = re.compile(r"([^\W_]+)([+#]+)")  # C++, C#, F#
_SIGNED_AT_THE_END = re.compile(rf"{_SIGNED.pattern}(?![^\W_])")  # the signs of “jane+jobs@” stand between two words
# Letters of Thai, Lao, Burmese, Korean (folding takes its syllables apart), Khmer, Japanese and Chinese.
_MAY_BEGIN = re.compile(
    "[\u0e01-\u0e2e\u0e40-\u0e44\u0e81-\u0eae\u0ec0-\u0ec4\u1000-\u102a\u1100-\u115f\u1780-\u17b3"
    "\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff\U00020000-\U0003ffff]"
)


def found_by(people: QuerySet[Candidate], organization: Organization, query: str) -> QuerySet[Candidate]:
    """Those of `people` of whom each word of `query` begins one; all of them for nothing, nobody for mere signs."""
    words = _typed(query)
    if query.strip() and not words:
        return people.none()
    for ids in _begun(organization, words):
        few = list(ids[: FEW + 1])
        people = people.filter(_IsTrue(In(F("pk"), ids)) if len(few) > FEW else Q(pk__in=few))
    return people


def count_found(organization: Organization, query: str) -> int:
    """How many of all people of the organization are found by `query`, without going through the others."""
    if not query.strip():
        return Candidate.objects.for_organization(organization).count()
    begun = _begun(organization, _typed(query))
    if not begun:
        return 0
    ids, *others = begun
    return (ids.intersection(*others) if others else ids.distinct()).count()


def _typed(query: str) -> list[bytes]:
    # Whoever has typed “node.j” so far may mean one word or two; the two are noted of either.
    typed = _DOTS.sub(" ", query)
    words = {*folded(_SIGNED_AT_THE_END.sub(" ", typed)).split(), *_signed(_SIGNED_AT_THE_END, typed)}
    return sorted(set(map(_noted, words)))


def _begun(organization: Organization, words: Iterable[bytes]) -> list[QuerySet[CandidateWord, int]]:
    """For each of `words`, the ids of those of whom it begins one, some more than once."""
    noted = CandidateWord.objects.for_organization(organization)
    return [
        noted.filter(word__gte=word, word__lt=word + AFTER_ALL).values_list("candidate_id", flat=True) for word in words
    ]


class _IsTrue(Func):
    """
    On PostgreSQL it keeps the people apart from their words: those who have one are looked up in a hash. Else it goes
    through all words for every person while its statistics do not know the organization, and takes minutes.
    """

    output_field = BooleanField()
    template = "%(expressions)s"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, template="(%(expressions)s) IS TRUE", **context)


def note_words(*, organization: Organization, candidates: Sequence[Candidate], are_new: bool = False) -> None:
    """Have them found by what they are called now. Those that are not new were saved before, in this transaction."""
    if not are_new:
        ids = [candidate.pk for candidate in candidates]
        # Somebody else may have saved other fields of them after they were read.
        candidates = list(Candidate.objects.for_organization(organization).filter(pk__in=ids))
        CandidateWord.objects.for_organization(organization).filter(candidate__in=ids).delete()
    store_words(
        (organization.pk, candidate.pk, word)
        for candidate in candidates
        for word in words_of(f"{candidate.name} {candidate.headline} {candidate.email}")
    )


def store_words(rows: Iterable[tuple[int, int, bytes]]) -> None:
    """Of organization, candidate and word."""
    insert_rows(CandidateWord, ("organization_id", "candidate_id", "word"), rows)


def words_of(text: str) -> set[bytes]:
    """By which somebody is found of whom `text` tells."""
    words = {*folded(text).split(), *folded(_INNER_SIGNS.sub(" ", text)).split()}
    begun = {word[found.start() :] for word in words if not word.isascii() for found in _MAY_BEGIN.finditer(word)}
    return set(map(_noted, words | begun | _signed(_SIGNED, text)))


def _signed(pattern: re.Pattern[str], text: str) -> set[str]:
    if "+" not in text and "#" not in text:
        return set()
    return {f"{word}{signs}" for letters, signs in pattern.findall(text) for word in folded(letters).split()[-1:]}


def _noted(word: str) -> bytes:
    return word.encode()[:MOST_BYTES]
