"""Receipts with the names of keys, agents and errors, as programs get them: by the API and at the door."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from gateway.api import CallFound
from gateway.door.headers import COST_HEADER, cost_header
from gateway.receipts import as_json, read_receipt
from organizations.api_tokens import make_token
from organizations.models import ApiToken
from organizations.permissions import Permission
from providers.adapters.verdicts import ErrorKind
from providers.models import ProviderKey
from routing.models import Agent
from tests.builders import connect_key
from tests.usage.conftest import NOON, event, lost_or_failed, record_call
from tests.usage.conftest import admit as admit
from tests.usage.test_receipts import OF_USED, USED, listed
from usage.metering import Finished, cost_of
from usage.models import Mode, UsageEvent
from usage.price_list import CATALOG_VERSION
from usage.tokens import Report

pytestmark = pytest.mark.django_db
Status = UsageEvent.Status


@pytest.fixture
def token(acme, alice) -> Callable[..., tuple[ApiToken, str]]:
    def token(*scopes: Permission) -> tuple[ApiToken, str]:
        made = make_token(organization=acme, name=f"Token {uuid.uuid4()}", scopes=scopes, expires_at=None, actor=alice)
        return made.token, made.value

    return token


def read(organization, call_id) -> dict[str, Any]:
    found = read_receipt(organization=organization, call_id=call_id)
    assert found is not None
    return as_json(found)


def test_an_agent_and_its_key_are_named(acme, simulated_providers):
    Agent.objects.create(organization=acme, slug="support-bot", name="Support")
    key = connect_key(acme, "openai")
    call = event(acme, action="support-bot", key_id=key.pk, key_label="As it was called")

    assert read(acme, call.call_id)["actionName"] == "Support"
    shown = {"label": "As it was called", "last4": key.last4, "isThere": True, "wasReplaced": False}
    assert read(acme, call.call_id)["key"] == shown

    ProviderKey.objects.filter(pk=key.pk).update(replaced_at=call.occurred_at + timedelta(days=1))
    assert read(acme, call.call_id)["key"] == {**shown, "last4": None, "wasReplaced": True}
    ProviderKey.objects.filter(pk=key.pk).delete()
    assert read(acme, call.call_id)["key"] == {**shown, "last4": None, "isThere": False}


def test_a_key_of_another_organization_is_as_removed(acme, globex, simulated_providers):
    call = event(acme, key_id=connect_key(globex, "openai").pk)

    assert read(acme, call.call_id)["key"]["isThere"] is False


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_of_error_has_its_sentence(acme, kind):
    call = lost_or_failed(acme, Status.FAILED, error_kind=kind)

    reason = read(acme, call.call_id)["attempts"][0]["reason"]

    assert reason.endswith(".")
    assert "{" not in reason


def test_an_error_of_a_kind_that_is_gone_breaks_no_receipt(acme):
    call = lost_or_failed(acme, Status.FAILED, error_kind="of long ago")

    assert read(acme, call.call_id)["attempts"][0]["reason"] is None


def test_labels_are_said_as_they_were_sent(acme):
    call = event(acme, labels={"team": "Grün “x”"}, finish_reason="stop")

    assert read(acme, call.call_id)["labels"] == {"team": "Grün “x”"}


# The API ------------------------------------------------------------------------------------------------


def ask_api(value: str, call_id: object) -> Any:
    return Client(headers={"Authorization": f"Bearer {value}"}).get(f"/api/v1/calls/{call_id}")


def test_the_api_answers_the_receipt_and_describes_all_of_it(acme, token):
    call = event(acme, **OF_USED, cost_nanousd=listed(), price_version=CATALOG_VERSION, labels={"team": "red"})
    _, value = token(Permission.VIEW)

    answer = ask_api(value, call.call_id)

    assert answer.status_code == 200
    content = answer.json()
    assert content == read(acme, call.call_id)
    assert content == CallFound(**content).model_dump(mode="json")
    assert content["costUsd"] == f"0.{listed():09d}"
    assert content["attempts"][0]["usdPerMillion"]["input"] == "2.5"
    assert content["attempts"][0]["tokens"]["output"] == 45


@pytest.mark.parametrize("call_id", [uuid.uuid4(), "no-id", "%00"])
def test_a_call_that_is_none_of_the_organization_is_absent(acme, globex, token, call_id):
    _, value = token(Permission.VIEW)

    for absent in (call_id, event(globex).call_id):
        answer = ask_api(value, absent)
        assert (answer.status_code, answer.json()) == (404, {"error": "There is no such call."})


def test_the_api_takes_the_scope_view(acme, token):
    _, value = token(Permission.CALL_AGENTS)

    assert ask_api(value, event(acme).call_id).status_code == 403


# The header of whole answers ----------------------------------------------------------------------------


def told(finished: Finished) -> dict[str, str]:
    return cost_header(finished.call.facts.mode, cost_of(finished))


def test_the_header_says_what_the_books_will(acme, admit):
    call = admit()
    report = Report(USED)
    finished = Finished(call, Status.ANSWERED, 5, report, http_status=200)

    (said,) = told(finished).values()

    assert said == f"0.{listed():09d}"
    booked = record_call(call=call, status=Status.ANSWERED, now=NOON, report=report, http_status=200)
    assert booked.cost_nanousd == listed()


@pytest.mark.parametrize("shown", [False, True])
def test_the_header_of_a_managed_call_is_the_operators(admit, settings, shown):
    settings.KEYFARE_SHOW_MANAGED_USD = shown
    finished = Finished(admit(mode=Mode.MANAGED), Status.ANSWERED, 5, Report(USED), http_status=200)

    assert (COST_HEADER in told(finished)) is shown


def test_a_cost_that_nobody_knows_has_no_header_and_an_own_server_costs_nothing(admit):
    unknown = Finished(admit(model="nobody-knows-it"), Status.ANSWERED, 5, Report(USED), http_status=200)
    own = Finished(admit(no_token_charges=True), Status.ANSWERED, 5, Report(USED), http_status=200)

    assert told(unknown) == {}
    assert told(own) == {COST_HEADER: "0.000000000"}
