from __future__ import annotations

import traceback
import uuid
from dataclasses import replace

import pytest
from django.db import transaction

from gateway import dispatch
from gateway.ticket import Outcome
from providers.adapters.base import ChatRequest, ErrorKind, Message, ProviderError
from providers.adapters.openrouter import OpenRouterAdapter
from providers.adapters.reasons import reason
from providers.models import OrganizationKey, ProviderKey
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import RouteUnavailable, resolve
from tests.builders import NOW, admit, ask_with, connect_managed_key, route_to_own_key, run_call, settle
from usage.models import InFlightCall, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
ACTION = REQUIREMENT_GENERATION.slug
MODEL = "openai/gpt-4.1-mini"
QUESTION = ChatRequest(
    model=MODEL,
    system="Answer in JSON.",
    messages=(Message("user", "<job_description>\nMust know Django.\n</job_description>"),),
)


def prepare(organization, **changes):
    route = replace(resolve(organization=organization, action=ACTION), **changes)
    return dispatch.prepare(organization=organization, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)


def ask(organization, request=QUESTION):
    route = resolve(organization=organization, action=ACTION)
    return run_call(organization=organization, route=route, run_id=uuid.uuid4(), iteration=1, request=request, now=NOW)


def test_a_call_is_answered_and_leaves_one_event_with_its_cost(acme):
    key = route_to_own_key(acme)

    result = ask(acme)

    event = UsageEvent.objects.get()
    assert "requirements" in result.text
    assert (event.status, event.mode, event.key_id, event.model) == ("answered", "byok", key.pk, MODEL)
    assert event.cost_nanousd
    assert not InFlightCall.objects.exists()
    assert ProviderKey.objects.get(pk=key.pk).last_used_at is not None


def test_a_managed_call_is_counted_for_the_organization_that_made_it(acme):
    managed = connect_managed_key()

    ask(acme)

    event = UsageEvent.objects.for_organization(acme).get()
    assert (event.mode, event.key_id) == ("managed", managed.pk)


def test_a_refused_call_leaves_a_failed_event_and_raises_the_sentence(acme):
    route_to_own_key(acme)
    route = replace(resolve(organization=acme, action=ACTION), model="no/such-model")

    with pytest.raises(ProviderError) as refused:
        run_call(
            organization=acme,
            route=route,
            run_id=uuid.uuid4(),
            iteration=1,
            request=replace(QUESTION, model="no/such-model"),
            now=NOW,
        )

    assert refused.value.kind == ErrorKind.MODEL_NOT_FOUND
    event = UsageEvent.objects.get()
    assert (event.status, event.error_kind, event.cost_nanousd) == ("failed", "model_not_found", None)


def test_an_admitted_call_that_is_never_settled_stays_in_flight(acme):
    route_to_own_key(acme)

    ticket = prepare(acme)
    admit(ticket)

    assert InFlightCall.objects.get().pk == ticket.call.id
    assert not UsageEvent.objects.exists()


def test_settling_twice_leaves_one_event(acme):
    route_to_own_key(acme)
    ticket = prepare(acme)
    outcome = Outcome(error=ProviderError(ErrorKind.OVERLOADED, reason("overloaded", provider="OpenRouter")))

    settle(ticket, outcome)
    settle(ticket, outcome)

    assert UsageEvent.objects.count() == 1


