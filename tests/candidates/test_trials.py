"""Trials: what they cost at most is said first, what comes of them is kept apart, and each runs once."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.forms.models import model_to_dict
from django.urls import reverse

from billing.models import LedgerEntry
from candidates import trials
from candidates.acceptance import accept_checks
from candidates.failures import TRIAL_CLOSED
from candidates.models import Briefing, CandidateCheck, Requirement, RequirementVerdict, Trial, TrialCheck
from candidates.trial_quotes import quote_trial
from candidates.trial_results import compare
from candidates.trials import (
    QuoteRose,
    TrialRefused,
    end_trials,
    finished_checks,
    request_trial,
    requeue_trials,
    run_trial,
)
from candidates.unit_costs import BY_ACTION
from candidates.worker import run_pending_checks
from organizations.models import AuditEvent, Organization
from providers.models import ProviderKey
from routing.actions import TRIAL
from routing.rule_settings import RuleSettings, save_rule_settings
from routing.services import RuleRefused
from tests.builders import NOW, connect_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.routing.test_routing_to_private_servers import PASSWORD, as_idle_alice, private_key
from usage.cells import read_groupings
from usage.models import Mode, UsageEvent
from usage.price_list import most_list_price

__all__ = ["as_idle_alice", "private_key"]

MODEL = "gpt-4o-mini"
Status = TrialCheck.Status


@pytest.fixture
def own_key(acme: Organization, simulated_providers) -> ProviderKey:
    give_credits(acme, 100)
    route_to_own_key(acme)
    return connect_key(acme, "openai")


@pytest.fixture
def briefing(acme, own_key) -> Briefing:
    """With three finished checks."""
    briefing = write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"))
    people = import_people(acme, "Builds Django services.", "Runs PostgreSQL and Django.", "Bakes bread.")
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=NOW)
    run_pending_checks(organization_id=acme.pk)
    assert briefing.checks.filter(status="completed").count() == 3
    return briefing


def begin(briefing: Briefing, key: ProviderKey, **how: Any) -> Trial:
    values: dict[str, Any] = {"checks": finished_checks(briefing), "model": MODEL, "agreed_nanousd": None, "now": NOW}
    return request_trial(briefing=briefing, key=key, actor=None, **{**values, **how})


def rows(trial: Trial) -> list[TrialCheck]:
    return list(TrialCheck.objects.filter(trial=trial).order_by("pk"))


def everything_else(organization: Organization) -> list[Any]:
    return [
        *map(model_to_dict, CandidateCheck.objects.filter(organization=organization).order_by("pk")),
        *RequirementVerdict.objects.filter(organization=organization).order_by("pk").values(),
        *Requirement.objects.filter(organization=organization).order_by("pk").values(),
        *LedgerEntry.objects.filter(organization=organization).order_by("pk").values(),
    ]


def test_a_trial_asks_the_other_model_and_changes_nothing_but_itself(acme, briefing, own_key):
    before, calls = everything_else(acme), UsageEvent.objects.count()

    trial = begin(briefing, own_key)
    run_trial(trial.pk)

    assert everything_else(acme) == before
    assert [row.status for row in rows(trial)] == [Status.COMPLETED] * 3
    asked = UsageEvent.objects.filter(run_id__in=[row.run_id for row in rows(trial)])
    assert UsageEvent.objects.count() == calls + 3
    assert {(call.action, call.model, call.mode, call.key_id) for call in asked} == {
        (TRIAL, MODEL, Mode.BYOK, own_key.pk)
    }
    trial.refresh_from_db()
    assert trial.ended_at
    assert trial.lease_token is None

    result = compare(organization=acme, trial=trial)
    assert (result.verdicts, result.differing, result.mean_shift, result.waiting) == (6, 0, "0", 0)
    assert result.cost.calls == 3
    assert result.cost.cost_nanousd == sum(call.cost_nanousd or 0 for call in asked)
    assert trial.most_nanousd is not None
    assert result.cost.cost_nanousd <= trial.most_nanousd
    event = AuditEvent.objects.get(action="trial.started")
    assert (event.details["model"], event.details["provider"]) == (MODEL, "openai")


def test_what_differs_is_told_verdict_by_verdict(acme, briefing, own_key):
    trial = begin(briefing, own_key)
    run_trial(trial.pk)
    row = next(each for each in rows(trial) if all(told["verdict"] == "met" for told in each.verdicts.values()))
    nice = Requirement.objects.get(briefing=briefing, kind="nice")
    row.verdicts[str(nice.pk)] |= {"verdict": "not_met", "quote": "", "reason": "It is not said."}
    row.save()

    result = compare(organization=acme, trial=trial)

    (compared,) = [each for each in result.rows if each.row == row]
    assert [(each.requirement, each.before, each.after, each.reason) for each in compared.differences] == [
        ("PostgreSQL", "Met", "Not met", "It is not said.")
    ]
    assert (compared.check.score, compared.score, compared.shift, compared.category) == (100, 0, -100, "none")
    assert (result.differing, result.verdicts, result.other_categories, result.mean_shift) == (1, 6, 1, "-33.3")

    Requirement.objects.filter(pk=nice.pk).update(kind="must")  # no model is asked, of neither
    (compared,) = [each for each in compare(organization=acme, trial=trial).rows if each.row == row]
    assert (compared.score, compared.category) == (100, "none")


def test_the_quote_is_an_upper_bound_by_list_prices(acme, briefing, own_key):
    checks = finished_checks(briefing)

    quote = quote_trial(briefing=briefing, checks=checks, key=own_key, model=MODEL, now=NOW)

    one = most_list_price(provider="openai", model=MODEL, input_tokens=0, output_tokens=16_384, tier="", at=NOW)
    assert quote.most is not None
    assert one is not None
    assert quote.about is not None
    assert quote.most > 3 * 3 * one
    assert 0 < quote.about < quote.most
    twice = quote_trial(briefing=briefing, checks=checks[:1], key=own_key, model=MODEL, now=NOW)
    assert twice.most is not None
    assert twice.most < quote.most


def test_without_a_list_price_nothing_is_promised_and_an_own_server_charges_nothing(acme, briefing, own_key):
    checks = finished_checks(briefing)
    assert quote_trial(briefing=briefing, checks=checks, key=own_key, model="mystery", now=NOW).most is None

    own_key.is_own_server = True
    quote = quote_trial(briefing=briefing, checks=checks, key=own_key, model="mystery", now=NOW)
    assert (quote.most, quote.has_no_token_charges) == (0, True)


def test_what_may_cost_more_than_agreed_is_not_started(acme, briefing, own_key):
    quote = quote_trial(briefing=briefing, checks=finished_checks(briefing), key=own_key, model=MODEL, now=NOW)
    assert quote.most

    with pytest.raises(QuoteRose):
        begin(briefing, own_key, agreed_nanousd=quote.most - 1)
    with pytest.raises(RuleRefused):
        begin(briefing, own_key, model="mystery")  # the key does not list it
    with pytest.raises(TrialRefused):
        begin(briefing, own_key, checks=[])

    assert not Trial.objects.exists()
    assert begin(briefing, own_key, agreed_nanousd=quote.most).most_nanousd == quote.most


def test_models_that_checks_may_not_be_routed_to_are_not_tried(acme, briefing, own_key):
    settings = RuleSettings(allowed_models=("openrouter",))
    save_rule_settings(organization=acme, action="candidate_check", settings=settings, actor=None)

    with pytest.raises(RuleRefused, match="is not among the models that"):
        begin(briefing, own_key)


def test_keys_of_others_are_as_absent(acme, globex, briefing, own_key):
    theirs = connect_key(globex, "openai")

    with pytest.raises(RuleRefused):
        begin(briefing, theirs)


def test_a_trial_runs_once_and_goes_on_after_a_worker_that_died(acme, briefing, own_key, monkeypatch):
    trial = begin(briefing, own_key)
    run_trial(trial.pk)
    calls = UsageEvent.objects.count()
    run_trial(trial.pk)
    assert UsageEvent.objects.count() == calls

    again = begin(briefing, own_key)
    done = rows(again)[0]
    TrialCheck.objects.filter(pk=done.pk).update(status=Status.COMPLETED)
    Trial.objects.filter(pk=again.pk).update(
        attempts=1, lease_token=uuid.uuid4(), lease_until=NOW + timedelta(days=999)
    )
    run_trial(again.pk)  # another worker has it
    assert UsageEvent.objects.count() == calls

    Trial.objects.filter(pk=again.pk).update(lease_until=NOW - timedelta(days=999))
    run_trial(again.pk)
    assert [row.status for row in rows(again)] == [Status.COMPLETED] * 3
    assert UsageEvent.objects.count() == calls + 2  # what was done is not asked again


def test_a_trial_that_was_interrupted_twice_ends(acme, briefing, own_key):
    trial = begin(briefing, own_key)
    Trial.objects.filter(pk=trial.pk).update(attempts=2)

    run_trial(trial.pk)

    trial.refresh_from_db()
    assert trial.ended_at
    assert {row.why_failed for row in rows(trial)} == {"The work on this trial was interrupted twice. Run it again."}


def test_answers_after_the_lease_was_lost_are_dropped(acme, briefing, own_key, monkeypatch):
    trial = begin(briefing, own_key)
    write = trials._write

    def write_after_loss(*arguments: Any) -> None:
        Trial.objects.filter(pk=trial.pk).update(lease_token=uuid.uuid4())
        write(*arguments)

    monkeypatch.setattr(trials, "_write", write_after_loss)
    run_trial(trial.pk)

    assert {row.status for row in rows(trial)} == {Status.PENDING}
    assert UsageEvent.objects.filter(action=TRIAL).count() == 3  # in the books all the same


def test_lost_trials_are_queued_again(acme, briefing, own_key, django_capture_on_commit_callbacks):
    trial = begin(briefing, own_key, now=NOW)
    assert requeue_trials(now=NOW + timedelta(seconds=59)) == 0

    with django_capture_on_commit_callbacks(execute=True):
        assert requeue_trials(now=NOW + timedelta(seconds=61)) == 1

    assert {row.status for row in rows(trial)} == {Status.COMPLETED}
    assert requeue_trials(now=NOW + timedelta(days=1)) == 0


def test_a_closed_organization_ends_its_trials(acme, globex, briefing, own_key):
    trial = begin(briefing, own_key)

    assert end_trials(organization=globex, reason=TRIAL_CLOSED) == 0
    assert end_trials(organization=acme, reason=TRIAL_CLOSED) == 1
    run_trial(trial.pk)

    assert {row.status for row in rows(trial)} == {Status.FAILED}
    assert not UsageEvent.objects.filter(action=TRIAL).exists()


def test_a_key_that_is_gone_fails_each_check_with_a_sentence(acme, briefing, own_key):
    trial = begin(briefing, own_key)
    ProviderKey.objects.filter(pk=own_key.pk).update(status="disabled")

    run_trial(trial.pk)

    assert {row.status for row in rows(trial)} == {Status.FAILED}
    assert all(row.why_failed for row in rows(trial))
    trial.refresh_from_db()
    assert trial.ended_at


def test_its_calls_are_told_apart_and_count_for_no_check(acme, briefing, own_key):
    run_trial(begin(briefing, own_key).pk)
    today = UsageEvent.objects.filter(action=TRIAL)[0].occurred_at.date()

    (cells,) = read_groupings(acme, today, today, BY_ACTION)
    runs = {cell.action: cell.sums.runs for cell in cells}
    assert runs[TRIAL] == 3


# Pages --------------------------------------------------------------------------------------------------------


def form(briefing: Briefing, key: ProviderKey, **fields: Any) -> dict[str, Any]:
    checks = [str(check.pk) for check in finished_checks(briefing)]
    return {"key": str(key.pk), "model": MODEL, "checks": checks, **fields}


def test_an_admin_chooses_sees_the_quote_and_runs_it(
    as_ada, as_bob, acme, briefing, own_key, django_capture_on_commit_callbacks
):
    page = f"/o/acme/briefings/{briefing.pk}/trials/"
    assert as_ada.get(page).text.count(" checked") == 3
    assert f'href="{page}"' in as_ada.get(f"/o/acme/briefings/{briefing.pk}/?tab=results").text
    assert as_bob.get(page).status_code == 403

    shown = as_ada.post(page, form(briefing, own_key))
    assert shown.status_code == 200
    assert "At most $" in shown.text
    assert not Trial.objects.exists()

    agreed = shown.context["quote"].most
    with django_capture_on_commit_callbacks(execute=True):
        begun = as_ada.post(page, form(briefing, own_key, run="yes", agreed=str(agreed)))
    trial = Trial.objects.get()
    assert begun.url == f"/o/acme/trials/{trial.pk}/"
    assert "0 of 6" in as_bob.get(begun.url).text  # whoever sees results sees it
    assert "hx-trigger" not in as_bob.get(begun.url).text


def test_a_click_twice_starts_it_once(as_ada, acme, briefing, own_key):
    page, posted = f"/o/acme/briefings/{briefing.pk}/trials/", form(briefing, own_key, run="yes", once="0" * 32)

    assert as_ada.post(page, posted).url == as_ada.post(page, posted).url
    assert Trial.objects.count() == 1


def test_less_agreed_than_it_may_cost_shows_the_price_again(as_ada, acme, briefing, own_key):
    response = as_ada.post(f"/o/acme/briefings/{briefing.pk}/trials/", form(briefing, own_key, run="yes", agreed="1"))

    assert response.status_code == 200
    assert "This may cost more than was shown before." in response.text
    assert not Trial.objects.exists()


def test_a_private_server_is_tried_by_who_proved_lately_who_they_are(as_idle_alice, acme, briefing, private_key):
    page = f"/o/acme/briefings/{briefing.pk}/trials/"
    posted = form(briefing, private_key, model="llama", run="yes")
    posted["checks"] = posted["checks"][:2]

    confirm = as_idle_alice.post(page, posted)["Location"]
    assert confirm.startswith(reverse("account_reauthenticate"))
    assert not Trial.objects.exists()
    back = as_idle_alice.get(as_idle_alice.post(confirm, {"password": PASSWORD})["Location"]).text
    assert f'<option value="{private_key.pk}" selected>' in back
    assert 'value="llama"' in back
    assert back.count(" checked") == 2

    as_idle_alice.post(page, posted)
    assert Trial.objects.get().model == "llama"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"checks": []}, "Choose at least one check."),
        ({"checks": [str(uuid.UUID(int=1))]}, "One of these checks was checked again meanwhile."),
        ({"key": str(uuid.UUID(int=1))}, "Choose a connected key."),
        ({"model": ""}, "Choose a model."),
        ({"model": "mystery", "run": "yes"}, "is not among the models this key can call"),
        ({"model": "sk-proj-0123456789abcdefghijklmnop"}, "key"),
    ],
)
def test_what_cannot_be_tried_is_said_beside_its_field(as_ada, acme, briefing, own_key, fields, said):
    response = as_ada.post(f"/o/acme/briefings/{briefing.pk}/trials/", {**form(briefing, own_key), **fields})

    assert response.status_code == 422
    assert said in response.text
    assert "sk-proj-0123456789" not in response.text
    assert not Trial.objects.exists()


def test_the_page_of_ten_asks_no_more_than_that_of_one(as_ada, acme, briefing, own_key, django_assert_max_num_queries):
    trial = begin(briefing, own_key)
    run_trial(trial.pk)

    with django_assert_max_num_queries(14):
        assert as_ada.get(f"/o/acme/trials/{trial.pk}/").status_code == 200
