"""The page of a call's receipt, and the way there from the list of calls."""

from __future__ import annotations

import re
import uuid

import pytest
from django.urls import reverse

from routing.agents import create_agent
from tests.usage.conftest import NOON, event, lost_or_failed
from tests.usage.test_receipts import OF_USED, listed
from usage.models import Mode, UsageEvent
from usage.price_list import CATALOG_VERSION

pytestmark = pytest.mark.django_db
Status = UsageEvent.Status


def address(call_id: uuid.UUID) -> str:
    return reverse("call", args=["acme", call_id])


def text_of(browser, call_id: uuid.UUID) -> str:
    answer = browser.get(address(call_id))
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_each_row_of_the_list_leads_to_its_receipt(as_bob, acme):
    call = event(acme)

    assert f'href="{address(call.call_id)}"' in as_bob.get("/o/acme/consumption/calls/").content.decode()


def test_the_receipt_shows_what_the_call_was_made_of(as_bob, acme):
    call = event(
        acme,
        **OF_USED,
        cost_nanousd=listed(),
        price_version=CATALOG_VERSION,
        latency_ms=1530,
        first_byte_ms=420,
        rule_version=7,
        labels={"team": "red <b>"},
        served_model="gpt-4o-2024-08-06",
        request_id="req-1",
        is_stream=True,
    )

    said = text_of(as_bob, call.call_id)

    for words in [
        "$0.003825",
        "1,545",
        "1.53 s",
        "0.42 s",
        "$2.50",
        "$1.25",
        "$10.00",
        "Version 7",
        "Label team red &lt;b&gt;",
        "gpt-4o-2024-08-06",
        "req-1",
        "as a stream",
        CATALOG_VERSION,
        "Default (removed)",
    ]:
        assert words in said, words
    assert "~" not in said


def test_estimated_tokens_are_marked_in_the_list_and_on_the_receipt(as_bob, acme):
    call = event(acme, uncached_input_tokens=1200, output_tokens=45, status=Status.CUT_OFF, are_tokens_estimated=True)

    listing = as_bob.get("/o/acme/consumption/calls/").content.decode()

    assert "~1,200" in listing
    assert "~45" in listing
    assert '<span class="badge bad">Cut off</span>' in listing
    said = text_of(as_bob, call.call_id)
    assert "~1,245 estimated by Keyfare" in said
    assert "The answer ended before it was whole." in said


@pytest.mark.parametrize(("status", "badge"), [("broke", "bad"), ("cancelled", ""), ("cut_off", "bad")])
def test_the_list_says_how_streams_ended(as_bob, acme, status, badge):
    event(acme, status=status, is_stream=True, error_kind="unexpected", latency_ms=1000, output_tokens=1)

    listing = as_bob.get("/o/acme/consumption/calls/").content.decode()

    assert f'<span class="badge {badge}">{Status(status).label}</span>' in listing
    assert "1.00 s, stream" in listing
    assert "unexpected" not in listing


def test_a_receipt_says_why_each_attempt_failed(as_bob, acme):
    first = lost_or_failed(acme, Status.FAILED, error_kind="overloaded", http_status=529)
    event(acme, attempt=2, attempt_of=first.call_id, run_id=first.run_id, output_tokens=3, occurred_at=NOON)

    said = text_of(as_bob, first.call_id)

    assert "Attempt 1" in said
    assert "Attempt 2" in said
    assert "OpenAI was overloaded or had a fault." in said
    assert "HTTP status 529" in said


def test_a_call_in_flight_is_shown_as_such(as_bob, acme, admit):
    said = text_of(as_bob, admit().id)

    assert "This call is in flight" in said
    assert "$" not in said


def test_managed_calls_are_paid_by_the_operator_whether_they_cost_credits_or_not(as_bob, acme):
    call = event(acme, **OF_USED, mode=Mode.MANAGED, key_label="operator-key", cost_nanousd=listed())

    said = text_of(as_bob, call.call_id)

    assert "paid by the operator" in said
    assert "$" not in said
    assert "operator-key" not in said


def test_nobody_reads_receipts_of_another_organization(as_charlie, client, acme, globex):
    call = event(acme)

    assert client.get(address(call.call_id)).status_code == 302
    assert as_charlie.get(address(call.call_id)).status_code == 404
    assert as_charlie.get(reverse("call", args=["globex", call.call_id])).status_code == 404


def test_a_call_that_nobody_made_is_absent_and_the_page_is_only_read(as_bob, acme):
    assert as_bob.get(address(uuid.uuid4())).status_code == 404
    assert as_bob.post(address(event(acme).call_id)).status_code == 405


def test_what_is_not_known_is_not_said_to_be_whole(as_bob, acme, admit):
    for call_id in (admit().id, lost_or_failed(acme, Status.LOST).call_id):
        assert "in all classes" not in text_of(as_bob, call_id)


def test_the_receipt_of_an_agent_leads_to_it(as_bob, acme):
    create_agent(organization=acme, name="Bot", actor=None)
    call = event(acme, action="bot")

    assert '<a href="/o/acme/agents/bot/">Bot</a>' in as_bob.get(address(call.call_id)).content.decode()
