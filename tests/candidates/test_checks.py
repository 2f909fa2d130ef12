"""Checks from acceptance to result, against the simulator over real sockets."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.ledger import NotEnoughCredits, balance
from billing.verification import verify_ledger
from candidates import acceptance, result_writer, tasks
from candidates.acceptance import (
    BriefingNotReady,
    PriceRose,
    accept_checks,
    organizations_with_waiting_checks,
)
from candidates.check_work import MAX_CLAIMS
from candidates.models import CandidateCheck, ProfileSighting, RequirementVerdict
from candidates.worker import run_pending_checks
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.resolve import RouteUnavailable
from simulator.wires.base import Reply
from tests.builders import (
    before_settling,
    connect_key,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from usage.models import InFlightCall, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
Status = CandidateCheck.Status
DJANGO = "Builds Django services on PostgreSQL."
UNREADABLE = "Builds Django services. [[simulate-unparsable]]"


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"))


def accept(briefing, people, **options):
    return accept_checks(
        organization=briefing.organization,
        briefing=briefing,
        candidates=people,
        actor=None,
        now=timezone.now(),
        **options,
    )


def check(briefing, people) -> list[CandidateCheck]:
    accepted = accept(briefing, people).checks
    run_pending_checks(organization_id=briefing.organization_id)
    return [CandidateCheck.objects.get(pk=row.pk) for row in accepted]


def test_a_managed_check_of_a_new_person_costs_4_and_its_recheck_2(acme, briefing):
    connect_managed_key()
    give_credits(acme, 10)
    people = import_people(acme, DJANGO)

    (first,) = check(briefing, people)
    (second,) = check(briefing, people)

    assert (first.status, first.mode, first.kind, first.charged) == (Status.COMPLETED, "managed", "new", 4)
    assert (second.status, second.kind, second.charged) == (Status.COMPLETED, "recent", 2)
    assert balance(organization=acme).available == 4
    assert verify_ledger(organization=acme) == []


def test_a_byok_check_of_a_new_person_costs_1_and_its_recheck_is_free_at_balance_0(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)
    people = import_people(acme, DJANGO)

    (first,) = check(briefing, people)
    (second,) = check(briefing, people)

    assert (first.mode, first.charged) == ("byok", 1)
    assert (second.status, second.kind, second.charged, second.hold) == (Status.COMPLETED, "recent", 0, None)
    assert balance(organization=acme).available == 0


def test_a_result_holds_a_verdict_with_its_quote_for_each_requirement(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)

    (done,) = check(briefing, import_people(acme, DJANGO))

    verdicts = list(RequirementVerdict.objects.filter(check_row=done).order_by("requirement__position"))
    assert [row.verdict for row in verdicts] == ["met", "met"]
    assert all(row.quote in DJANGO and row.quote for row in verdicts)
    assert (done.score, done.category) == (100, "strong")


def test_every_call_leaves_one_priced_usage_event_and_nothing_in_flight(acme, briefing):
    key = route_to_own_key(acme)
    give_credits(acme, 2)

    done = check(briefing, import_people(acme, DJANGO, DJANGO))

    events = list(UsageEvent.objects.for_organization(acme))
    assert {event.run_id for event in events} == {row.run_id for row in done}
    assert all(event.key_id == key.pk and event.mode == "byok" for event in events)
    assert all(event.cost_nanousd and event.output_tokens for event in events)
    assert not InFlightCall.objects.exists()


def test_a_check_tells_its_instructions_the_profile_and_the_briefing_apart(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)

    check(briefing, import_people(acme, UNREADABLE))

    first, asked_again = UsageEvent.objects.for_organization(acme).order_by("iteration")
    assert first.system_tokens > first.retrieved_tokens > 0
    assert first.user_tokens > first.history_tokens == first.tools_tokens == 0
    assert asked_again.history_tokens > asked_again.user_tokens > 0
    for event in (first, asked_again):
        parts = event.system_tokens + event.retrieved_tokens + event.history_tokens + event.user_tokens
        assert parts == event.input_tokens > 0
        assert event.input_cost_nanousd
        assert event.cost_nanousd
        assert event.input_cost_nanousd < event.cost_nanousd


def test_an_unparsable_answer_is_asked_for_once_more_then_the_check_fails_free_of_charge(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)

    (failed,) = check(briefing, import_people(acme, UNREADABLE))

    assert (failed.status, failed.charged) == (Status.FAILED, 0)
    assert failed.why_failed == ("The model's answer could not be read, twice: it holds no complete JSON object.")
    assert failed.failure_reason == {
        "code": "answer.unreadable",
        "parameters": {"fault": {"code": "fault.no_object"}},
    }
    assert UsageEvent.objects.filter(run_id=failed.run_id).count() == 2
    assert balance(organization=acme) == type(balance(organization=acme))(posted=1, held=0, available=1)
    assert not ProfileSighting.objects.exists()
    assert verify_ledger(organization=acme) == []


def test_one_failing_check_leaves_the_others_of_its_batch_alone(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 3)

    rows = check(briefing, import_people(acme, DJANGO, UNREADABLE, DJANGO))

    assert [row.status for row in rows] == [Status.COMPLETED, Status.FAILED, Status.COMPLETED]
    assert balance(organization=acme).available == 1


def test_too_few_credits_start_nothing(acme, briefing):
    connect_managed_key()
    give_credits(acme, 7)
    people = import_people(acme, DJANGO, DJANGO)

    with pytest.raises(NotEnoughCredits, match="8"):
        accept(briefing, people)

    assert not CandidateCheck.objects.exists()
    assert balance(organization=acme).held == 0


def test_a_price_above_the_agreed_one_starts_nothing(acme, briefing):
    connect_managed_key()
    give_credits(acme, 100)
    people = import_people(acme, DJANGO)

    with pytest.raises(PriceRose):
        accept(briefing, people, agreed_credits=2)

    assert not CandidateCheck.objects.exists()


def test_a_briefing_without_requirements_starts_nothing(acme):
    connect_managed_key()
    give_credits(acme, 100)

    with pytest.raises(BriefingNotReady):
        accept(write_briefing(acme), import_people(acme, DJANGO))


def test_without_any_managed_key_the_sentence_says_what_is_missing(acme, briefing):
    with pytest.raises(RouteUnavailable, match="No model serves checks yet"):
        accept(briefing, import_people(acme, DJANGO))


def test_a_broken_own_key_never_falls_back_to_the_managed_one(acme, briefing):
    connect_managed_key()
    key = route_to_own_key(acme)
    give_credits(acme, 100)
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.INVALID)

    with pytest.raises(RouteUnavailable, match="Invalid"):
        accept(briefing, import_people(acme, DJANGO))


def test_a_key_that_breaks_after_acceptance_fails_the_check_free_of_charge(acme, briefing):
    connect_managed_key()
    key = route_to_own_key(acme)
    give_credits(acme, 1)
    (row,) = accept(briefing, import_people(acme, DJANGO)).checks
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.INVALID)

    run_pending_checks(organization_id=acme.pk)

    row.refresh_from_db()
    assert (row.status, row.charged) == (Status.FAILED, 0)
    assert "Invalid" in row.why_failed
    assert balance(organization=acme).available == 1
    assert not UsageEvent.objects.exists()


def test_a_key_refused_by_the_provider_is_shown_as_broken(acme, briefing):
    key = connect_key(acme, kind="invalid")
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.CONNECTED)
    for action in ("candidate_check", "requirement_generation"):
        RoutingRule.objects.create(organization=acme, action=action, key=key, model="openai/gpt-4.1-mini")
    give_credits(acme, 1)

    (row,) = check(briefing, import_people(acme, DJANGO))

    assert row.status == Status.FAILED
    assert ProviderKey.objects.get().status == ProviderKey.Status.INVALID


def test_a_candidate_with_an_open_check_is_skipped(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 2)
    people = import_people(acme, DJANGO)
    accept(briefing, people)

    again = accept(briefing, people)

    assert (again.checks, again.skipped) == ([], 1)


def test_a_worker_that_died_loses_its_checks_to_the_next_one(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)
    (row,) = accept(briefing, import_people(acme, DJANGO)).checks
    died = timezone.now() - timedelta(seconds=1)
    CandidateCheck.objects.update(status=Status.IN_PROGRESS, lease_token=uuid.uuid4(), lease_until=died, attempts=1)

    assert organizations_with_waiting_checks(now=timezone.now()) == [acme.pk]
    run_pending_checks(organization_id=acme.pk)

    row.refresh_from_db()
    assert (row.status, row.charged, row.attempts) == (Status.COMPLETED, 1, 2)
    assert balance(organization=acme).available == 0


def test_a_check_under_lease_is_left_to_its_worker(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)
    accept(briefing, import_people(acme, DJANGO))
    CandidateCheck.objects.update(
        status=Status.IN_PROGRESS,
        lease_token=uuid.uuid4(),
        lease_until=timezone.now() + timedelta(seconds=60),
    )

    assert run_pending_checks(organization_id=acme.pk).completed == 0


def test_a_check_whose_workers_keep_dying_fails_free_of_charge(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)
    accept(briefing, import_people(acme, DJANGO))
    CandidateCheck.objects.update(attempts=MAX_CLAIMS)

    run_pending_checks(organization_id=acme.pk)

    assert CandidateCheck.objects.get().status == Status.FAILED
    assert balance(organization=acme).available == 1


def test_a_result_that_comes_after_its_lease_was_lost_is_dropped(acme, briefing, monkeypatch):
    route_to_own_key(acme)
    give_credits(acme, 1)
    accept(briefing, import_people(acme, DJANGO))
    before_settling(monkeypatch, lambda: CandidateCheck.objects.update(lease_token=uuid.uuid4()))

    run_pending_checks(organization_id=acme.pk)

    row = CandidateCheck.objects.get()
    assert (row.status, row.charged) == (Status.IN_PROGRESS, None)
    assert not RequirementVerdict.objects.exists()
    assert UsageEvent.objects.count() == 1


def test_a_check_renews_its_lease_before_it_is_asked_again_without_a_refused_field(
    acme, briefing, simulator, monkeypatch
):
    route_to_own_key(acme)
    give_credits(acme, 1)
    accept(briefing, import_people(acme, DJANGO))
    refused = {"error": {"code": 400, "message": "response_format is not supported"}}
    simulator.app.upcoming.extend([Reply(400, refused)] * 2)
    leases = []

    def late() -> None:
        lease = CandidateCheck.objects.get().lease_until
        assert lease is not None
        leases.append(lease)
        CandidateCheck.objects.update(lease_until=timezone.now() + timedelta(seconds=1))

    before_settling(monkeypatch, late)

    run_pending_checks(organization_id=acme.pk)

    assert len(leases) == 2
    assert leases[1] > timezone.now() + timedelta(seconds=60)


def test_a_check_that_was_taken_over_is_not_asked_again_without_a_refused_field(acme, briefing, simulator, monkeypatch):
    route_to_own_key(acme)
    give_credits(acme, 1)
    accept(briefing, import_people(acme, DJANGO))
    refused = {"error": {"code": 400, "message": "response_format is not supported"}}
    simulator.app.upcoming.append(Reply(400, refused))
    before_settling(monkeypatch, lambda: CandidateCheck.objects.update(lease_token=uuid.uuid4()))

    run_pending_checks(organization_id=acme.pk)

    assert UsageEvent.objects.count() == 1


def test_a_bug_in_one_check_leaves_it_to_be_claimed_again(acme, briefing, monkeypatch, caplog):
    route_to_own_key(acme)
    give_credits(acme, 1)
    accept(briefing, import_people(acme, DJANGO))

    def broken(requirements, verdicts):
        raise ZeroDivisionError

    monkeypatch.setattr(result_writer, "score", broken)

    run_pending_checks(organization_id=acme.pk)

    row = CandidateCheck.objects.get()
    assert row.status == Status.IN_PROGRESS
    assert row.lease_until is not None
    assert balance(organization=acme).held == 1
    assert "was interrupted" in caplog.text
    event = UsageEvent.objects.get()
    assert (event.status, event.usage_reported, event.cost_nanousd is not None) == ("answered", True, True)
    assert not InFlightCall.objects.exists()


def test_a_check_that_cannot_even_be_claimed_interrupts_none_that_is_claimed_with_it(acme, briefing, caplog):
    route_to_own_key(acme)
    give_credits(acme, 3)
    _, odd, _ = accept(briefing, import_people(acme, DJANGO, DJANGO, DJANGO)).checks
    CandidateCheck.objects.filter(pk=odd.pk).update(route={"of": "another version"})

    run_pending_checks(organization_id=acme.pk)

    assert set(CandidateCheck.objects.exclude(pk=odd.pk).values_list("status", flat=True)) == {Status.COMPLETED}
    assert CandidateCheck.objects.get(pk=odd.pk).status == Status.IN_PROGRESS
    assert f"Check {odd.pk} was interrupted" in caplog.text


def test_after_an_unexpected_error_a_worker_claims_nothing_more(acme, briefing, monkeypatch, settings):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 1
    route_to_own_key(acme)
    give_credits(acme, 3)
    accept(briefing, import_people(acme, DJANGO, DJANGO, DJANGO))
    monkeypatch.setattr(result_writer, "score", lambda *arguments: 1 // 0)

    run_pending_checks(organization_id=acme.pk)

    assert CandidateCheck.objects.filter(status=Status.PENDING).count() == 2


def test_a_process_that_is_to_stop_claims_nothing_more_and_hands_the_rest_on(acme, briefing, settings, monkeypatch):
    settings.KEYFARE_CHECKS_IN_FLIGHT = 1
    route_to_own_key(acme)
    give_credits(acme, 3)
    accepted = accept(briefing, import_people(acme, DJANGO, DJANGO, DJANGO)).checks
    queued: list[bool] = []
    is_stopping = iter([False])
    monkeypatch.setattr(tasks, "is_stopping", lambda: next(is_stopping, True))
    monkeypatch.setattr(acceptance, "queue_checks", lambda: queued.append(True))

    tasks.run_checks()

    statuses = sorted(
        CandidateCheck.objects.filter(pk__in=[row.pk for row in accepted]).values_list("status", flat=True)
    )
    assert statuses == [Status.COMPLETED, Status.PENDING, Status.PENDING]
    assert queued == [True]
    assert not InFlightCall.objects.exists()
