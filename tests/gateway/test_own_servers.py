"""A call to a server of one's own has no token charges, as its key said when the call left."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from gateway import dispatch
from gateway.sweeping import sweep_lost_calls
from gateway.ticket import Outcome
from providers.adapters.base import ChatRequest, ErrorKind, Message, ProviderError
from providers.adapters.reasons import reason
from providers.models import AvailableModel, ProviderKey
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import resolve
from routing.services import save_routing
from tests.builders import NOW, PERHAPS_OWN, admit, connect_key, run_call, settle
from usage.models import Mode, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
ACTION = REQUIREMENT_GENERATION.slug


def route_to(organization, provider, *, is_own_server=False):
    key = connect_key(organization, provider)
    ProviderKey.objects.filter(pk=key.pk).update(is_own_server=is_own_server)
    model = AvailableModel.objects.filter(key=key).order_by("model")[0].model
    save_routing(organization=organization, action=ACTION, key=key, model=model, actor=None)
    return key, model


def prepare(organization):
    route = resolve(organization=organization, action=ACTION)
    return dispatch.prepare(organization=organization, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)


def ask(organization, model):
    job = "<job_description>\nMust know Django.\n</job_description>"
    request = ChatRequest(model=model, system="Answer in JSON.", messages=(Message("user", job),))
    route = resolve(organization=organization, action=ACTION)
    return run_call(organization=organization, route=route, run_id=uuid.uuid4(), iteration=1, request=request, now=NOW)


@pytest.mark.parametrize(
    ("provider", "is_own_server"), [("ollama", False), *((provider, True) for provider in PERHAPS_OWN)]
)
def test_an_answer_of_ones_own_server_has_tokens_and_no_token_charges(acme, provider, is_own_server):
    _, model = route_to(acme, provider, is_own_server=is_own_server)

    ask(acme, model)

    event = UsageEvent.objects.get()
    assert (event.status, event.mode, event.cost_nanousd) == ("answered", Mode.BYOK, 0)
    assert event.has_no_token_charges
    assert event.usage_reported
    assert event.total_tokens > 0


def test_a_server_that_is_not_ones_own_is_unpriced(acme):
    _, model = route_to(acme, "openai_compatible")

    ask(acme, model)

    event = UsageEvent.objects.get()
    assert (event.cost_nanousd, event.price_source, event.no_price) == (None, "none", "not_listed")


def test_a_call_that_ones_own_server_left_unanswered_costs_nothing(acme, simulator, settings):
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 0.2
    _, model = route_to(acme, "ollama")
    simulator.app.delay_seconds = 5

    with pytest.raises(ProviderError) as failed:
        ask(acme, model)

    assert failed.value.may_have_run
    event = UsageEvent.objects.get()
    assert (event.status, event.cost_nanousd, event.no_price) == ("failed", 0, "")
    assert event.has_no_token_charges


@pytest.mark.parametrize("was_own", [True, False])
def test_what_the_key_said_when_the_call_left_holds(acme, was_own):
    key, _ = route_to(acme, "openai_compatible", is_own_server=was_own)
    ticket = prepare(acme)
    ProviderKey.objects.filter(pk=key.pk).update(is_own_server=not was_own)

    settle(
        ticket,
        Outcome(error=ProviderError(ErrorKind.UNREACHABLE, reason("no_connection", host="h"), may_have_run=True)),
    )

    assert UsageEvent.objects.get().has_no_token_charges is was_own


def test_a_lost_call_to_ones_own_server_costs_nothing(acme):
    route_to(acme, "ollama")
    admit(prepare(acme))

    sweep_lost_calls(now=NOW + timedelta(days=1))

    event = UsageEvent.objects.get()
    assert (event.status, event.cost_nanousd, event.has_no_token_charges) == ("lost", 0, True)
