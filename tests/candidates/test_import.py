from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from candidates.models import Candidate, Profile
from candidates.profiles import importing
from candidates.profiles.files import parse_file
from candidates.profiles.importing import CHUNK_ROWS, ImportReport, import_profiles
from organizations.models import AuditEvent, Organization

REAL_PROFILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "candidates"


def resume(name: str = "Noor Example", **basics: Any) -> dict[str, Any]:
    return {"basics": {"name": name, **basics}}


def wrapped(candidate_id: object, content: dict[str, Any]) -> dict[str, Any]:
    return {"candidate_id": candidate_id, "resume": content}


def linked_in(slug: str) -> dict[str, Any]:
    return {"profiles": [{"network": "LinkedIn", "url": f"https://www.linkedin.com/in/{slug}"}]}


def run(organization: Organization, rows: Iterable[object], **options: Any) -> ImportReport:
    data = "\n".join(json.dumps(row) for row in rows).encode()
    return import_profiles(organization=organization, rows=parse_file(data), actor=None, **options)


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.imported, report.updated, report.unchanged, len(report.errors)


def test_an_import_stores_person_and_profile(acme):
    row = wrapped("A-17", resume(label="Engineer", email="Noor@Example.com", **linked_in("Noor-Example")))

    report = run(acme, [row])

    assert counts(report) == (1, 0, 0, 0)
    candidate = Candidate.objects.get()
    assert (candidate.name, candidate.headline) == ("Noor Example", "Engineer")
    assert candidate.link == "https://linkedin.com/in/noor-example"
    assert (candidate.email, candidate.external_id) == ("noor@example.com", "A-17")
    profile = Profile.objects.get()
    assert (profile.candidate, profile.version, profile.organization) == (candidate, 1, acme)
    assert profile.content == row["resume"]


def test_the_same_rows_again_add_nothing(acme):
    rows = [
        wrapped("A-17", resume()),
        resume("By Link", **linked_in("by-link")),
        resume("By E-mail", email="by@example.com"),
        resume("By Content"),
    ]
    run(acme, rows)

    report = run(acme, rows)

    assert counts(report) == (0, 0, 4, 0)
    assert (Candidate.objects.count(), Profile.objects.count()) == (4, 4)


def test_the_same_row_twice_in_a_file_is_added_once(acme):
    for row in (wrapped("A-17", resume()), resume("By Content")):
        assert counts(run(acme, [row, row])) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    "keys",
    [linked_in("noor"), {"email": "noor@example.com"}, {}],
    ids=["link", "e-mail", "candidate_id"],
)
def test_changed_content_is_a_new_version_of_the_matched_person(acme, keys):
    candidate_id = None if keys else "A-17"
    run(acme, [wrapped(candidate_id, resume(label="Engineer", **keys))])

    report = run(acme, [wrapped(candidate_id, resume(label="Staff Engineer", **keys))])

    assert counts(report) == (0, 1, 0, 0)
    candidate = Candidate.objects.get()
    assert candidate.headline == "Staff Engineer"
    assert list(candidate.profiles.order_by("version").values_list("version", flat=True)) == [1, 2]


def test_a_spelling_of_the_link_or_the_email_is_not_another_person(acme):
    run(acme, [resume(**linked_in("noor"), email="noor@example.com")])

    report = run(
        acme,
        [
            resume(profiles=[{"network": "LinkedIn", "url": "http://nl.linkedin.com/in/Noor/?trk=x"}]),
            resume(email="NOOR@example.com "),
        ],
    )

    assert counts(report) == (0, 2, 0, 0)
    assert Candidate.objects.count() == 1


def test_content_that_comes_back_is_a_new_version(acme):
    for label in ("Engineer", "Manager", "Engineer"):
        run(acme, [wrapped("A-17", resume(label=label))])

    assert Profile.objects.count() == 3
    assert Profile.objects.order_by("-version")[0].content["basics"]["label"] == "Engineer"


@pytest.mark.parametrize("labels", [["One", "Two"], ["One", "Two", "One"], ["One", "Two", "Three", "Two"]])
def test_a_file_with_several_versions_of_a_person_adds_nothing_the_second_time(acme, labels):
    rows = [wrapped("A-17", resume(label=label)) for label in labels]
    assert counts(run(acme, rows)) == (1, len(labels) - 1, 0, 0)

    report = run(acme, rows)

    assert counts(report) == (0, 0, len(labels), 0)
    assert Candidate.objects.get().headline == labels[-1]


