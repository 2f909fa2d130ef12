"""
That pages of many people and checks read an index, as the role that serves sees them: it is the condition of the index
that is looked at, not the planner's mood; behind row-level security a condition may fail to reach one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test import RequestFactory

from candidates import search
from candidates.briefing_models import choose_model, newest
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from candidates.results import latest_checks
from candidates.search import count_found, found_by, note_words
from organizations.models import Organization
from organizations.paging import page_of_rows
from organizations.tenancy import scope
from tests.builders import NOW, connect_key, write_briefing
from tests.plans import SQLITE_KNOWS, analyze, have_sqlite_know, plans_of_what_is_asked

PEOPLE = 3000


@pytest.fixture
def briefing(acme, globex) -> Briefing:
    """Of two organizations, each with many people, all of whom are checked against it."""
    for organization in (globex, acme):
        briefing = write_briefing(organization, ("Django", "must"))
        people = Candidate.objects.bulk_create(
            Candidate(organization=organization, name=f"Person {chr(97 + number % 26)}{number}")
            for number in range(PEOPLE)
        )
        note_words(organization=organization, candidates=people, are_new=True)
        profiles = Profile.objects.bulk_create(
            Profile(organization=organization, candidate=person, content={}, digest=str(person.pk)) for person in people
        )
        CandidateCheck.objects.bulk_create(
            CandidateCheck(
                organization=organization,
                briefing=briefing,
                candidate_id=profile.candidate_id,
                profile=profile,
                status="completed",
                category="strong",
                score=number % 101,
                mode="byok",
                kind="new",
                price=1,
                route={},
                accepted_at=NOW - timedelta(seconds=number),
                completed_at=NOW,
            )
            for number, profile in enumerate(profiles)
        )
    analyze()
    return briefing


def plan(rows: QuerySet[Any]) -> list[dict[str, Any]]:
    """The nodes of the plan, on PostgreSQL; on SQLite what it says of each table, as `Index Cond`."""
    if connection.vendor == "sqlite":
        return [{"Index Cond": line} for line in rows.explain().splitlines()]
    (tree,) = json.loads(rows.explain(format="json"))

    def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for child in node.get("Plans", []):
            yield from nodes(child)

    return list(nodes(tree["Plan"]))


def is_read_by(rows: QuerySet[Any], *columns: str) -> bool:
    """Whether one index is searched by all of `columns`, and nothing is sorted."""
    nodes = plan(rows)
    sorts = any("Sort" in str(node.get("Node Type")) or "B-TREE" in str(node.get("Index Cond")) for node in nodes)
    return not sorts and any(all(column in str(node.get("Index Cond", "")) for column in columns) for node in nodes)


def page_after(rows: QuerySet[Any], by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> QuerySet[Any]:
    """The statement that a page deep in `rows` asks."""
    asked: list[QuerySet[Any]] = []
    first = page_of_rows(RequestFactory().get("/"), rows, by=by, size=50)
    cut = QuerySet.__getitem__

    def noting(self: QuerySet[Any], at: Any) -> Any:
        asked.append(cut(self, at))
        return asked[-1]

    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "__getitem__", noting)
        page_of_rows(RequestFactory().get("/", {"after": str(first.after)}), rows, by=by, size=50)
    return asked[0]


def test_each_page_begins_where_an_index_leads(acme: Organization, briefing, monkeypatch):
    with scope(acme, "as its pages do"):
        checks = CandidateCheck.objects.for_organization(acme)
        results = page_after(latest_checks(briefing), ("rank", "-candidate_id"), monkeypatch)
        every_check = page_after(checks, ("-accepted_at", "pk"), monkeypatch)
        people = page_after(Candidate.objects.for_organization(acme), ("-pk",), monkeypatch)

        assert is_read_by(results, "briefing_id", "rank")
        assert is_read_by(every_check, "organization_id", "accepted_at")
        assert is_read_by(people, "id")


def test_briefings_with_a_model_of_their_own_are_found_among_many(acme: Organization, simulated_providers):
    """Their index holds no others, so the organization is all that it is searched by."""
    Briefing.objects.bulk_create(Briefing(organization=acme, title=f"Engineer {number}") for number in range(PEOPLE))
    choose_model(briefing=write_briefing(acme), key=connect_key(acme), model="openai/gpt-4.1-mini", actor=None)
    analyze()

    with scope(acme, "as its pages do"), plans_of_what_is_asked() as asked:
        assert len(newest(organization=acme, most=20)) == 1

    ((_, plan_asked),) = asked
    assert "briefing_with_model" in plan_asked


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL counts by itself")
@pytest.mark.parametrize("known", SQLITE_KNOWS)
def test_sqlite_never_reads_all_checks_whatever_it_knows(acme, as_bob, briefing, known):
    person, picker = (
        Candidate.objects.for_organization(acme).latest("pk"),
        f"briefings/{briefing.pk}/?tab=candidates&show=all",
    )
    have_sqlite_know(known)

    with plans_of_what_is_asked() as asked:
        for page in ("candidates/", "briefings/", f"candidates/{person.pk}/", picker):
            assert as_bob.get(f"/o/acme/{page}").status_code == 200

    plans = [line for sql, plan in asked if 'FROM "candidates_candidatecheck"' in sql for line in plan.splitlines()]
    assert any("check_by_candidate (organization_id=? AND candidate_id=?)" in line for line in plans)
    assert any("check_by_briefing (organization_id=? AND briefing_id=?" in line for line in plans)
    for line in plans:
        assert "check" not in line or ("(organization_id=?)" not in line and not line.startswith("SCAN")), line


def test_how_many_are_found_is_counted_without_going_through_people(acme, briefing):
    with scope(acme, "as its pages do"), plans_of_what_is_asked() as asked:
        assert count_found(acme, "person p") == PEOPLE

    assert ['candidates_candidate"' in sql for sql, _ in asked] == [False]


def test_a_word_is_looked_up_once_for_everybody_whatever_the_statistics(acme: Organization, briefing, monkeypatch):
    people = Candidate.objects.for_organization(acme)
    with scope(acme, "as its pages do"):
        assert [str(person) for person in found_by(people, acme, "q42")] == ["Person q42"]
        monkeypatch.setattr(search, "FEW", 0)
        found = found_by(people, acme, "q42")

        assert [str(person) for person in found] == ["Person q42"]
        assert any(
            all(column in str(node.get("Index Cond", "")) for column in ("organization_id", "word"))
            for node in plan(found)
        )
        assert connection.vendor != "postgresql" or any("hashed" in str(node.get("Filter")) for node in plan(found))
