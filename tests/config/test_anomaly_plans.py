"""That what is asked for an anomaly reads its hours alone, by the condition of the index, as the role that serves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from candidates.models import CandidateCheck
from config.anomaly_credits import credits_said
from organizations.models import Organization
from organizations.tenancy import scope
from tests.builders import write_briefing
from tests.candidates.test_advisor import checks
from tests.config.test_anomaly_credits import HOUR, SINCE, more_requests
from tests.plans import analyze, index_conditions
from tests.usage.conftest import KEY, unsaved_event
from usage.episodes.elsewhere import KeyReading, told_of_keys
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db

ROWS = 2_000


def ended_checks(organization: Organization) -> None:
    """One an hour, of one person."""
    write_briefing(organization, ("Django", "must"))
    checks(organization, 1, SINCE)
    one = CandidateCheck.objects.for_organization(organization).get()
    fields = ("organization", "briefing", "candidate", "profile", "status", "mode", "kind", "price", "charged", "route")
    CandidateCheck.objects.bulk_create(
        CandidateCheck(
            **{name: getattr(one, name) for name in fields},
            is_latest=False,
            accepted_at=SINCE - number * HOUR,
            completed_at=SINCE - number * HOUR,
        )
        for number in range(ROWS)
    )


def test_credits_are_read_of_the_checks_that_ended_in_its_hours(acme, globex):
    for organization in (acme, globex):
        ended_checks(organization)
    row = more_requests(acme)
    analyze("candidates_candidatecheck")

    with scope(acme.pk, "a page"), CaptureQueriesContext(connection) as queries:
        assert "took" in credits_said(acme, [row])[row.pk]
        conditions = [each for each in index_conditions(queries[0]["sql"]) if "check_ended" in each]

    begins = "completed_at >= " if connection.vendor == "postgresql" else "completed_at>?"
    assert len(conditions) == 2
    assert all(begins in each for each in conditions), conditions


def test_what_passed_with_a_key_is_read_of_the_calls_between_two_readings(acme, globex):
    UsageEvent.objects.bulk_create(
        unsaved_event((acme, globex)[number % 2], occurred_at=SINCE - number * timedelta(minutes=5), cost_nanousd=1)
        for number in range(ROWS)
    )
    analyze("usage_usageevent")
    reading = KeyReading(acme.pk, KEY, SINCE - 24 * HOUR, SINCE, 10**10)

    with scope(acme.pk, "the job"), CaptureQueriesContext(connection) as queries:
        assert list(told_of_keys([reading], 0))
        conditions = index_conditions(queries[0]["sql"])

    begins = "occurred_at >= " if connection.vendor == "postgresql" else "occurred_at>?"
    assert any(begins in each for each in conditions), conditions
