from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from candidates import briefings
from candidates.acceptance import accept_checks
from candidates.briefings import (
    DailyCapReached,
    create_briefing,
    draft_briefing,
    new_version,
    request_draft,
    requeue_drafts,
)
from candidates.models import Briefing, CandidateCheck, Requirement
from candidates.requirements import (
    BriefingRefused,
    RequirementInput,
    TextsLocked,
    is_drafting,
    ordered_requirements,
    save_requirements,
)
from candidates.worker import run_pending_checks
from providers.models import ProviderKey
from routing.resolve import RouteUnavailable
from simulator.app import OPENROUTER
from simulator.wires.base import KeyState, Reply
from tests.builders import (
    NOW,
    before_settling,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from usage.models import UsageEvent

JOB = """Backend engineer

Requirements:
- Experience with Django and PostgreSQL
- Experience with Docker
Nice to have:
- Kubernetes
"""


def inputs(briefing, **changes):
    """The requirements as they are, with `changes` to every one."""
    return [
        replace(RequirementInput(each.text, each.kind, each.weight, each.pk), **changes)
        for each in ordered_requirements(briefing)
    ]


def texts(briefing):
    return [each.text for each in ordered_requirements(briefing)]


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"), ("Kubernetes", "nice"))


@pytest.fixture
def checked(acme, briefing, simulated_providers):
    """A briefing with one completed check: Django and PostgreSQL are met, Kubernetes is not."""
    connect_managed_key()
    give_credits(acme, 100)
    people = import_people(acme, "Builds Django services on PostgreSQL.")
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=NOW)
    run_pending_checks(organization_id=acme.pk)
    return CandidateCheck.objects.get(briefing=briefing)


def test_requirements_can_be_added_changed_moved_and_removed_while_nobody_was_checked(briefing):
    django, postgresql, _ = inputs(briefing)

    save_requirements(
        briefing=briefing,
        requirements=[
            RequirementInput("SQL", "must", 3, postgresql.id),
            django,
            RequirementInput("  Writes \x00 well ", "nice", 2),
        ],
        title="Backend",
        now=NOW,
    )

    assert texts(briefing) == ["SQL", "Django", "Writes well"]
    assert briefing.title == "Backend"
    assert ordered_requirements(briefing)[0].pk == postgresql.id


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": " "}, "needs a text"),
        ({"text": "x" * 301}, "at most 300"),
        ({"kind": "should"}, "must-have or a nice-to-have"),
        ({"weight": 0}, "from 1 to 100"),
        ({"weight": 101}, "from 1 to 100"),
        ({"text": "the same"}, "are the same"),
        ({"id": 999_999}, "changed in the meantime"),
    ],
)
def test_bad_requirements_are_refused_with_a_sentence_and_change_nothing(briefing, change, sentence):
    before = texts(briefing)

    with pytest.raises(BriefingRefused, match=sentence):
        save_requirements(briefing=briefing, requirements=inputs(briefing, **change), title="New", now=NOW)

    briefing.refresh_from_db()
    assert (texts(briefing), briefing.title) == (before, "Engineer")


def test_a_requirement_of_another_briefing_cannot_be_taken_over(acme, globex, briefing):
    foreign = write_briefing(globex, ("Secret", "must"))

    with pytest.raises(BriefingRefused):
        save_requirements(briefing=briefing, requirements=inputs(foreign), now=NOW)

    assert texts(foreign) == ["Secret"]


def test_too_many_requirements_and_empty_titles_are_refused(acme, briefing):
    with pytest.raises(BriefingRefused, match="at most 30"):
        save_requirements(
            briefing=briefing, requirements=[RequirementInput(str(n), "nice") for n in range(31)], now=NOW
        )
    with pytest.raises(BriefingRefused, match="title"):
        create_briefing(organization=acme, title=" ", actor=None, now=NOW)


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed"])
def test_wording_is_locked_once_somebody_is_checked(checked, briefing, status):
    CandidateCheck.objects.filter(pk=checked.pk).update(status=status)
    wanted = inputs(briefing)
    other_words = RequirementInput("Rails", "must", 1, wanted[0].id)

    for forbidden in ([other_words, *wanted[1:]], wanted[1:], [*wanted, RequirementInput("Go", "nice")], []):
        with pytest.raises(TextsLocked, match="new version"):
            save_requirements(briefing=briefing, requirements=forbidden, now=NOW)

    assert texts(briefing) == ["Django", "PostgreSQL", "Kubernetes"]