def test_a_row_whose_keys_name_two_people_is_refused_and_changes_nothing(acme):
    run(acme, [resume("Ann Example", **linked_in("ann")), resume("Ben Example", email="ben@example.com")])
    before = list(Candidate.objects.order_by("pk").values())

    report = run(acme, [resume("Ann Example", email="ben@example.com", **linked_in("ann"))])

    assert counts(report) == (0, 0, 0, 1)
    assert report.errors[0].line == 1
    assert report.errors[0].reason == (
        "Its profile link is that of “Ann Example”, but its e-mail is that of “Ben Example”. "
        "Correct the one that is wrong."
    )
    assert list(Candidate.objects.order_by("pk").values()) == before
    assert Profile.objects.count() == 2


def test_a_row_that_nothing_but_its_content_identifies_takes_no_turns_with_others(acme):
    rows = [wrapped("1", resume()), wrapped("1", resume(label="Welder")), resume()]

    first, again = run(acme, rows), run(acme, rows)

    assert counts(first) == (1, 2, 0, 0)
    assert counts(again) == (0, 0, 3, 0)
    assert Profile.objects.count() == 3


def test_content_comes_back_though_a_row_without_keys_has_that_of_somebody_else(acme):
    other, now, before = wrapped("2", resume(label="Welder")), resume(label="Welder"), resume(label="Nurse")
    run(acme, [other, wrapped("1", before), wrapped("1", now)])

    report = run(acme, [wrapped("1", before), now])

    assert counts(report) == (0, 1, 1, 0)
    assert Profile.objects.get(candidate__external_id="1", version=3).content == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            wrapped("1", resume("Ann Example", email="office@example.com")),
            wrapped("2", resume("Ben Sample", email="office@example.com")),
        ),
        (
            resume("Ann Example", email="office@example.com", **linked_in("ann")),
            resume("Ben Sample", email="office@example.com", **linked_in("ben")),
        ),
        (
            wrapped("1", resume("Ann Example", email="ann@example.com")),
            wrapped("1", resume("Ben Sample", email="ben@example.com")),
        ),
    ],
    ids=["shared e-mail", "shared e-mail, other links", "same candidate_id from another source"],
)
def test_people_who_share_a_weak_key_are_not_merged(acme, first, second):
    report = run(acme, [first, second])

    assert counts(report) == (1, 0, 0, 1)
    assert "Ann Example" in report.errors[0].reason
    assert Candidate.objects.get().name == "Ann Example"
    assert counts(run(acme, [first, second])) == (0, 0, 1, 1)


def test_somebody_with_a_new_email_stays_the_same_person(acme):
    run(acme, [wrapped("A-17", resume("Noor Example", email="old@example.com"))])

    report = run(acme, [wrapped("A-17", resume("Noor B. Example", email="new@example.com"))])

    assert counts(report) == (0, 1, 0, 0)
    candidate = Candidate.objects.get()
    assert (candidate.name, candidate.email) == ("Noor B. Example", "new@example.com")


def test_a_link_given_up_and_taken_by_another_in_one_file(acme):
    run(acme, [wrapped("A", resume("Ann Example", **linked_in("ann")))])

    report = run(
        acme,
        [
            wrapped("A", resume("Ann Example", **linked_in("ann-example"))),
            wrapped("B", resume("Ann Otherwise", **linked_in("ann"))),
        ],
    )

    assert counts(report) == (1, 1, 0, 0)
    assert set(Candidate.objects.values_list("external_id", "link")) == {
        ("A", "https://linkedin.com/in/ann-example"),
        ("B", "https://linkedin.com/in/ann"),
    }


def test_a_candidate_id_learnt_later_is_kept(acme):
    run(acme, [resume()])

    report = run(acme, [wrapped("A-17", resume())])

    assert counts(report) == (0, 0, 1, 0)
    assert Candidate.objects.get().external_id == "A-17"


def test_equal_content_under_two_candidate_ids_is_two_people(acme):
    rows = [wrapped("A-1", resume("Kim Example")), wrapped("A-2", resume("Kim Example"))]

    assert counts(run(acme, rows)) == (2, 0, 0, 0)
    assert counts(run(acme, rows)) == (0, 0, 2, 0)


