"""
Importing profiles: who a row is, and whether it says anything new.

A row is matched by its profile link, else its e-mail, else its `candidate_id`, else its content. Templates keep
links, sources number alike and offices share e-mails, so no key is believed blindly: a link or a `candidate_id` makes
two people one only where names agree or the e-mail does; an e-mail alone does (people change names) unless another
key differs. Else the row is refused with a sentence, as is a row whose keys name two people. Nobody is ever merged by
guess.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connection, transaction

from candidates.models import Candidate, Profile
from candidates.profiles.files import ProfileRow, RowError
from candidates.profiles.names import names_agree, one_name_holds_the_other
from candidates.search import note_words
from organizations import audit, clock
from organizations.many_rows import insert_rows, new_ids, rows_with, sent_together
from organizations.models import Organization, User
from organizations.names import clean_name

# Of one transaction: short for other writers, long enough for bulk queries.
CHUNK_ROWS = 500
CHUNK_CHARACTERS = 2_000_000  # of content, after which no row is added
NO_KEY = ""  # of rows that nothing but their content identifies


@dataclass(frozen=True, slots=True)
class ImportReport:
    imported: int
    updated: int
    unchanged: int
    errors: tuple[RowError, ...] = ()

    @property
    def kept(self) -> int:
        return self.imported + self.updated + self.unchanged

    def as_json(self, *, with_files: bool = False) -> dict[str, Any]:
        return {
            "imported": self.imported,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "errors": [
                {"line": error.line, "reason": error.reason} | ({"file": error.file} if with_files else {})
                for error in self.errors
            ],
        }


def import_profiles(
    *,
    organization: Organization,
    rows: Iterable[ProfileRow | RowError],
    actor: User | None,
    on_progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """
    Store what is new in `rows`: new people, and other content of known ones as a new profile version.

    Good rows are kept whatever the others are; the errors given in `rows` come back in the report, in order.
    The same rows a second time are all unchanged. Each chunk is a transaction of its own, during which other
    imports of the organization wait. `on_progress` is told the number of profiles done. `rows` may be gone through
    a second time before the first is over; of those that are not in memory, a chunk at a time is.
    """
    last_rows = _LastRows(rows)
    counts = {"imported": 0, "updated": 0, "unchanged": 0}
    errors: list[RowError] = []
    done = 0

    try:
        for chunk in _chunks(rows):
            outcomes = iter(_import_chunk(organization, chunk, done, last_rows))
            for row in chunk:
                if isinstance(row, RowError):
                    errors.append(row)
                elif (outcome := next(outcomes)) in counts:
                    counts[outcome] += 1
                else:
                    errors.append(RowError(row.line, outcome, row.file))
            done += sum(isinstance(row, ProfileRow) for row in chunk)
            if on_progress:
                on_progress(done)
    except BaseException:
        with suppress(Error):  # the first one is told
            _record(organization, actor, counts)
        raise
    _record(organization, actor, counts)
    return ImportReport(**counts, errors=tuple(errors))


def _record(organization: Organization, actor: User | None, counts: dict[str, int]) -> None:
    """What was stored, also by an import that was interrupted."""
    if counts["imported"] or counts["updated"]:
        audit.record(
            organization=organization,
            actor=actor,
            action="profiles.imported",
            imported=counts["imported"],
            updated=counts["updated"],
        )


def _chunks(rows: Iterable[ProfileRow | RowError]) -> Iterator[list[ProfileRow | RowError]]:
    chunk: list[ProfileRow | RowError] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(row.content_json) if isinstance(row, ProfileRow) else 0
        if len(chunk) == CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


class _LastRows:
    """Where in the rows some content of a person comes last. They are gone through when that is first asked."""

    def __init__(self, rows: Iterable[ProfileRow | RowError]) -> None:
        self._rows = rows

    def comes_after(self, number: int, key: str, digest: str) -> bool:
        return self._numbers.get(hash((key, digest)), -1) > number

    @cached_property
    def _numbers(self) -> dict[int, int]:
        profiles = (row for row in self._rows if isinstance(row, ProfileRow))
        return {hash((key, row.digest)): number for number, row in enumerate(profiles) for key in row.keys or (NO_KEY,)}


def _import_chunk(
    organization: Organization, chunk: Sequence[ProfileRow | RowError], first: int, last_rows: _LastRows
) -> list[str]:
    """What became of each profile of the chunk, of which the first is number `first` of all."""
    profiles = [row for row in chunk if isinstance(row, ProfileRow)]
    if not profiles:
        return []
    with transaction.atomic():
        # Two imports at once would both find nobody. NO KEY: rows that refer to the organization go on.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        people = _People(organization, profiles)
        outcomes = [_import_row(row, number, people, last_rows) for number, row in enumerate(profiles, first)]
        people.save()
    return outcomes


def find_imported(*, organization: Organization, row: ProfileRow) -> Candidate | None:
    """Whom `row`, imported before, is about."""
    return next(iter(_People(organization, [row]).matching(row).values()), None)


def _import_row(row: ProfileRow, number: int, people: _People, last_rows: _LastRows) -> str:
    """ "imported", "updated" or "unchanged", else the sentence why the row was refused."""
    matches = people.matching(row)
    if len(matches) > 1:
        (first_key, first), (second_key, second) = list(matches.items())[:2]
        return (
            f"Its {_KEY_NAMES[first_key]} is that of {_described(first)}, but its {_KEY_NAMES[second_key]} "
            f"is that of {_described(second)}. Correct the one that is wrong."
        )
    if not matches:
        people.add(row)
        return "imported"
    ((key, candidate),) = matches.items()
    if refusal := _refusal(row, key, candidate):
        return refusal
    if row.digest == people.latest_digest(candidate):
        people.complete(candidate, row)
        return "unchanged"
    # A file may hold two versions of a person. Where a later row brings the newest one back anyhow, an
    # earlier one that is known says nothing new: else each import of that file would add versions.
    newest = people.latest_digest(candidate)
    keys = (*row.keys, *_keys_of(candidate), *((NO_KEY,) if people.with_content(newest) is candidate else ()))
    if people.knows(candidate, row.digest) and any(last_rows.comes_after(number, key, newest) for key in keys):
        return "unchanged"
    people.update(candidate, row)
    return "updated"


_KEY_NAMES = {"link": "profile link", "email": "e-mail", "external_id": "candidate_id", "digest": "content"}


def _refusal(row: ProfileRow, matched_key: str, candidate: Candidate) -> str:
    """Why a match by a key that people may share is not believed, or ""."""
    if names_agree(row.name, candidate.name):
        return ""
    if matched_key == "link" and row.email and row.email == candidate.email:
        return ""
    if matched_key != "link" and one_name_holds_the_other(row.name, candidate.name):
        return ""
    for key in ("link", "email", "external_id"):
        given, known = getattr(row, key), getattr(candidate, key)
        if given and known and given != known:
            return (
                f"Its {_KEY_NAMES[matched_key]} is that of {_described(candidate)}, whose {_KEY_NAMES[key]} "
                f"is {known}, not {given}. Correct the {_KEY_NAMES[matched_key]} or the name."
            )
    if matched_key in ("link", "external_id"):
        return (
            f"Its {_KEY_NAMES[matched_key]} is that of {_described(candidate)}, not of “{row.name}”. "
            f"Correct the {_KEY_NAMES[matched_key]} or the name."
        )
    return ""


def _described(candidate: Candidate) -> str:
    return f"“{candidate.name}”"


def _keys_of(candidate: Candidate) -> tuple[str, ...]:
    return (f"link:{candidate.link}", f"email:{candidate.email}", f"id:{candidate.external_id}")


class _People:
    """The candidates whom a chunk of rows may be about: known ones, and those that the chunk adds."""

    def __init__(self, organization: Organization, rows: Sequence[ProfileRow]) -> None:
        self.organization = organization
        self._added: list[Candidate] = []
        self._renamed: dict[int, Candidate] = {}
        self._profiles: list[tuple[Candidate, int, ProfileRow]] = []
        self._by_key: dict[tuple[str, str], Candidate] = {}
        self._by_digest: dict[str, list[Candidate]] = {}
        self._versions: dict[
            int, list[tuple[int, str]]
        ] = {}  # number and digest by id() of the candidate, oldest first
        self._load(rows)

    def _load(self, rows: Sequence[ProfileRow]) -> None:
        columns = [field.attname for field in Candidate._meta.concrete_fields]

        def candidates(key: str, values: Collection[Any]) -> Iterator[Candidate]:
            for values_of_one in rows_with(Candidate, self.organization, key, values, columns):
                yield Candidate.from_db(DEFAULT_DB_ALIAS, columns, values_of_one)

        # Ids first: as one statement PostgreSQL joins the wrong way round while its statistics are older than the rows.
        digests = {row.digest for row in rows}
        ids = {pk for (pk,) in rows_with(Profile, self.organization, "digest", digests, ["candidate_id"])}
        known = {candidate.pk: candidate for candidate in candidates("id", ids)}
        for key in ("link", "email", "external_id"):
            for candidate in candidates(key, {value for row in rows if (value := getattr(row, key))}):
                known.setdefault(candidate.pk, candidate)
        for candidate in known.values():
            self._index(candidate)
        versions = rows_with(Profile, self.organization, "candidate_id", known, ["candidate_id", "version", "digest"])
        for pk, version, digest in sorted(versions):
            self._note_version(known[pk], version, digest)

    def matching(self, row: ProfileRow) -> dict[str, Candidate]:
        """The people whom the row's keys name, each under the strongest key that names them."""
        found: dict[str, Candidate] = {}
        for key in ("link", "email", "external_id"):
            candidate = self._by_key.get((key, getattr(row, key)))
            if candidate and candidate not in found.values():
                found[key] = candidate
        if not found:
            for candidate in self._by_digest.get(row.digest, []):
                if not (row.external_id and candidate.external_id):
                    return {"digest": candidate}
        return found

    def with_content(self, digest: str) -> Candidate | None:
        """Whom a row without any key is about, of those who are known here."""
        return next(iter(self._by_digest.get(digest, ())), None)

    def latest_digest(self, candidate: Candidate) -> str:
        return self._versions[id(candidate)][-1][1]

    def knows(self, candidate: Candidate, digest: str) -> bool:
        return any(known == digest for _, known in self._versions[id(candidate)])

    def add(self, row: ProfileRow) -> None:
        candidate = Candidate(
            organization_id=self.organization.pk,
            name=clean_name(row.name),
            headline=clean_name(row.headline),
            link=row.link,
            email=row.email,
            external_id=row.external_id,
        )
        self._added.append(candidate)
        self._index(candidate)
        self._add_version(candidate, row, version=1)

    def update(self, candidate: Candidate, row: ProfileRow) -> None:
        """Make the row the candidate's newest version; name, headline, link and e-mail follow it."""
        self._set(
            candidate,
            name=row.name,
            headline=row.headline,
            link=row.link or candidate.link,
            email=row.email or candidate.email,
            external_id=candidate.external_id or row.external_id,
        )
        self._add_version(candidate, row, version=self._versions[id(candidate)][-1][0] + 1)

    def complete(self, candidate: Candidate, row: ProfileRow) -> None:
        """Take over the keys that were not known before."""
        self._set(
            candidate,
            link=candidate.link or row.link,
            email=candidate.email or row.email,
            external_id=candidate.external_id or row.external_id,
        )

    def save(self) -> None:
        note_words(organization=self.organization, candidates=list(self._renamed.values()))
        if not self._profiles:
            return
        organization, now = self.organization.pk, connection.ops.adapt_datetimefield_value(clock.now())
        for candidate, pk in zip(self._added, new_ids(Candidate, len(self._added)), strict=True):
            candidate.pk = pk
        with sent_together():
            insert_rows(
                Candidate,
                ("id", "organization_id", "name", "headline", "link", "email", "external_id", "created_at"),
                (
                    (each.pk, organization, each.name, each.headline, each.link, each.email, each.external_id, now)
                    for each in self._added
                ),
            )
            insert_rows(
                Profile,
                ("organization_id", "candidate_id", "version", "content", "digest", "created_at"),
                (
                    (organization, candidate.pk, version, row.content_json, row.digest, now)
                    for candidate, version, row in self._profiles
                ),
            )
            note_words(organization=self.organization, candidates=self._added, are_new=True)

    def _set(self, candidate: Candidate, **values: str) -> None:
        changed = {key: value for key, value in values.items() if getattr(candidate, key) != value}
        if not changed:
            return
        for key, value in changed.items():
            self._by_key.pop((key, getattr(candidate, key)), None)
            setattr(candidate, key, value)
        self._index(candidate)
        if candidate.pk:  # at once, so that a key given up is free when a row of the same chunk takes it
            candidate.save(update_fields=list(changed))
            self._renamed[candidate.pk] = candidate

    def _add_version(self, candidate: Candidate, row: ProfileRow, *, version: int) -> None:
        self._profiles.append((candidate, version, row))
        self._note_version(candidate, version, row.digest)

    def _note_version(self, candidate: Candidate, version: int, digest: str) -> None:
        self._versions.setdefault(id(candidate), []).append((version, digest))
        self._by_digest.setdefault(digest, []).append(candidate)

    def _index(self, candidate: Candidate) -> None:
        for key in ("link", "email", "external_id"):
            if value := getattr(candidate, key):
                self._by_key[key, value] = candidate
