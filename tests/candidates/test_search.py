"""Finding people by the beginnings of their words, after whatever changed what they are called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.urls import reverse

from candidates.models import Candidate, CandidateWord
from candidates.profiles.files import ProfileRow, parse_file
from candidates.profiles.importing import _People, import_profiles
from candidates.search import count_found, found_by, note_words
from organizations.models import Organization
from tests.billing.test_concurrency import at_once
from tests.builders import complete
from tests.candidates.test_import import resume


def bring(organization: Organization, *rows: dict[str, Any]) -> None:
    import_profiles(organization=organization, rows=parse_file(json.dumps(rows).encode()), actor=None)


def names(organization: Organization, query: str) -> set[str]:
    everybody = Candidate.objects.for_organization(organization)
    found = found_by(everybody, organization, query)
    assert count_found(organization, query) == len(found)
    return {candidate.name for candidate in found}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ros", {"Anna Rossi", "Rosa Müller"}),
        ("ROSSI anna", {"Anna Rossi"}),
        ("muller", {"Rosa Müller"}),
        ("MÜLL", {"Rosa Müller"}),
        ("backend ro", {"Anna Rossi"}),
        ("rosa@mail.example", {"Rosa Müller"}),
        ("Müller, Rosa", {"Rosa Müller"}),
        ("李", {"李 明"}),
        ("anna müller", set()),
        ("ossi", set()),
        ("%", set()),
        ("\\", set()),
        ("x" * 200, set()),
        ("", {"Anna Rossi", "Rosa Müller", "李 明"}),
        ("  ", {"Anna Rossi", "Rosa Müller", "李 明"}),
    ],
)
def test_each_word_has_to_begin_one_of_the_persons(acme, globex, query, found):
    bring(
        acme,
        resume("Anna Rossi", label="Senior Backend Engineer", email="a.rossi@mail.example"),
        resume("Rosa Müller", label="Nurse", email="rosa@mail.example"),
        resume("李 明"),
    )
    bring(globex, resume("Rosa Elsewhere"))

    assert names(acme, query) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *[(query, {"Clara"}) for query in ("C++", "c++", "c+", "C++ dev", "dev c++", "c++/qt", "(C++)", "C++,")],
        *[(query, {"Carl"}) for query in ("C#", "c# dev", "f#", ".net c#", "R+", "R+Redux", "carl+", "carl+jobs@mail")],
        ("c", {"Clara", "Carl", "Cem"}),
        ("cobol++", set()),
        ("c###", set()),
        ("+ #", set()),
    ],
)
def test_signs_that_are_part_of_a_word_are_looked_for(acme, query, found):
    bring(
        acme,
        resume("Clara", label="C++/Qt Developer"),
        resume("Carl", label=".NET (C#, F#), R+Redux developer", email="carl+jobs@mail.example"),
        resume("Cem", label="Cobol"),
    )

    assert names(acme, query) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *[("jane.doe@mail.example"[:typed], {"Jane O’Brien"}) for typed in range(1, 22)],
        *[("mail.example"[:typed], {"Jane O’Brien"}) for typed in range(1, 13)],
        *[(query, {"Jane O’Brien"}) for query in ("brien", "OBrien", "o'brien", "o'b", "O`Bri")],
        *[(query, {"Jane O’Brien"}) for query in ("node.", "node.j", "node.js", "nodejs", "js", ".net", "asp.n")],
        *[(query, {"J.R.R. Tolkien"}) for query in ("j.r", "J.R.R.", "jrr", "j. r. r. tolk", "ph.d", "phd", "a.io")],
        *[(query, {"李明"}) for query in ("李", "明", "李明", "工程师", "软件工程师")],
        *[(query, {"김철수"}) for query in ("김", "철수", "철")],
        *[(query, {"สมชาย ใจดี"}) for query in ("สม", "ชาย", "ใจดี")],
        *[(query, {"نازنین‌زهرا"}) for query in ("نازنین", "زهرا", "نازنین‌زهرا", "نازنین زهرا")],
        ("程李", set()),
        ("rien", set()),
    ],
)
def test_one_is_found_by_each_reading_of_where_a_word_begins(acme, query, found):
    bring(
        acme,
        resume("Jane O’Brien", label="Node.js, ASP.NET", email="jane.doe@mail.example"),
        resume("J.R.R. Tolkien", label="Ph.D.", email="tolkien@a.io"),
        resume("李明", label="高级软件工程师"),
        resume("김철수"),
        resume("สมชาย ใจดี"),
        resume("نازنین‌زهرا"),
    )

    assert found <= names(acme, query)
    assert found or not names(acme, query)


def test_who_is_called_otherwise_now_is_found_by_it_and_no_longer_as_before(acme, as_staff):
    bring(acme, {"candidate_id": "7", "resume": resume("Jane Doe", label="Nurse")})
    bring(acme, {"candidate_id": "7", "resume": resume("Jane Doe", label="Baker", email="jane@mail.example")})

    assert [bool(names(acme, query)) for query in ("nurse", "baker", "jane@mail")] == [False, True, True]

    person = Candidate.objects.get()
    address = reverse("admin:candidates_candidate_change", args=[person.pk])
    sent = {"name": "Jane Smith", "headline": "Baker", "link": "", "email": "", "external_id": "7"}
    assert as_staff.post(address, sent).status_code == 302

    assert [bool(names(acme, query)) for query in ("doe", "smith", "mail")] == [False, True, False]
    person.delete()
    assert not CandidateWord.objects.exists()


def test_an_upgrade_has_everybody_found_by_the_same_words_as_an_import(acme, globex):
    bring(
        acme, resume("Anna Rossi", label="Senior Senior C++ Engineer"), resume("Rosa Müller", email="rosa@mail.example")
    )
    bring(globex, resume("Rosa Elsewhere"))
    columns = ("organization_id", "candidate_id", "word")
    before = {(o, c, bytes(word)) for o, c, word in CandidateWord.objects.values_list(*columns)}
    CandidateWord.objects.all().delete()

    migration: Any = import_module("candidates.migrations.0011_words_of_people")
    migration.note_words_of_everybody(apps, SimpleNamespace(connection=connection))
    CandidateWord.objects.filter(word__gte=b"c+", word__lt=b"c-").delete()
    migration = import_module("candidates.migrations.0014_words_with_signs")
    migration.note_words_with_signs(apps, SimpleNamespace(connection=connection))

    after = [(o, c, bytes(word)) for o, c, word in CandidateWord.objects.values_list(*columns)]
    assert len(after) == len(set(after))
    assert set(after) == before


@pytest.mark.postgresql
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
@pytest.mark.django_db(transaction=True)
def test_who_is_renamed_between_reading_and_writing_of_an_import_is_found_by_both_changes(acme, monkeypatch):
    complete(acme)
    bring(acme, resume("Jane Doe", label="Nurse", email="jane@mail.example"))
    load = _People._load

    def rename() -> None:
        with transaction.atomic():
            person = Candidate.objects.get()
            person.name = "Jane Smith"
            person.save()
            note_words(organization=acme, candidates=[person])

    def load_and_be_overtaken(people: _People, rows: Sequence[ProfileRow]) -> None:
        load(people, rows)
        at_once([rename], threads=1)

    monkeypatch.setattr(_People, "_load", load_and_be_overtaken)
    bring(acme, resume("Jane Doe", label="Baker", email="jane@mail.example"))

    assert list(Candidate.objects.values_list("name", "headline")) == [("Jane Smith", "Baker")]
    assert [bool(names(acme, query)) for query in ("smith", "baker", "doe", "nurse")] == [True, True, False, False]
