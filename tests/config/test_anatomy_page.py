"""The page of cost anatomy: by month, by action, of a run; and the ways that lead there."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.utils import timezone

from organizations.models import Organization
from routing.models import Agent
from tests.usage.conftest import event
from usage.models import UsageEvent

PAGE = "/o/acme/consumption/anatomy/"
MOST_QUERIES = 20


def used(organization: Organization, **fields: Any) -> UsageEvent:
    told = {
        "uncached_input_tokens": 4_000,
        "system_tokens": 3_000,
        "user_tokens": 1_000,
        "output_tokens": 100,
        "cost_nanousd": 11_000_000,
        "input_cost_nanousd": 10_000_000,
    }
    return event(organization, **{**told, "day": timezone.now().date(), **fields})


def text_of(response) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_a_month_is_told_in_words_and_as_a_table(as_alice, acme):
    used(acme, action="support-replies")

    page = text_of(as_alice.get(PAGE))

    assert "What was sent cost $0.01, what was answered &lt;$0.01." in page
    assert "The largest part of what was sent: system instructions. It was 75% of the tokens" in page
    assert "Up to 100% of them could have been read from a cache, and were not" in page
    assert '<td class="num" data-th="Estimated USD">$0.0075</td>' in page
    assert "Support replies</a>" in page


def test_without_calls_it_says_so(as_alice):
    page = text_of(as_alice.get(PAGE))

    assert "No model calls in" in page
    assert "<table" not in page


@pytest.mark.parametrize("query", ["month=2026-13", "month=now", "run=1", "month=2026-11-01", "month=0"])
def test_what_cannot_be_read_of_the_address_is_said(as_alice, query):
    assert "These filters could not be read" in text_of(as_alice.get(f"{PAGE}?{query}"))


@pytest.mark.parametrize("query", ["month=0001-01", "month=9999-12", "month=2020-02&action=%00x", "action=nobody"])
def test_months_and_actions_without_calls_are_shown_as_such(as_alice, acme, query):
    used(acme)

    assert as_alice.get(f"{PAGE}?{query}").status_code == 200


def test_only_the_month_and_the_action_asked_for_count(as_alice, acme):
    used(acme, action="one")
    used(acme, action="two", system_tokens=0, history_tokens=3_000)
    used(acme, action="two", day=timezone.now().date().replace(year=2020, day=1), tools_tokens=1_000)

    page = text_of(as_alice.get(f"{PAGE}?action=two"))

    assert "The largest part of what was sent: history." in page
    assert '<option value="two" selected>Two</option>' in page
    assert '<td class="num" data-th="Tokens">4,100</td>' in page


def test_a_run_is_told_call_by_call(as_alice, acme):
    first = used(acme)
    used(acme, run_id=first.run_id, iteration=2, system_tokens=3_000, history_tokens=900, user_tokens=100)

    page = text_of(as_alice.get(f"{PAGE}?run={first.run_id}"))

    assert "Call by call" in page
    assert "900" in page
    assert f"/o/acme/consumption/calls/{first.call_id}/" in page


def test_the_receipt_of_a_call_says_it_too(as_alice, acme):
    call = used(acme)

    page = text_of(as_alice.get(f"/o/acme/consumption/calls/{call.call_id}/"))

    assert "System instructions ~3,000, User input ~1,000" in page
    assert f"{PAGE}?run={call.run_id}" in page


def test_runs_of_others_are_not_there(as_alice, globex):
    assert as_alice.get(f"{PAGE}?run={used(globex).run_id}").status_code == 404
    assert as_alice.get(f"{PAGE}?run={uuid.uuid4()}").status_code == 404


def test_the_calls_of_a_run_and_the_page_of_an_agent_lead_there(as_alice, acme):
    Agent.objects.create(organization=acme, slug="support", name="Support")
    run = used(acme, action="support").run_id

    assert f"{PAGE}?run={run}" in text_of(as_alice.get(f"/o/acme/consumption/calls/?run={run}"))
    assert f"{PAGE}?run=" not in text_of(as_alice.get("/o/acme/consumption/calls/"))
    assert f"{PAGE}?action=support" in text_of(as_alice.get("/o/acme/agents/support/"))


def test_it_takes_as_many_queries_for_many_calls_and_actions_as_for_few(as_alice, acme, django_assert_max_num_queries):
    for number in range(30):
        used(acme, action=f"agent-{number}", model=f"model-{number % 7}")

    with django_assert_max_num_queries(MOST_QUERIES):
        page = text_of(as_alice.get(PAGE))

    assert "10 more stand in the filter above." in page
