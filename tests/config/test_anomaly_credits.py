"""What Managed calls of an anomaly cost: credits where checks took them, and never USD."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail

from config.anomalies import said_of
from config.anomaly_credits import credits_said
from tests.candidates.test_advisor import checks
from tests.config.test_anomalies import NOW, anomaly, text_of
from tests.conftest import logged_in
from usage.episodes.telling import tell_anomalies

pytestmark = pytest.mark.django_db(transaction=True)

SINCE, HOUR, WEEK = NOW - timedelta(hours=3), timedelta(hours=1), timedelta(days=7)
SAID = "Checks that ended in these hours took 12 credits; a week before, 4."


def more_requests(organization, **fields):
    values = {"mode": "managed", "kind": "requests", "usual": 100, "found": 900, "a_day_nanousd": 8 * 10**9}
    return anomaly(organization, **{**values, **fields})


def charged(organization, globex) -> None:
    checks(organization, 3, SINCE + HOUR)
    checks(organization, 1, SINCE + HOUR - WEEK)
    checks(organization, 1, SINCE + HOUR, status="failed", charged=0)
    checks(organization, 1, SINCE + HOUR, mode="byok")
    checks(organization, 1, SINCE - HOUR)
    checks(organization, 1, NOW)
    checks(globex, 1, SINCE + HOUR)


def test_pages_and_mails_say_the_credits_that_checks_of_its_hours_took(acme, globex, alice):
    more_requests(acme)
    charged(acme, globex)

    for page in ("/o/acme/consumption/anomalies/", "/o/acme/"):
        text = text_of(logged_in(alice), page)
        assert f"what they cost is paid by the operator. {SAID}" in text
        assert "$8" not in text
    tell_anomalies(now=NOW, said_of=said_of)
    (message,) = mail.outbox
    assert SAID in message.body
    assert "$" not in message.body


def test_what_takes_no_credits_says_so(acme):
    rows = [more_requests(acme, action=action) for action in ("requirement_generation", "support-replies")]
    assert set(credits_said(acme, rows).values()) == {"They cost no credits."}


def test_calls_on_own_keys_say_what_they_cost_in_usd(acme):
    row = more_requests(acme, mode="byok")
    assert credits_said(acme, [row]) == {}
    assert said_of(row).cost == "That cost $8.00 more than usual in the last 24 hours (estimated)."


def test_many_are_asked_for_at_once(acme, globex, django_assert_num_queries):
    rows = [more_requests(acme, subject=str(number)) for number in range(30)]
    charged(acme, globex)
    with django_assert_num_queries(1):
        assert set(credits_said(acme, rows).values()) == {SAID}
