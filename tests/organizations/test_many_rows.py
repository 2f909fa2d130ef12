from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from candidates.briefings import create_briefing
from candidates.models import Candidate, CandidateCheck, CandidateWord, Profile
from organizations.many_rows import (
    change,
    insert_models,
    insert_rows,
    insertion,
    new_ids,
    rows_with,
    sent_together,
    update,
    write,
)
from organizations.models import Organization
from organizations.tenancy import scope
from tests.builders import import_people
from tests.plans import analyze
from usage.models import UsageRun

COLUMNS = ("id", "organization_id", "name", "headline", "link", "email", "external_id", "created_at")
ODD = ['O\'Brien \\ "x" %s', "{},\n\t\\x41", "李 明 \u2028 é", "null", "' OR 1=1 --"]


def bring(organization: Organization, *names: str) -> list[int]:
    ids = list(new_ids(Candidate, len(names)))
    bring_with(organization, ids, *names)
    return ids


def bring_with(organization: Organization, ids: list[int], *names: str) -> None:
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    rows = [(pk, organization.pk, name, "", "", f"{name}@x", "", now) for pk, name in zip(ids, names, strict=True)]
    insert_rows(Candidate, COLUMNS, rows)


def test_rows_are_stored_as_models_would_store_them(acme):
    ids = bring(acme, *ODD)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    content = {"text": ODD, "number": 1.5, "nothing": None}
    columns = ("organization_id", "candidate_id", "version", "content", "digest", "created_at")
    insert_rows(Profile, columns, [(acme.pk, ids[0], 1, json.dumps(content, ensure_ascii=False), "d", now)])
    insert_rows(CandidateWord, ("organization_id", "candidate_id", "word"), [(acme.pk, ids[0], b"\x00\xff'\\")])

    people = Candidate.objects.order_by("pk")
    assert [(person.pk, person.name) for person in people] == list(zip(ids, ODD, strict=True))
    assert abs((timezone.now() - people[0].created_at).total_seconds()) < 60
    assert Profile.objects.get().content == content
    assert Profile.objects.get(content__number=1.5)
    assert bytes(CandidateWord.objects.get().word) == b"\x00\xff'\\"
    assert Candidate.objects.create(organization=acme, name="Next").pk not in ids


def test_what_a_column_refuses_is_an_error_and_nothing_is_stored(acme):
    bring(acme, "Ann")

    with pytest.raises(DatabaseError), transaction.atomic():
        bring(acme, "Ben", "Ann")  # an e-mail is one person's

    assert Candidate.objects.get().name == "Ann"


def test_what_is_sent_together_is_stored_or_refused_as_one_by_one(acme):
    with transaction.atomic(), sent_together():
        bring_with(acme, [10_001, 10_002], "Ann", "Ben")
        bring_with(acme, [10_003], "Cem")

    def bring_two() -> None:
        with transaction.atomic(), sent_together():
            bring_with(acme, [10_004], "Dan")
            bring_with(acme, [10_005], "Ann")

    with pytest.raises(IntegrityError):
        bring_two()

    assert [person.name for person in Candidate.objects.order_by("pk")] == ["Ann", "Ben", "Cem"]


def test_models_are_stored_as_bulk_create_stores_them(acme, alice):
    briefing = create_briefing(organization=acme, title="Engineer", actor=alice, now=timezone.now())
    people = import_people(acme, "One.", "Two.")

    def checks() -> list[CandidateCheck]:
        both = [
            CandidateCheck(
                organization=acme,
                briefing=briefing,
                candidate=person,
                profile=person.profiles.get(),
                mode="byok",
                kind=CandidateCheck.Kind.NEW,
                price=number,
                route={"model": ODD, "rule": None},
                accepted_at=briefing.created_at,
                created_by=alice if number else None,
            )
            for number, person in enumerate(people)
        ]
        both[1].status, both[1].score, both[1].completed_at = "completed", 70, timezone.now()
        return both

    def kept(made: list[CandidateCheck]) -> list[dict[str, Any]]:
        own = {"id": None, "run_id": None, "completed_at": None}
        return [CandidateCheck.objects.filter(pk=check.pk).values().get() | own for check in made]

    in_bulk = kept(CandidateCheck.objects.bulk_create(checks()))
    CandidateCheck.objects.all().delete()
    made = checks()
    insert_models(made)

    assert kept(made) == in_bulk
    assert made[1].completed_at == CandidateCheck.objects.get(pk=made[1].pk).completed_at
    made[0].failure = "Changed"
    made[0].save()  # the row, not a second one
    assert CandidateCheck.objects.count() == 2


def test_rows_are_changed_by_their_ids_where_they_are_as_they_should_be(acme, globex):
    ann, ben, cem = bring(acme, "Ann", "Ben", "Cem")
    [dan] = bring(globex, "Dan")
    values = {pk: f'it\'s "new" \\ 李 {pk}' for pk in (ann, ben, dan, dan + 10)}
    headlines = Candidate.objects.order_by("name").values_list("headline", "link")

    assert write(change(Candidate, acme, "headline", values, also={"link": "l"}, only={"email": "Ann@x"})) == 1
    assert list(headlines.all()) == [(values[ann], "l"), ("", ""), ("", ""), ("", "")]

    assert write(change(Candidate, acme, "headline", values | {ann: "", cem: "%s"})) == 3
    assert list(headlines.all()) == [("", "l"), (values[ben], ""), ("%s", ""), ("", "")]


