"""What becomes of a check whose provider is in trouble, or whose model claims without evidence."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse
from django.utils import timezone

from billing.ledger import balance
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck, RequirementVerdict
from candidates.prompts.check import RUBRIC_VERSION
from candidates.requirements import RequirementInput, ordered_requirements, save_requirements
from candidates.worker import run_pending_checks
from simulator.app import OPENROUTER
from simulator.wires.base import KeyState, Reply
from tests.builders import NOW, give_credits, import_people, route_to_own_key, write_briefing
from usage.models import UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
Status = CandidateCheck.Status
DJANGO = "Builds Django services on PostgreSQL."


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"))


def check(briefing, summary: str = DJANGO) -> CandidateCheck:
    route_to_own_key(briefing.organization)
    give_credits(briefing.organization, 1)
    (row,) = accept_checks(
        organization=briefing.organization,
        briefing=briefing,
        candidates=import_people(briefing.organization, summary),
        actor=None,
        now=timezone.now(),
    ).checks
    run_pending_checks(organization_id=briefing.organization_id)
    row.refresh_from_db()
    return row


def verdicts(row: CandidateCheck) -> list[tuple[str, str, str]]:
    rows = RequirementVerdict.objects.filter(check_row=row).order_by("requirement__position")
    return list(rows.values_list("verdict", "claimed", "quote"))


def answered(*rows: tuple[str, str]) -> Reply:
    entries = [
        {"id": number, "verdict": verdict, "quote": quote, "reason": "So."}
        for number, (verdict, quote) in enumerate(rows, start=1)
    ]
    message = {"role": "assistant", "content": json.dumps({"verdicts": entries})}
    return Reply(200, {"choices": [{"message": message, "finish_reason": "stop"}]})


# Trouble ------------------------------------------------------------------------------------------------


def test_a_failed_check_says_what_the_provider_said_in_our_sentence(acme, briefing, simulator, waits):
    simulator.app.upcoming.append(OPENROUTER.refusal(KeyState.NO_CREDIT, ""))

    row = check(briefing)

    assert (row.status, row.charged) == (Status.FAILED, 0)
    assert row.why_failed.startswith("The OpenRouter account behind this key has no credit left")
    assert (waits, UsageEvent.objects.count()) == ([], 1)
    assert balance(organization=acme).available == 1


def test_temporary_trouble_is_waited_for_before_each_of_two_retries(briefing, simulator, waits):
    simulator.app.upcoming.extend([OPENROUTER.refusal(KeyState.OVERLOADED, "")] * 2)

    row = check(briefing)

    assert (row.status, waits) == (Status.COMPLETED, [2.0, 4.0])
    assert sorted(UsageEvent.objects.values_list("iteration", "status")) == [
        (1, "failed"), (2, "failed"), (3, "answered"),
    ]  # fmt: skip


def test_temporary_trouble_that_stays_fails_after_the_third_call(briefing, simulator, waits):
    simulator.app.upcoming.extend([OPENROUTER.refusal(KeyState.RATE_LIMITED, "")] * 9)

    row = check(briefing)

    assert (row.status, waits) == (Status.FAILED, [20.0, 20.0])
    assert row.why_failed.startswith("OpenRouter limits how much this key may do at a time")
    assert len(simulator.app.upcoming) == 6


def test_a_check_whose_call_may_have_run_says_that_its_cost_is_unknown(briefing, simulator, waits, settings):
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 0.3
    simulator.app.delay_seconds = 3

    row = check(briefing)

    assert (row.status, waits) == (Status.FAILED, [])
    assert "What this call cost is unknown" in row.why_failed
    assert UsageEvent.objects.get().no_price == "no_answer"


def test_a_refusal_and_a_reached_limit_say_so_on_the_check(briefing, simulator):
    refused = {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}
    simulator.app.upcoming.append(Reply(200, refused))

    assert "content rules" in check(briefing).why_failed
    assert UsageEvent.objects.count() == 1


# Evidence -----------------------------------------------------------------------------------------------


def test_a_claim_without_evidence_counts_as_unknown_and_is_kept(acme, briefing, simulator):
    simulator.app.upcoming.append(answered(("met", "Wrote half of Django"), ("met", DJANGO)))

    row = check(briefing)

    assert verdicts(row) == [("unknown", "met", ""), ("met", "", DJANGO)]
    assert (row.score, row.category, row.rubric_version) == (100, "possible", RUBRIC_VERSION)


def test_a_nice_to_have_claimed_without_evidence_earns_nothing(briefing, simulator):
    simulator.app.upcoming.append(answered(("met", DJANGO), ("partly", "")))

    row = check(briefing)

    assert verdicts(row)[1] == ("unknown", "partly", "")
    assert (row.score, row.category) == (0, "none")


def test_the_page_and_the_api_show_what_was_claimed(acme, alice, as_alice, briefing, simulator, program):
    simulator.app.upcoming.append(answered(("met", "Wrote half of Django"), ("not_met", "")))
    row = check(briefing)

    page = as_alice.get(reverse("candidates:check", args=["acme", row.pk])).content.decode()
    result = program.read(row.pk).json()["result"]

    assert "Claimed: met. No evidence found in the profile." in page
    assert [(each["verdict"], each["claimed"]) for each in result["verdicts"]] == [
        ("unknown", "met"),
        ("not_met", None),
    ]
    assert "Check again" in page


def test_results_from_before_keep_their_scoring_when_weights_change(acme, briefing, simulator):
    simulator.app.upcoming.append(answered(("met", DJANGO), ("met", DJANGO)))
    row = check(briefing)
    # As rubric 1 left it: a claim without its quote, counted as met.
    RequirementVerdict.objects.update(quote="")
    CandidateCheck.objects.update(rubric_version=1)

    inputs = [RequirementInput(each.text, each.kind, 7, each.pk) for each in ordered_requirements(briefing)]
    changed = save_requirements(briefing=briefing, requirements=inputs, now=NOW)

    row.refresh_from_db()
    assert (changed, row.score, row.category, row.rubric_version) == (0, 100, "strong", 1)


def test_a_model_that_thinks_aloud_is_taken_at_its_last_word(briefing):
    row = check(briefing, "Builds Ruby services. [[simulate-thinking]]")

    assert [verdict for verdict, _, _ in verdicts(row)] == ["not_met", "not_met"]


def test_invented_quotes_of_the_simulated_model_back_nothing(briefing):
    row = check(briefing, f"{DJANGO} [[simulate-invention]]")

    assert [(verdict, claimed) for verdict, claimed, _ in verdicts(row)] == [("unknown", "met")] * 2


def test_a_failed_check_never_says_that_it_cost_nothing(as_alice, briefing, simulator):
    simulator.app.upcoming.append(OPENROUTER.refusal(KeyState.NO_CREDIT, ""))
    row = check(briefing)

    page = as_alice.get(reverse("candidates:check", args=["acme", row.pk])).content.decode()

    assert "No credits were charged." in page
    assert "cost nothing" not in page
