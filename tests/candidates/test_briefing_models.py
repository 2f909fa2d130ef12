"""A briefing with a key and model of its own: where its checks go, what they cost, and what is said of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.briefing_models import choose_model
from candidates.briefings import new_version
from candidates.check_route import known_route_of_checks, route_of_checks
from candidates.cost_words import expected_charge
from candidates.credit_costs import affordable, quote
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.worker import run_pending_checks
from config.onboarding import close_organization
from organizations.edits import ChangedMeanwhile, stamp
from organizations.models import AuditEvent
from providers.keys.saving import disable_provider_key
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.resolve import Paused, RouteUnavailable
from routing.rule_settings import RuleSettings, pause_routing, resume_routing, save_rule_settings
from routing.services import KeyInUse, RuleRefused, remove_provider_key, route_parts
from tests.builders import (
    NOW,
    connect_key,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from tests.page_forms import form_of
from usage.models import UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
CHECK, ROUTED, HARDER = "candidate_check", "openai/gpt-4.1-mini", "anthropic/claude-sonnet-4.5"
DJANGO = "Ten years of Django."


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"))


@pytest.fixture
def plain(acme):
    return write_briefing(acme, ("Django", "must"), title="As routed")


@pytest.fixture
def key(acme):
    return connect_key(acme, label="Harder")


@pytest.fixture
def harder(briefing, key):
    choose_model(briefing=briefing, key=key, model=HARDER, actor=None)
    return Briefing.objects.select_related("organization", "key").get(pk=briefing.pk)


def page(name: str, *args) -> str:
    return reverse(f"candidates:{name}", args=["acme", *args])


def words(response) -> str:
    return " ".join(response.content.decode().split())


def run(organization, briefing, *summaries: str) -> list[CandidateCheck]:
    people = import_people(organization, *summaries) if summaries else list(Candidate.objects.all())
    now = timezone.now()
    accepted = accept_checks(organization=organization, briefing=briefing, candidates=people, actor=None, now=now)
    run_pending_checks()
    return [CandidateCheck.objects.get(pk=check.pk) for check in accepted.checks]


# Where its checks go -----------------------------------------------------------------------------------------


def test_its_checks_go_to_its_own_key_and_model_and_others_as_routed(acme, harder, plain, key):
    routed = route_to_own_key(acme)
    give_credits(acme, 10)

    (own,) = run(acme, harder, DJANGO)
    (other,) = run(acme, plain)

    assert (own.status, other.status) == ("completed", "completed")
    assert (own.route["model"], own.route["key_id"], own.route["rule_version"]) == (HARDER, str(key.pk), None)
    assert (other.route["model"], other.route["key_id"], other.route["rule_version"]) == (ROUTED, str(routed.pk), 1)
    assert (own.own_model, other.own_model) == (HARDER, "")
    events = UsageEvent.objects.filter(organization=acme)
    assert {(event.run_id, event.model, event.key_id) for event in events} == {
        (own.run_id, HARDER, key.pk),
        (other.run_id, ROUTED, routed.pk),
    }


def test_a_check_that_was_accepted_keeps_its_model(acme, harder):
    give_credits(acme, 10)
    people = import_people(acme, DJANGO)
    (check,) = accept_checks(organization=acme, briefing=harder, candidates=people, actor=None, now=NOW).checks

    choose_model(briefing=harder, key=None, model="", actor=None)
    run_pending_checks()

    assert UsageEvent.objects.get(run_id=check.run_id).model == HARDER


def test_its_checks_are_byok_though_the_action_is_managed(acme, harder, plain):
    connect_managed_key()
    give_credits(acme, 1)
    people = import_people(acme, DJANGO, DJANGO)

    of_own, of_others = (
        quote(organization=acme, briefing=each, candidates=people, now=NOW) for each in (harder, plain)
    )
    paid = affordable(organization=acme, briefing=harder, candidates=people, now=NOW)
    (check,) = accept_checks(organization=acme, briefing=harder, candidates=people[:1], actor=None, now=NOW).checks

    assert (of_own.mode, of_own.total, of_own.refusal) == ("byok", 2, None)
    assert (of_others.mode, of_others.total) == ("managed", 8)
    assert paid.count() == 1
    assert (check.mode, check.price) == ("byok", 1)


def test_it_needs_no_route_of_the_action(acme, harder, plain):
    people = import_people(acme, DJANGO)

    assert quote(organization=acme, briefing=harder, candidates=people, now=NOW).has_model
    assert not quote(organization=acme, briefing=plain, candidates=people, now=NOW).has_model


def test_a_key_that_broke_refuses_with_where_to_mend_it_and_never_falls_back(acme, harder, key):
    connect_managed_key()
    route_to_own_key(acme)
    give_credits(acme, 10)
    people = import_people(acme, DJANGO)
    disable_provider_key(key=key, actor=None, now=NOW)

    with pytest.raises(RouteUnavailable) as refused:
        accept_checks(organization=acme, briefing=harder, candidates=people, actor=None, now=NOW)

    assert str(refused.value) == (
        "This briefing has a model of its own, on your OpenRouter key “Harder”, whose status is Disabled. It was "
        "switched off here; enable it to use it. An owner or admin can enable the key in Settings, or choose another "
        "model on the page of the briefing."
    )
    assert str(quote(organization=acme, briefing=harder, candidates=people, now=NOW).refusal) == str(refused.value)
    assert not CandidateCheck.objects.exists()


def test_pausing_the_action_pauses_it_and_its_list_of_models_holds_for_it(acme, alice, harder, briefing, key):
    route_to_own_key(acme)
    pause_routing(organization=acme, action=CHECK, actor=alice, now=NOW)
    with pytest.raises(Paused):
        route_of_checks(organization=acme, briefing=harder)
    resume_routing(organization=acme, action=CHECK, actor=alice)

    only = RuleSettings(allowed_models=(f"openrouter/{ROUTED}",))
    save_rule_settings(organization=acme, action=CHECK, settings=only, actor=alice)

    with pytest.raises(
        RouteUnavailable, match=r"“openrouter/anthropic/claude-sonnet-4.5”, to which Candidate check may not be"
    ):
        known_route_of_checks(organization=acme, briefing=harder)
    with pytest.raises(RuleRefused, match="not among the models that Candidate check may be routed to"):
        choose_model(briefing=briefing, key=key, model="openai/gpt-4o-mini", actor=alice)


def test_nothing_of_a_closed_organization_goes_out(acme, alice, harder):
    close_organization(organization=acme, actor=alice, now=NOW)

    assert not ProviderKey.objects.filter(organization=acme).exists()
    with pytest.raises(RouteUnavailable, match="closed"):
        route_of_checks(organization=acme, briefing=harder)


# Choosing it -------------------------------------------------------------------------------------------------


def test_only_a_usable_key_of_the_organization_and_a_model_that_it_lists(acme, globex, briefing, key):
    broken = connect_key(acme, kind="invalid", label="Broken")
    foreign = connect_key(globex)

    for chosen, model in ((broken, HARDER), (foreign, HARDER), (key, "no/such-model"), (key, "")):
        with pytest.raises(RuleRefused):
            choose_model(briefing=briefing, key=chosen, model=model, actor=None)

    briefing.refresh_from_db()
    assert (briefing.key_id, briefing.model) == (None, "")


def test_key_and_model_are_one_choice(acme, briefing, key):
    for fields in ({"key": key}, {"model": HARDER}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Briefing.objects.filter(pk=briefing.pk).update(**fields)


def test_choosing_and_clearing_are_audited_and_the_same_again_is_not(acme, alice, briefing, key):
    assert choose_model(briefing=briefing, key=key, model=HARDER, actor=alice)
    assert not choose_model(briefing=briefing, key=key, model=HARDER, actor=alice)
    assert choose_model(briefing=briefing, key=None, model="", actor=alice)

    events = AuditEvent.objects.for_organization(acme).filter(action__startswith="briefing.").order_by("seq")
    chosen, cleared = events
    target = f"Briefing {briefing.pk}: Engineer"
    assert (chosen.action, chosen.target, chosen.actor) == ("briefing.model_chosen", target, alice)
    assert chosen.details == {"provider": "openrouter", "key_label": "Harder", "model": HARDER}
    assert (cleared.action, cleared.target, cleared.details) == ("briefing.model_cleared", target, {})


def test_nobody_overwrites_a_choice_that_was_made_meanwhile(acme, alice, bob, briefing, key):
    choose_model(briefing=briefing, key=key, model=HARDER, actor=bob)
    choose_model(briefing=write_briefing(acme), key=key, model=HARDER, actor=alice)  # another one of the same title

    theirs = r"Bob.* changed the model of this briefing to OpenRouter · Harder, anthropic/claude"
    with pytest.raises(ChangedMeanwhile, match=theirs):
        choose_model(briefing=briefing, key=key, model=ROUTED, actor=alice, seen=stamp(route_parts("", "")))

    briefing.refresh_from_db()
    assert briefing.model == HARDER


def test_a_new_version_takes_it_over_as_it_is_by_then(acme, alice, harder, key):
    copy = new_version(briefing=harder, actor=alice)
    remove_provider_key(key=key, actor=alice, reset_actions=True)
    later = new_version(briefing=harder, actor=alice)  # read before the key went

    assert (copy.key_id, copy.model) == (key.pk, HARDER)
    assert (later.key_id, later.model) == (None, "")


# Removing its key --------------------------------------------------------------------------------------------


def test_a_key_that_briefings_use_stays_until_they_have_another(acme, alice, harder, key):
    with pytest.raises(KeyInUse, match="This key is used by: Briefing “Engineer”"):
        remove_provider_key(key=key, actor=alice)
    harder.refresh_from_db()
    assert harder.key_id == key.pk

    other = connect_key(acme, label="Other")
    remove_provider_key(key=key, actor=alice, successor=other, model=ROUTED)
    harder.refresh_from_db()
    assert (harder.key_id, harder.model) == (other.pk, ROUTED)

    remove_provider_key(key=other, actor=alice, reset_actions=True)
    harder.refresh_from_db()
    assert (harder.key_id, harder.model) == (None, "")


def test_a_successor_that_cannot_serve_it_changes_nothing(acme, alice, harder, key):
    other = connect_key(acme, label="Other")

    with pytest.raises(RuleRefused, match="not among the models this key can call"):
        remove_provider_key(key=key, actor=alice, successor=other, model="no/such-model")

    harder.refresh_from_db()
    assert (harder.key_id, harder.model) == (key.pk, HARDER)


def test_the_page_of_removal_lists_briefings_and_asks_about_those_that_came_meanwhile(
    as_alice, acme, harder, plain, key
):
    address = reverse("routing:remove-key", args=["acme", key.pk])
    asked = as_alice.get(address)
    opened = form_of(asked, address) | {"instead": "managed"}
    choose_model(briefing=plain, key=key, model=HARDER, actor=None)

    refused = as_alice.post(address, opened)

    assert "Briefing “Engineer”" in words(asked)
    assert "As the action is routed" in words(asked)
    assert refused.status_code == 422
    assert "This key is used by: Briefing “Engineer”, Briefing “As routed”." in words(refused)
    assert as_alice.post(address, form_of(refused, address)).status_code == 302
    assert not Briefing.objects.exclude(key=None).exists()
    assert not ProviderKey.objects.filter(pk=key.pk).exists()


def test_actions_and_briefings_of_a_key_move_together(as_alice, acme, harder):
    routed = route_to_own_key(acme)
    choose_model(briefing=harder, key=routed, model=ROUTED, actor=None)
    other = connect_key(acme, label="Other")
    address = reverse("routing:remove-key", args=["acme", routed.pk])
    asked = as_alice.get(address)

    moved = as_alice.post(address, form_of(asked, address) | {"instead": str(other.pk), "model": ROUTED})

    assert "No key; briefings: as the action is routed" in words(asked)
    assert moved.status_code == 302
    harder.refresh_from_db()
    assert {harder.key_id, *RoutingRule.objects.values_list("key_id", flat=True)} == {other.pk}


# What is said of it ------------------------------------------------------------------------------------------


def test_the_average_in_a_quote_is_of_runs_with_its_model(acme, harder, plain):
    route_to_own_key(acme)
    give_credits(acme, 10)
    now = timezone.now()
    run(acme, plain, DJANGO)

    before = expected_charge(organization=acme, action=CHECK, briefing=harder, now=now)
    run(acme, harder)
    after = expected_charge(organization=acme, action=CHECK, briefing=harder, now=now + timedelta(minutes=1))
    of_others = expected_charge(organization=acme, action=CHECK, briefing=plain, now=now + timedelta(minutes=1))

    assert before == "what your provider charges for the calls"
    assert after.endswith("to OpenRouter (average of your last 30 days with anthropic/claude-sonnet-4.5: 1 run)")
    assert of_others.endswith("to OpenRouter (average of your last 30 days with this model: 1 run)")
    assert after.split(" to ")[0] != of_others.split(" to ")[0]


def test_results_and_the_list_of_checks_say_the_model_where_it_is_the_briefings_own(as_bob, acme, harder, plain):
    route_to_own_key(acme)
    give_credits(acme, 10)
    (own,) = run(acme, harder, DJANGO)
    (other,) = run(acme, plain)
    cell = f'<span class="muted small mono wrap-anywhere">{HARDER}</span>'

    assert cell in words(as_bob.get(page("briefing", harder.pk), {"tab": "results"}))
    assert ROUTED not in words(as_bob.get(page("briefing", plain.pk), {"tab": "results"}))
    listed = words(as_bob.get(page("checks")))
    assert listed.count(cell) == 1
    assert ROUTED not in listed
    assert "(the briefing’s own)" in words(as_bob.get(page("check", own.pk)))
    assert "with the briefing’s own model" in words(as_bob.get(page("check", own.pk)))
    assert "the briefing’s own" not in words(as_bob.get(page("check", other.pk)))


def test_everybody_reads_it_on_the_page_of_the_briefing_and_managers_change_it(as_alice, as_bob, harder):
    address = page("briefing", harder.pk)
    said = f'Checked with a model of its own: <span class="mono wrap-anywhere">{HARDER}</span> on your OpenRouter key'

    for browser, may_change in ((as_alice, True), (as_bob, False)):
        for tab in ("results", "candidates", "requirements"):
            shown = words(browser.get(address, {"tab": tab}))
            assert said in shown
            assert (page("briefing-model", harder.pk) in shown) == may_change
    assert as_bob.get(page("briefing-model", harder.pk)).status_code == 403


def test_it_is_chosen_and_cleared_on_a_page(as_alice, acme, briefing, key):
    address = page("briefing-model", briefing.pk)
    fresh = form_of(as_alice.get(address), address)
    offered = as_alice.get(address, {"key": str(key.pk), "model": "no/such-model"}, headers={"HX-Request": "true"})
    wrong = as_alice.post(address, fresh | {"key": str(key.pk), "model": ""})
    unlisted = as_alice.post(address, fresh | {"key": str(key.pk), "model": "no/such-model"})
    saved = as_alice.post(address, fresh | {"key": str(key.pk), "model": HARDER})

    assert fresh["key"] == ""
    assert f'<option value="{HARDER}"' in words(offered)
    assert form_of(offered, address)["model"] == ""
    assert (wrong.status_code, unlisted.status_code, saved.status_code) == (422, 422, 302)
    assert "Choose a model." in words(wrong)
    briefing.refresh_from_db()
    assert (briefing.key_id, briefing.model) == (key.pk, HARDER)

    stale = as_alice.post(address, fresh | {"key": str(key.pk), "model": ROUTED})
    again = form_of(stale, address)
    cleared = as_alice.post(address, again | {"key": ""})

    assert stale.status_code == 422
    assert "changed the model of this briefing" in words(stale)
    assert cleared.status_code == 422, "the model that was typed is not thrown away unsaid"
    assert as_alice.post(address, again | {"key": "", "model": ""}).status_code == 302
    briefing.refresh_from_db()
    assert (briefing.key_id, briefing.model) == (None, "")


def test_a_key_of_it_that_broke_is_still_shown_as_chosen(as_alice, harder, key):
    disable_provider_key(key=key, actor=None, now=NOW)
    address = page("briefing-model", harder.pk)

    fields = form_of(as_alice.get(address), address)

    assert (fields["key"], fields["model"]) == (str(key.pk), HARDER)


def test_what_keeps_its_checks_from_running_leads_to_the_choice(as_alice, as_bob, acme, harder, key):
    import_people(acme, DJANGO)
    disable_provider_key(key=key, actor=None, now=NOW)
    link = f'<a href="{page("briefing-model", harder.pk)}">Choose another model</a>'

    assert link in words(as_alice.get(page("briefing", harder.pk), {"tab": "candidates"}))
    shown = words(as_bob.get(page("briefing", harder.pk), {"tab": "candidates"}))
    assert "This briefing has a model of its own, on your OpenRouter key “Harder”" in shown
    assert link not in shown