def test_a_failed_check_locks_nothing(checked, briefing):
    checked.verdicts.all().delete()
    CandidateCheck.objects.filter(pk=checked.pk).update(status="failed")

    save_requirements(briefing=briefing, requirements=inputs(briefing)[1:], now=NOW)

    assert texts(briefing) == ["PostgreSQL", "Kubernetes"]


def test_new_weights_and_kinds_compute_results_anew_without_a_model_call_and_free(checked, acme, briefing):
    assert (checked.score, checked.category) == (50, "possible")
    events = UsageEvent.objects.count()
    django, postgresql, kubernetes = inputs(briefing)

    changed = save_requirements(
        briefing=briefing,
        requirements=[django, RequirementInput("PostgreSQL", "nice", 3, postgresql.id), kubernetes],
        now=NOW,
    )
    checked.refresh_from_db()
    assert (changed, checked.score, checked.category) == (1, 75, "strong")

    save_requirements(
        briefing=briefing,
        requirements=[django, postgresql, RequirementInput("Kubernetes", "must", 1, kubernetes.id)],
        now=NOW,
    )
    checked.refresh_from_db()
    assert (checked.score, checked.category) == (100, "none")

    assert save_requirements(briefing=briefing, requirements=inputs(briefing), now=NOW) == 0
    assert UsageEvent.objects.count() == events
    assert checked.charged == 4


def test_recomputing_many_results_takes_few_queries(checked, briefing, django_assert_max_num_queries):
    verdicts = list(checked.verdicts.all())
    for _ in range(40):
        checked.pk = checked.hold = None
        checked.pk = CandidateCheck._meta.pk.get_default()
        checked._state.adding = True
        checked.is_latest = False
        checked.save()
        for verdict in verdicts:
            verdict.pk, verdict.check_row, verdict._state.adding = None, checked, True
            verdict.save()
    django, postgresql, kubernetes = inputs(briefing)
    heavier = RequirementInput("PostgreSQL", "nice", 9, postgresql.id)

    with django_assert_max_num_queries(20):
        assert save_requirements(briefing=briefing, requirements=[django, heavier, kubernetes], now=NOW) == 41


def test_a_new_version_copies_everything_and_may_be_reworded(checked, alice, briefing):
    second = new_version(briefing=briefing, actor=alice)
    third = new_version(briefing=second, actor=alice)
    fourth = new_version(briefing=briefing, actor=alice)

    assert [each.version for each in (second, third, fourth)] == [2, 3, 4]
    assert (second.earlier_version, second.title, second.created_by) == (briefing, "Engineer", alice)
    assert texts(second) == texts(briefing)
    save_requirements(briefing=second, requirements=[RequirementInput("Rails", "must")], now=NOW)
    assert texts(briefing) == ["Django", "PostgreSQL", "Kubernetes"]


# Drafting --------------------------------------------------------------------------------------------


@pytest.fixture
def managed(db, simulated_providers):
    return connect_managed_key()


def asked(acme, alice=None, **options) -> Briefing:
    return request_draft(
        organization=acme, job_description=JOB, actor=alice, now=options.pop("now", timezone.now()), **options
    )