def test_another_organization_shares_nobody(acme, globex):
    row = wrapped("A-17", resume(email="noor@example.com", **linked_in("noor")))
    run(acme, [row])

    assert counts(run(globex, [row])) == (1, 0, 0, 0)
    assert Candidate.objects.for_organization(acme).count() == 1


def test_good_rows_are_kept_and_errors_come_in_the_order_of_the_file(acme):
    run(acme, [resume("Ann Example", **linked_in("ann")), resume("Ben Example", email="ben@example.com")])
    conflict = resume("Ann Example", email="ben@example.com", **linked_in("ann"))

    report = run(acme, [conflict, 7, resume("Good Person"), {}, conflict])

    assert counts(report) == (1, 0, 0, 4)
    assert [error.line for error in report.errors] == [1, 2, 4, 5]


def test_what_databases_refuse_in_json_is_stored_readably(acme):
    report = run(acme, [resume("No\x00or \ud800Example", summary="a\x00b", extra={"k\x00ey": "\udfff"})])

    assert counts(report) == (1, 0, 0, 0)
    assert Candidate.objects.get().name == "Noor \ufffdExample"
    assert Profile.objects.get().content["basics"]["extra"] == {"key": "\ufffd"}


def test_an_import_is_in_the_audit_log_unless_it_changed_nothing(acme, alice):
    rows = parse_file(json.dumps(resume()).encode())

    for _ in range(2):
        import_profiles(organization=acme, rows=rows, actor=alice)

    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.details) == (
        "profiles.imported",
        alice,
        {"imported": 1, "updated": 0},
    )


def test_progress_is_told_and_queries_do_not_grow_with_the_rows(acme, django_assert_max_num_queries):
    rows = [wrapped(f"A-{number}", resume(f"Person {number}")) for number in range(CHUNK_ROWS + 1)]
    told: list[int] = []

    with django_assert_max_num_queries(30):
        run(acme, rows, on_progress=told.append)

    assert told == [CHUNK_ROWS, CHUNK_ROWS + 1]
    assert Candidate.objects.count() == CHUNK_ROWS + 1


def test_large_profiles_share_a_transaction_with_few_others(acme, monkeypatch):
    monkeypatch.setattr(importing, "CHUNK_CHARACTERS", 1000)
    told: list[int] = []

    run(acme, [resume(f"Person {number}", summary="x " * 200) for number in range(5)], on_progress=told.append)

    assert told == [3, 5]


def test_no_statement_of_an_import_needs_statistics_to_choose_a_join(acme):
    """Fresh tables have none, and PostgreSQL then joined people and profiles by reading all of both for each chunk."""
    with CaptureQueriesContext(connection) as statements:
        run(acme, [resume("By Content"), resume("By E-mail", email="by@example.com")])

    tables = (Candidate._meta.db_table, Profile._meta.db_table)
    assert not [sql for query in statements if all(f'"{table}"' in (sql := query["sql"]) for table in tables)]


@pytest.mark.skipif(not REAL_PROFILES.is_dir(), reason=f"{REAL_PROFILES} is not there")
def test_all_profiles_of_the_sample_data_import_once(acme):
    rows = [row for file in sorted(REAL_PROFILES.glob("*.jsonl")) for row in parse_file(file.read_bytes())]

    started = time.monotonic()
    first = import_profiles(organization=acme, rows=rows, actor=None)
    seconds = time.monotonic() - started
    second = import_profiles(organization=acme, rows=rows, actor=None)

    assert first == ImportReport(imported=1864, updated=0, unchanged=0)
    assert second == ImportReport(imported=0, updated=0, unchanged=1864)
    assert seconds < 30


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite writes one at a time anyhow")
@pytest.mark.django_db(transaction=True)
def test_the_same_file_imported_twice_at_once_adds_nobody_twice(acme):
    rows = parse_file(
        "\n".join(
            json.dumps(wrapped(f"A-{number}" if number % 2 else None, resume(f"Person {number}")))
            for number in range(3 * CHUNK_ROWS)
        ).encode()
    )
    barrier = threading.Barrier(3)
    reports: list[ImportReport] = []

    def work() -> None:
        try:
            barrier.wait()
            reports.append(import_profiles(organization=acme, rows=rows, actor=None))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(report.imported for report in reports) == len(rows)
    assert sum(report.unchanged for report in reports) == 2 * len(rows)
    assert Candidate.objects.count() == Profile.objects.count() == len(rows)
