"""
What Managed calls cost is the operator's: an amount that nothing else can come to is looked for in every page, answer,
receipt, header and refusal, as what it is and as whatever it was summed up or averaged to.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from candidates.models import CandidateCheck
from gateway.door.headers import cost_header
from gateway.receipts import as_json, read_receipt
from organizations.permissions import Permission
from tests.conftest import logged_in
from tests.test_urls_and_roles import API_URLS, ORGANIZATION_URLS, Tenant, ask, token, world
from tests.test_urls_and_tokens import program
from tests.usage.conftest import event
from usage.facts import Admission
from usage.metering import Finished, cost_of
from usage.models import Mode, UsageEvent
from usage.tokens import Report, TokenUsage

__all__ = ["world"]

CANARY = 918_273_645_546_372  # nano-USD
# It, and any USD from a thousand on: all else in these tests costs cents.
SIGNS = re.compile(r"918,273|918273\.645|918273645|\$\d[\d,]*,\d{3}|\$\d{4,}|\$[\d.]+[kMB]\b")


@pytest.fixture
def canary(world, alice) -> Tenant:
    """Acme has made Managed calls of that cost: one in the run of a check, one through the gateway."""
    check = CandidateCheck.objects.get(pk=str(world.ids["check_id"]))
    spent = {
        "mode": Mode.MANAGED,
        "key_label": "operator's",
        "cost_nanousd": CANARY,
        "price_source": UsageEvent.PriceSource.PROVIDER,
        "uncached_input_tokens": 1,
        "output_tokens": 1,
        "occurred_at": timezone.now(),
    }
    event(world.organization, run_id=check.run_id, iteration=2, **spent)
    agent = str(world.ids["agent"])
    gateway = event(world.organization, action=agent, member_id=alice.pk, labels={"team": "red"}, **spent)
    return Tenant(world.organization, {**world.ids, "call_id": gateway.call_id})


def told(canary: Tenant, person) -> Iterator[tuple[str, str]]:
    """All that a member or a program of Acme is told: where, and what with its headers."""
    client = logged_in(person)
    for url in ORGANIZATION_URLS:
        for method in ("GET", "POST"):
            answer = ask(client, method, url.address(canary.ids))
            yield f"{method} {url.name}", f"{answer.content.decode()}{answer.headers}"
    fragments = logged_in(person)
    fragments.defaults["HTTP_HX_REQUEST"] = "true"
    for url in ORGANIZATION_URLS:
        answer = ask(fragments, "GET", url.address(canary.ids))
        yield f"fragment {url.name}", f"{answer.content.decode()}{answer.headers}"
    robot = program(token(canary.organization, name=f"reads {uuid.uuid4()}", scopes=[Permission.VIEW]))
    for url in API_URLS:
        answer = ask(robot, "GET", url.address(canary.ids))
        yield f"GET {url.name}", f"{answer.content.decode()}{answer.headers}"
    receipt = read_receipt(organization=canary.organization, call_id=uuid.UUID(str(canary.ids["call_id"])))
    assert receipt is not None
    yield "receipt at the door", f"{receipt} {as_json(receipt)}"
    yield "header", str(cost_header(Mode.MANAGED, cost_of(answered(canary))))


def answered(canary: Tenant) -> Finished:
    call = UsageEvent.objects.get(call_id=str(canary.ids["call_id"]))
    return Finished(
        Admission(
            call.call_id,
            call.organization_id,
            call.facts,
            call.run_id,
            1,
            call.occurred_at,
            call.occurred_at + timedelta(minutes=1),
        ),
        UsageEvent.Status.ANSWERED,
        1,
        Report(TokenUsage(output=1), cost_nanousd=CANARY),
        http_status=200,
    )


def test_nobody_in_the_organization_is_told_what_managed_calls_cost(canary, alice, settings):
    settings.KEYFARE_SHOW_MANAGED_USD = False

    leaks = [(where, found[0]) for where, what in told(canary, alice) if (found := SIGNS.search(what))]

    assert leaks == []


def test_where_the_operator_shows_it_it_is_found(canary, alice, settings):
    """So that the test above looks in the right places, for the right signs."""
    settings.KEYFARE_SHOW_MANAGED_USD = True

    found = {where for where, what in told(canary, alice) if SIGNS.search(what)}

    shown = {"overview", "settings", "consumption", "calls", "runs", "call", "candidates:check", "routing:table"}
    shown |= {"routing:agents", "routing:agent", "api:call"}
    assert {f"GET {name}" for name in shown} | {"receipt at the door", "header"} <= found