def test_an_answer_that_we_cannot_read_for_a_bug_of_ours_is_in_the_books_all_the_same(acme, monkeypatch):
    route_to_own_key(acme)
    monkeypatch.setattr(OpenRouterAdapter, "parse_chat", lambda adapter, answer: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        ask(acme)

    event = UsageEvent.objects.get()
    assert (event.status, event.error_kind, event.no_price) == ("failed", "unexpected", "no_answer")
    assert not InFlightCall.objects.exists()


def test_a_call_that_is_given_up_while_it_runs_is_in_the_books(acme, simulator):
    route_to_own_key(acme)
    ticket = prepare(acme)
    simulator.app.delay_seconds = 5

    with pytest.raises(TimeoutError):
        ask_with(ticket, QUESTION, timeout=0.2)

    assert (UsageEvent.objects.get().status, UsageEvent.objects.get().no_price) == ("failed", "no_answer")
    assert not InFlightCall.objects.exists()


def test_a_call_that_left_and_timed_out_may_have_been_billed(acme, simulator, settings):
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 0.2
    route_to_own_key(acme)
    simulator.app.delay_seconds = 5

    with pytest.raises(ProviderError) as failed:
        ask(acme)

    assert failed.value.may_have_run
    assert UsageEvent.objects.get().no_price == "no_answer"


def test_a_call_that_nobody_took_was_not_billed(acme, settings, simulator):
    route_to_own_key(acme)
    ticket = prepare(acme)
    nobody = replace(ticket, destination=replace(ticket.destination, base_url="http://127.0.0.1:9/api/v1"))

    outcome = ask_with(nobody, QUESTION)

    assert outcome.error is not None
    assert not outcome.error.may_have_run
    assert UsageEvent.objects.get().no_price == "not_billed"


@pytest.mark.django_db(transaction=True)
def test_a_call_is_not_settled_where_a_transaction_could_undo_it(acme):
    route_to_own_key(acme)
    ticket = prepare(acme)

    with transaction.atomic(), pytest.raises(RuntimeError):
        settle(ticket, Outcome(error=ProviderError(ErrorKind.OVERLOADED, reason("overloaded", provider="OpenRouter"))))


def test_a_route_to_somebody_elses_key_is_refused(acme, globex):
    theirs = route_to_own_key(globex)
    route_to_own_key(acme)

    with pytest.raises(RouteUnavailable, match="was removed"):
        prepare(acme, key_id=theirs.pk)
    assert not InFlightCall.objects.exists()


def test_a_refusal_never_tells_customers_what_the_operator_calls_its_keys(acme):
    key = connect_managed_key()
    ProviderKey.objects.filter(pk=key.pk).update(label="Contract 4711")
    route = resolve(organization=acme, action="candidate_check")

    for change in ({"status": ProviderKey.Status.DISABLED}, None):
        if change:
            ProviderKey.objects.filter(pk=key.pk).update(**change)
        else:
            ProviderKey.objects.filter(pk=key.pk).delete()
        with pytest.raises(RouteUnavailable, match="The managed OpenRouter key") as refusal:
            dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)
        assert "4711" not in str(refusal.value)


def test_a_managed_route_to_an_organizations_key_is_refused(acme, globex):
    theirs = route_to_own_key(globex)
    connect_managed_key()

    with pytest.raises(RouteUnavailable):
        prepare(acme, key_id=theirs.pk)


def test_a_key_bound_to_another_origin_never_leaves(acme, settings, simulator):
    route_to_own_key(acme)
    served = simulator.app.model_calls
    settings.KEYFARE_PROVIDER_ORIGINS = {"openrouter": "http://127.0.0.1:1/api/v1"}

    with pytest.raises(RouteUnavailable, match="Needs re-entry"):
        ask(acme)
    assert simulator.app.model_calls == served


def test_an_unreadable_key_says_that_it_needs_re_entry(acme):
    route_to_own_key(acme)
    OrganizationKey.objects.all().delete()

    with pytest.raises(RouteUnavailable, match="Paste it again"):
        ask(acme)


def test_neither_a_prepared_call_nor_a_failure_shows_the_key(acme, settings):
    route_to_own_key(acme)
    ticket = prepare(acme)
    settings.KEYFARE_PROVIDER_ORIGINS = {
        name: url.replace("127.0.0.1", "localhost.invalid") for name, url in settings.KEYFARE_PROVIDER_ORIGINS.items()
    }
    secret = ticket.sealed_key.open().reveal()

    try:
        raise RuntimeError(f"{ticket!r}")
    except RuntimeError:
        shown = traceback.format_exc()

    assert secret not in shown
    assert repr(ticket.sealed_key.data_key) not in shown