def test_a_draft_is_written_in_the_background_and_costs_no_credits(
    managed, acme, alice, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        briefing = asked(acme, alice)
        assert briefing.state == Briefing.State.DRAFTING

    briefing.refresh_from_db()
    assert (briefing.state, briefing.created_by) == (Briefing.State.REVIEW, alice)
    assert briefing.title != briefings.UNTITLED
    assert 1 <= len(texts(briefing)) <= 20
    event = UsageEvent.objects.get()
    assert (event.action, event.run_id) == ("requirement_generation", briefing.draft_run_id)


def test_a_title_of_ones_own_is_kept(managed, acme, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        briefing = asked(acme, title="My words")

    briefing.refresh_from_db()
    assert briefing.title == "My words"


def test_drafting_twice_does_nothing_the_second_time(managed, acme):
    briefing = asked(acme)
    draft_briefing(briefing.pk, now=NOW)
    before = texts(briefing)

    draft_briefing(briefing.pk, now=NOW)

    assert texts(briefing) == before
    assert UsageEvent.objects.count() == 1


def test_a_late_draft_does_not_overwrite_what_was_written_since(managed, acme, monkeypatch):
    briefing = asked(acme, now=NOW)

    def somebody_writes() -> None:
        save_requirements(
            briefing=briefing, requirements=[RequirementInput("By hand", "must")], now=NOW + timedelta(minutes=6)
        )

    before_settling(monkeypatch, somebody_writes)
    draft_briefing(briefing.pk, now=NOW)

    assert texts(briefing) == ["By hand"]


def completion(text: str) -> Reply:
    return Reply(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


def test_an_unreadable_draft_is_asked_for_once_more_naming_the_fault(managed, acme, simulator):
    simulator.app.upcoming.extend(
        [
            completion("Sure!"),
            completion(json.dumps({"title": "T", "requirements": [{"text": "Django", "kind": "must"}]})),
        ]
    )
    briefing = asked(acme)
    draft_briefing(briefing.pk, now=NOW)

    briefing.refresh_from_db()
    assert (briefing.state, texts(briefing)) == (Briefing.State.REVIEW, ["Django"])
    assert list(UsageEvent.objects.order_by("iteration").values_list("iteration", flat=True)) == [1, 2]
    assert "no complete JSON object" in simulator.app.received[-1]["messages"][-1]["content"]


def test_a_draft_that_stays_unreadable_fails_with_a_sentence(managed, acme, simulator):
    simulator.app.upcoming.extend([completion("Sure!"), completion("Sure!")])
    briefing = asked(acme)
    draft_briefing(briefing.pk, now=NOW)

    briefing.refresh_from_db()
    assert (briefing.state, texts(briefing)) == (Briefing.State.FAILED, [])
    assert "could not be read, twice" in briefing.why


def test_a_draft_waits_for_a_provider_in_trouble_as_a_check_does(managed, acme, simulator, waits):
    simulator.app.upcoming.append(OPENROUTER.refusal(KeyState.OVERLOADED, ""))
    briefing = asked(acme)
    draft_briefing(briefing.pk, now=NOW)

    briefing.refresh_from_db()
    assert (briefing.state, waits) == (Briefing.State.REVIEW, [2.0])


def test_a_draft_that_was_written_by_hand_meanwhile_is_not_asked_for_again(managed, acme, simulator, monkeypatch):
    simulator.app.upcoming.append(completion("Sure!"))
    briefing = asked(acme, now=NOW)

    def somebody_writes() -> None:
        save_requirements(
            briefing=briefing, requirements=[RequirementInput("By hand", "must")], now=NOW + timedelta(minutes=6)
        )

    before_settling(monkeypatch, somebody_writes)
    draft_briefing(briefing.pk, now=NOW)

    assert texts(briefing) == ["By hand"]
    assert UsageEvent.objects.count() == 1


def test_a_draft_that_is_asked_for_again_is_not_taken_for_lost(managed, acme, simulator):
    simulator.app.upcoming.extend([completion("Sure!"), completion("Sure!")])
    briefing = asked(acme, now=NOW)
    draft_briefing(briefing.pk, now=NOW)

    briefing.refresh_from_db()
    assert briefing.draft_requested_at is not None
    assert briefing.draft_requested_at > NOW


def test_a_provider_error_and_a_broken_route_fail_the_draft_with_their_sentence(managed, acme, simulator):
    simulator.app.upcoming.append(OPENROUTER.model_not_found("gone"))
    first = asked(acme)
    draft_briefing(first.pk, now=NOW)
    second = asked(acme)
    ProviderKey.objects.update(status="invalid")
    draft_briefing(second.pk, now=NOW)

    first.refresh_from_db()
    second.refresh_from_db()
    assert first.why.startswith("OpenRouter does not offer this model")
    assert (second.state, "Settings" in second.why) == (Briefing.State.FAILED, True)


def test_without_a_route_nothing_is_started(simulated_providers, acme):
    with pytest.raises(RouteUnavailable):
        asked(acme)

    assert not Briefing.objects.exists()


def test_managed_drafts_have_a_daily_cap_per_organization_that_ends_at_midnight_utc(managed, acme, globex, settings):
    settings.KEYFARE_MANAGED_DAILY_RUNS = 2
    now = timezone.now()
    draft_briefing(asked(acme, now=now).pk, now=now)
    asked(acme, now=now)

    with pytest.raises(DailyCapReached, match="2 drafts"):
        asked(acme, now=now)

    assert Briefing.objects.count() == 2
    asked(globex, now=now)
    asked(acme, now=now + timedelta(days=1))


def test_byok_drafts_have_no_cap(simulated_providers, acme, settings):
    settings.KEYFARE_MANAGED_DAILY_RUNS = 0
    route_to_own_key(acme)

    assert asked(acme).state == Briefing.State.DRAFTING


def test_a_failed_draft_can_be_asked_for_again_a_running_or_locked_one_cannot(managed, acme, monkeypatch):
    briefing = asked(acme, now=NOW)
    with pytest.raises(BriefingRefused, match="still being written"):
        asked(acme, briefing=briefing, now=NOW + timedelta(minutes=1))
    with pytest.raises(BriefingRefused, match="still being written"):
        save_requirements(briefing=briefing, requirements=[], now=NOW + timedelta(minutes=1))

    Briefing.objects.update(state="failed", state_detail="No.")
    again = asked(acme, briefing=briefing, now=NOW)

    assert (again.pk, again.state, again.why) == (briefing.pk, Briefing.State.DRAFTING, "")
    assert again.draft_run_id != briefing.draft_run_id


def test_a_locked_briefing_is_not_drafted_again(checked, acme, briefing):
    with pytest.raises(TextsLocked):
        asked(acme, briefing=briefing)


@pytest.mark.parametrize(("text", "sentence"), [("  ", "Paste the job"), ("x" * 50_001, "at most 50,000")])
def test_an_empty_or_huge_job_description_is_refused(managed, acme, text, sentence):
    with pytest.raises(BriefingRefused, match=sentence):
        request_draft(organization=acme, job_description=text, actor=None, now=NOW)


def test_a_lost_draft_is_queued_once_more_then_fails(managed, acme, django_capture_on_commit_callbacks):
    briefing = asked(acme, now=NOW)
    assert requeue_drafts(now=NOW + timedelta(minutes=5)) == 0

    late = NOW + timedelta(minutes=6)
    assert not is_drafting(briefing, now=late)
    assert requeue_drafts(now=late) == 1
    briefing.refresh_from_db()
    assert is_drafting(briefing, now=late)

    assert requeue_drafts(now=late + timedelta(minutes=6)) == 0
    briefing.refresh_from_db()
    assert (briefing.state, briefing.why) == (Briefing.State.FAILED, "The draft was interrupted twice.")


def test_a_lost_draft_that_is_queued_again_gets_written(managed, acme, django_capture_on_commit_callbacks):
    briefing = asked(acme, now=NOW)

    with django_capture_on_commit_callbacks(execute=True):
        requeue_drafts(now=NOW + timedelta(minutes=6))

    briefing.refresh_from_db()
    assert briefing.state == Briefing.State.REVIEW
    assert Requirement.objects.filter(briefing=briefing).exists()