def test_what_is_written_together_is_written_or_refused_as_a_whole(acme):
    ann, ben = bring(acme, "Ann", "Ben")
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    columns = ("organization_id", "candidate_id", "version", "content", "digest", "created_at")
    profiles = insertion(Profile, columns, [(acme.pk, pk, 1, "{}", f"{pk}", now) for pk in (ann, ben)])

    assert write(change(Candidate, acme, "headline", dict.fromkeys((ann, ben), "new")), profiles) == 2
    with pytest.raises(IntegrityError), transaction.atomic():  # the first versions are there already
        write(change(Candidate, acme, "headline", dict.fromkeys((ann, ben), "newer")), profiles)

    assert set(Candidate.objects.values_list("headline", flat=True)) == {"new"}
    assert Profile.objects.count() == 2


def test_nothing_to_store_and_nothing_to_look_for_ask_nothing(acme, django_assert_num_queries):
    with django_assert_num_queries(0):
        insert_rows(Candidate, COLUMNS, [])
        insert_models([])
        assert rows_with(Candidate, acme, "email", [], ["id"]) == []


def test_rows_are_found_by_many_values_in_the_own_organization_only(acme, globex):
    ids = bring(acme, *ODD, "Ann")
    bring(globex, *ODD)

    found = rows_with(Candidate, acme, "email", {f"{name}@x" for name in (*ODD, "nobody")}, ["name", "id"])

    assert sorted(found) == sorted(zip(ODD, ids, strict=False))
    assert rows_with(Candidate, acme, "id", ids[:2], ["id"]) == [(ids[0],), (ids[1],)]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps no statistics of its own accord")
@pytest.mark.parametrize("known", ["nothing", "others"])
@pytest.mark.parametrize("column", ["link", "email", "external_id", "id"])
def test_values_are_looked_up_in_an_index_whatever_the_statistics(acme, globex, column, known):
    """
    Of a table that was never analysed, all rows of the organization were read for each chunk of an import; of one that
    was analysed before the organization had any, for each row.
    """
    for whose in (globex, acme):
        Candidate.objects.bulk_create(
            Candidate(
                organization=whose, name="Person", link=f"l{number}", email=f"e{number}", external_id=f"i{number}"
            )
            for number in range(3000)
        )
        if known == "others" and whose == globex:
            analyze("candidates_candidate")

    with scope(acme, "as its pages do"), CaptureQueriesContext(connection) as asked:
        rows_with(Candidate, acme, column, list(range(1, 500)), ["id"])
    with scope(acme, "as its pages do"), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {asked[0]['sql']}")
        ((plan,),) = cursor.fetchone()

    assert any(column in str(node.get("Index Cond")) for node in nodes(plan["Plan"]))


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps no statistics of its own accord")
def test_rows_to_be_changed_are_looked_up_by_their_ids_whatever_the_statistics(acme):
    people = Candidate.objects.bulk_create(
        Candidate(organization=acme, name="P" * 200, headline="H" * 200, link=f"l{number}") for number in range(3000)
    )
    statement = update(Candidate, acme, ("id", "headline"), [(person.pk, "x") for person in people[:20]])

    with scope(acme, "as its pages do"), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.rows[0])
        ((plan,),) = cursor.fetchone()

    assert any("id = ANY" in str(node.get("Index Cond")) for node in nodes(plan["Plan"]))


def test_columns_of_many_rows_are_set_and_of_nobody_elses(acme, globex):
    ids = bring(acme, "Ann", "Ben", "Cem")
    theirs = bring(globex, "Dan")
    moment = timezone.now().replace(microsecond=123456)

    rows = [(pk, word, moment) for pk, word in zip([*ids[:2], *theirs], ODD, strict=False)]
    assert write(update(Candidate, acme, ("id", "headline", "created_at"), rows)) in (2, len(rows))

    stored = Candidate.objects.order_by("pk").values_list("headline", flat=True)
    assert list(stored) == [ODD[0], ODD[1], "", ""]
    assert Candidate.objects.get(pk=ids[0]).created_at == moment
    assert Candidate.objects.get(pk=ids[0]).name == "Ann"


def test_a_column_of_json_is_set_from_its_text(acme):
    (pk,) = bring(acme, "Ann")
    profile = Profile.objects.create(organization=acme, candidate_id=pk, content={"a": 1}, digest="d")

    write(update(Profile, acme, ("id", "content"), [(profile.pk, '{"b": [2, null]}')]))

    profile.refresh_from_db()
    assert profile.content == {"b": [2, None]}


RUN = ("organization_id", "action", "run_id", "part", "started_at", "first_call_id", "is_priced", "is_incomplete")


TRIED = ((0, True), (0, False), (1, True))


def test_rows_that_are_there_already_stay_and_are_not_counted(acme):
    moment, run = timezone.now(), uuid.uuid4()
    first, again, new = ((acme.pk, "a", run, part, moment, None, price, False) for part, price in TRIED)
    assert insert_rows(UsageRun, RUN, [first]) == 1

    assert insert_rows(UsageRun, RUN, [again, new, new], ignore_conflicts=True) == 1
    assert insert_rows(UsageRun, RUN, [], ignore_conflicts=True) == 0

    assert list(UsageRun.objects.order_by("part").values_list("part", "is_priced")) == [(0, True), (1, True)]


def test_ids_and_moments_are_stored_as_models_would_store_them(acme):
    moment, run = timezone.now(), uuid.uuid4()

    insert_rows(UsageRun, RUN, [(acme.pk, "a", run, 0, moment, None, True, False)])

    stored = UsageRun.objects.get(run_id=run, started_at=moment)
    assert (stored.first_call_id, stored.is_priced, stored.is_incomplete) == (None, True, False)
