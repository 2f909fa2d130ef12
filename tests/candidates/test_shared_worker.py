"""One worker serves the checks of everybody: a server that never answers holds up those who asked it, nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest
from django.db.models import Count

from billing.ledger import release_hold
from billing.postings import LedgerBroken
from billing.verification import verify_ledger
from candidates import acceptance, check_endings, worker
from candidates.acceptance import accept_checks
from candidates.check_work import OrganizationWork
from candidates.models import CandidateCheck
from candidates.result_writer import Result
from candidates.worker import run_pending_checks
from organizations import clock
from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from tests.builders import give_credits, import_people, write_briefing
from tests.served import wait_until
from tests.stuck_server import StuckServer, route_to, stuck_server
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)  # what is told of a finished check waits for the commit
DJANGO = "Builds Django services."
Status = CandidateCheck.Status


@pytest.fixture
def server(settings, monkeypatch) -> Iterator[StuckServer]:
    monkeypatch.setattr(acceptance, "queue_checks", lambda: None)
    with stuck_server() as running:
        settings.KEYFARE_PROVIDER_ORIGINS = running.origins
        yield running


def customer(name: str, *, never_answers: bool, people: int) -> Organization:
    organization = Organization.objects.create(name=name, slug=name)
    route_to(organization, never_answers=never_answers)
    accept(organization, people)
    return organization


def accept(organization: Organization, people: int) -> None:
    give_credits(organization, people)
    accept_checks(
        organization=organization,
        briefing=write_briefing(organization, ("Django", "must")),
        candidates=import_people(organization, *[DJANGO] * people),
        actor=None,
        now=clock.now(),
    )


def completed(organization: Organization) -> int:
    return CandidateCheck.objects.filter(organization=organization, status=Status.COMPLETED).count()


def work(**options) -> worker.Worked:
    with scope(EVERY, "as the task does"):
        return run_pending_checks(**options)


@pytest.mark.parametrize("hanging", [1, 2, 5])
def test_checks_complete_while_all_calls_of_others_hang(server, settings, hanging):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 4
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 120
    stuck = [customer(f"stuck-{number}", never_answers=True, people=6) for number in range(hanging)]
    acme = customer("acme", never_answers=False, people=6)
    server.is_stuck = True
    held_at_the_end = []

    def finished(status: Status) -> None:
        if completed(acme) == 6:
            held_at_the_end.append(server.held)
            server.is_stuck = False

    worked = work(on_finished=finished)

    assert held_at_the_end[0] >= hanging
    assert (worked.completed, worked.failed) == (6 * hanging + 6, 0)
    for organization in [*stuck, acme]:
        assert UsageEvent.objects.filter(organization=organization, action="candidate_check").count() == 6
        assert verify_ledger(organization=organization) == []


def test_checks_that_are_accepted_while_all_calls_of_others_hang_are_begun_at_once(server, settings, monkeypatch):
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 120
    acme = Organization.objects.create(name="acme", slug="acme")
    route_to(acme, never_answers=False)
    customer("stuck", never_answers=True, people=3)
    server.is_stuck = True
    found = worker._organizations_that_wait

    def find() -> set[int]:
        if server.held == 3 and not CandidateCheck.objects.filter(organization=acme).exists():
            accept(acme, 2)
        return found()

    def finished(status: Status) -> None:
        server.is_stuck = completed(acme) < 2

    monkeypatch.setattr(worker, "_organizations_that_wait", find)

    assert work(on_finished=finished).completed == 5


def test_one_organization_alone_has_no_more_in_flight_than_its_share(server, settings):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 4
    loop = worker._Loop(None, None)
    alone = OrganizationWork(customer("acme", never_answers=False, people=1))
    loop.works, loop.waiting = {alone.organization_id: alone}, {alone.organization_id}

    assert [room for _, room in loop._rooms()] == [4]
    alone.in_flight = 4
    assert list(loop._rooms()) == []


def test_what_breaks_the_checks_of_one_organization_leaves_those_of_others_alone(server, caplog):
    broken = customer("broken", never_answers=False, people=2)
    acme = customer("acme", never_answers=False, people=2)
    CandidateCheck.objects.filter(organization=broken).update(route={})

    assert work().completed == 2

    assert completed(acme) == 2
    assert f"The checks of organization {broken.pk} could not be claimed" in caplog.text


def test_checks_that_were_interrupted_too_often_hide_none_that_were_not(server, settings):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 2
    acme = customer("acme", never_answers=False, people=5)
    oldest = CandidateCheck.objects.order_by("accepted_at", "pk").values_list("pk", flat=True)[:4]
    CandidateCheck.objects.filter(pk__in=list(oldest)).update(attempts=3)

    worked = work()

    assert (worked.completed, worked.failed) == (1, 4)
    statuses = CandidateCheck.objects.filter(organization=acme).values_list("status").annotate(Count("pk"))
    assert dict(statuses) == {Status.COMPLETED: 1, Status.FAILED: 4}


def test_a_check_that_cannot_even_be_ended_holds_up_no_other(server, monkeypatch, caplog):
    acme = customer("acme", never_answers=False, people=4)
    oldest = CandidateCheck.objects.order_by("accepted_at", "pk")[:2]
    broken, exhausted = (check.pk for check in oldest)
    CandidateCheck.objects.filter(pk__in=[broken, exhausted]).update(attempts=3)

    def release(*, organization: Organization, hold_id: UUID) -> object:
        if hold_id == broken:
            raise LedgerBroken("Holds are pending that the account or the entries know nothing of.")
        return release_hold(organization=organization, hold_id=hold_id)

    monkeypatch.setattr(check_endings, "release_hold", release)

    worked = work()

    assert (worked.completed, worked.failed) == (2, 1)
    assert CandidateCheck.objects.get(pk=broken).status == Status.IN_PROGRESS
    assert f"Check {broken} was interrupted too often, and cannot be ended" in caplog.text
    assert completed(acme) == 2


def test_results_that_wait_when_ctrl_c_comes_are_written_and_not_asked_for_again(server, monkeypatch):
    acme = customer("acme", never_answers=False, people=5)
    interrupted: list[int] = []
    write = OrganizationWork._write

    def interrupt_once(work: OrganizationWork, results: Sequence[Result]) -> None:
        """Once all calls are in the books, and all results wait that are not written yet."""
        if not interrupted and UsageEvent.objects.filter(action="candidate_check").count() == 5:
            left = 5 - completed(acme)
            wait_until(lambda: len(work._results._waiting) == left)
            interrupted.append(left)
            raise KeyboardInterrupt
        write(work, results)

    monkeypatch.setattr(OrganizationWork, "_write", interrupt_once)

    with pytest.raises(KeyboardInterrupt):
        work()

    assert interrupted
    assert completed(acme) == 5


def test_a_worker_that_is_to_stop_or_out_of_time_claims_nothing(server):
    customer("acme", never_answers=False, people=1)

    assert work(is_stopping=lambda: True) == worker.Worked(completed=0, failed=0, ran_out_of_time=True)
    assert CandidateCheck.objects.filter(attempts=0).count() == 1


def test_calls_under_way_are_waited_for_when_the_database_cannot_be_asked_for_more(server, monkeypatch):
    acme = customer("acme", never_answers=False, people=2)
    looks = []

    def find() -> set[int]:
        looks.append(1)
        if len(looks) > 1:
            raise RuntimeError("no database")
        return {acme.pk}

    monkeypatch.setattr(worker, "_organizations_that_wait", find)

    with pytest.raises(RuntimeError, match="no database"):
        work()

    assert completed(acme) == 2


def test_a_call_that_takes_longer_than_a_lease_is_made_once(server, settings):
    """As of a slow model, for which the operator has raised KEYFARE_CALL_TIMEOUT_SECONDS above the lease."""
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 120
    settings.KEYFARE_CHECK_LEASE_SECONDS = 2
    acme = customer("acme", never_answers=True, people=3)
    server.is_stuck = True
    answers = threading.Timer(6, lambda: setattr(server, "is_stuck", False))
    answers.start()

    assert work().completed == 3

    answers.join()
    assert set(CandidateCheck.objects.filter(organization=acme).values_list("attempts", flat=True)) == {1}
    assert UsageEvent.objects.filter(organization=acme, action="candidate_check").count() == 3
