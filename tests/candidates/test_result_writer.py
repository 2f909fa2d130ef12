"""Results are written as many together as there are; each is written once, and none harms another."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
from django.db import connection

from billing.ledger import balance
from billing.models import LedgerEntry
from billing.verification import verify_ledger
from candidates import acceptance, failures, result_writer
from candidates.acceptance import accept_checks
from candidates.check_work import Claim, OrganizationWork
from candidates.models import CandidateCheck, RequirementVerdict
from candidates.prompts.check import Verdict
from candidates.result_writer import Result, write_results
from organizations import clock
from organizations.models import Organization
from tests.billing.test_concurrency import at_once
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("simulated_providers")]
Status = CandidateCheck.Status
PRICE = 1  # credits of a check on one's own key


@pytest.fixture(autouse=True)
def _no_work_before_it_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)


def claimed(organization: Organization, people: int) -> list[Claim]:
    give_credits(organization, people * PRICE)
    accept_checks(
        organization=organization,
        briefing=write_briefing(organization, ("Django", "must"), ("Kafka", "nice")),
        candidates=import_people(organization, *["Builds Django services."] * people),
        actor=None,
        now=clock.now(),
    )
    return OrganizationWork(organization)._claim(people)


def completed(claim: Claim, verdict: str = "met") -> Result:
    said = RequirementVerdict.Verdict(verdict)
    verdicts = [Verdict(requirement.pk, said, "", "So it is.") for requirement in claim.requirements]
    return Result(claim.check_id, claim.token, verdicts)


def write(organization: Organization, results: Sequence[Result]) -> list[Status]:
    return list(write_results(organization, results))


def statuses() -> list[str]:
    return sorted(CandidateCheck.objects.values_list("status", flat=True))


def test_many_results_are_written_with_their_verdicts_and_captures(acme):
    route_to_own_key(acme)
    claims = claimed(acme, 7)

    written = write(acme, [completed(claim) for claim in claims])

    assert written == [Status.COMPLETED] * 7
    assert set(CandidateCheck.objects.values_list("status", "charged", "score", "category", "lease_token")) == {
        (Status.COMPLETED, PRICE, 100, "strong", None)
    }
    assert RequirementVerdict.objects.count() == 14
    assert RequirementVerdict.objects.filter(verdict="met", reason="So it is.").count() == 14
    assert LedgerEntry.objects.filter(kind="capture").count() == 7
    assert (balance(organization=acme).posted, balance(organization=acme).held) == (0, 0)
    assert verify_ledger(organization=acme) == []


def test_as_many_statements_write_many_results_as_few(acme, django_assert_max_num_queries, django_assert_num_queries):
    route_to_own_key(acme)
    claims = claimed(acme, 42)

    with django_assert_max_num_queries(25) as asked:
        write(acme, [completed(claim) for claim in claims[:2]])
    with django_assert_num_queries(len(asked)):
        write(acme, [completed(claim) for claim in claims[2:]])


def test_results_whose_lease_was_lost_are_dropped_and_the_others_written(acme):
    route_to_own_key(acme)
    claims = claimed(acme, 4)
    CandidateCheck.objects.filter(pk=claims[1].check_id).update(lease_token=uuid.uuid4())
    write(acme, [Result(claims[2].check_id, claims[2].token, failures.CLOSED)])

    written = write(acme, [completed(claim) for claim in claims])

    assert written == [Status.COMPLETED] * 2
    assert statuses() == ["completed", "completed", "failed", "in_progress"]
    assert RequirementVerdict.objects.count() == 4
    assert (balance(organization=acme).posted, balance(organization=acme).held) == (2, 1)
    assert verify_ledger(organization=acme) == []


def test_a_lease_of_one_check_is_none_of_another(acme):
    route_to_own_key(acme)
    one, other = claimed(acme, 2)
    CandidateCheck.objects.filter(pk=other.check_id).update(lease_token=uuid.uuid4())
    (token,) = CandidateCheck.objects.filter(pk=other.check_id).values_list("lease_token", flat=True)
    assert token is not None

    written = write(acme, [Result(one.check_id, token, completed(one).outcome), completed(other)])

    assert written == []
    assert statuses() == ["in_progress", "in_progress"]


def test_writing_results_again_writes_and_charges_nothing_more(acme):
    route_to_own_key(acme)
    results = [completed(claim) for claim in claimed(acme, 3)]
    write(acme, results)

    assert write(acme, results) == []

    assert LedgerEntry.objects.filter(kind="capture").count() == 3
    assert RequirementVerdict.objects.count() == 6
    assert verify_ledger(organization=acme) == []


def test_completed_and_failed_results_come_together(acme):
    route_to_own_key(acme)
    claims = claimed(acme, 4)
    results = [
        Result(claim.check_id, claim.token, failures.INTERRUPTED) if place % 2 else completed(claim)
        for place, claim in enumerate(claims)
    ]

    written = write(acme, results)

    assert sorted(written) == ["completed", "completed", "failed", "failed"]
    assert {(check.status, check.charged, check.why_failed) for check in CandidateCheck.objects.all()} == {
        (Status.COMPLETED, PRICE, ""),
        (Status.FAILED, 0, failures.INTERRUPTED.sentence),
    }
    assert (balance(organization=acme).posted, balance(organization=acme).held) == (2, 0)
    assert verify_ledger(organization=acme) == []


@pytest.mark.django_db(transaction=True)
def test_a_result_that_cannot_be_written_leaves_the_others_alone(acme, monkeypatch, caplog):
    route_to_own_key(acme)
    claims = claimed(acme, 5)
    poisoned = claims[2].check_id
    row = result_writer._verdict_row

    def broken(organization_id, check_id, verdict):
        return row(organization_id, check_id, verdict) if check_id != poisoned else 1 // 0

    monkeypatch.setattr(result_writer, "_verdict_row", broken)
    work = OrganizationWork(acme)

    errors = work._results._errors_of([completed(claim) for claim in claims])

    assert [type(error) for error in errors] == [type(None)] * 2 + [ZeroDivisionError] + [type(None)] * 2
    assert work.counts == {Status.COMPLETED: 4}
    assert statuses() == ["completed"] * 4 + ["in_progress"]
    assert (balance(organization=acme).posted, balance(organization=acme).held) == (1, 1)
    assert verify_ledger(organization=acme) == []


def test_a_free_check_captures_nothing(acme):
    route_to_own_key(acme)
    (claim,) = claimed(acme, 1)
    CandidateCheck.objects.update(price=0, hold=None)

    assert write(acme, [completed(claim, "not_met")]) == [Status.COMPLETED]

    check = CandidateCheck.objects.get()
    assert (check.charged, check.category) == (0, "none")
    assert not LedgerEntry.objects.filter(kind="capture").exists()


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
@pytest.mark.django_db(transaction=True)
def test_two_who_write_the_same_results_in_opposite_orders_never_wait_in_a_circle(acme):
    route_to_own_key(acme)
    results = [completed(claim) for claim in claimed(acme, 40)]

    answers = at_once([lambda: write(acme, results), lambda: write(acme, results[::-1])] * 4, threads=8)

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert statuses() == ["completed"] * 40
    assert LedgerEntry.objects.filter(kind="capture").count() == 40
    assert verify_ledger(organization=acme) == []
