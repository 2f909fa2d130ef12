"""
Finding people among many by the beginnings of words in name, headline and e-mail.

PostgreSQL lets no index serve LIKE behind row-level security. So each word of a person, folded as names are compared
(letter case and accents do not count), is a row of its own, in bytes, whose order no collation changes; what begins
with the typed letters lies together in the index. Whoever changes what a person is found by calls `note_words`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connection
from django.db.models import QuerySet

from candidates.models import Candidate, CandidateWord
from candidates.names import folded
from organizations.models import Organization

MOST_BYTES = 60  # of a word
AFTER_ALL = b"\xff"  # in no UTF-8


def found_by(people: QuerySet[Candidate], organization: Organization, query: str) -> QuerySet[Candidate]:
    """Those of `people` of whom each word of `query` begins one; all of them for nothing, nobody for mere signs."""
    words = words_of(query)
    if query.strip() and not words:
        return people.none()
    for word in words:
        begun = CandidateWord.objects.for_organization(organization).filter(word__gte=word, word__lt=word + AFTER_ALL)
        people = people.filter(pk__in=begun.values("candidate_id"))
    return people


def note_words(*, organization: Organization, candidates: Sequence[Candidate], are_new: bool = False) -> None:
    """Have them found by what they are called now."""
    if not are_new:
        ids = [candidate.pk for candidate in candidates]
        CandidateWord.objects.for_organization(organization).filter(candidate__in=ids).delete()
    store_words(
        (organization.pk, candidate.pk, word)
        for candidate in candidates
        for word in words_of(f"{candidate.name} {candidate.headline} {candidate.email}")
    )


def store_words(rows: Iterable[tuple[int, int, bytes]]) -> None:
    """Of organization, candidate and word. By plain SQL: an import writes ten of these rows a person."""
    rows = list(rows)
    into = (
        f"INSERT INTO {connection.ops.quote_name(CandidateWord._meta.db_table)} (organization_id, candidate_id, word)"
    )
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and rows:
            columns = "unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::bytea[])"
            cursor.execute(f"{into} SELECT {columns}", [list(column) for column in zip(*rows, strict=True)])
        else:
            cursor.executemany(f"{into} VALUES (%s, %s, %s)", rows)


def words_of(text: str) -> set[bytes]:
    return {word.encode()[:MOST_BYTES] for word in folded(text).split()}
