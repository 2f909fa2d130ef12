"""What keeps the pages of an organization with very many calls quick: which index finds the few rows that they show."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.plans import analyze, index_conditions
from tests.usage.conftest import KEY, NOON, TODAY
from usage.cells import read_cells
from usage.models import Mode, UsageEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def many_calls(acme, globex) -> None:
    """Of two organizations, one a minute; the figures that the planner goes by are theirs."""
    UsageEvent.objects.bulk_create(
        UsageEvent(
            organization=(acme, globex)[number % 2],
            call_id=uuid.uuid4(),
            occurred_at=NOON - timedelta(minutes=number),
            provider="openai",
            model=f"model-{number // 2 % 7}",
            action="candidate_check",
            key_id=KEY,
            mode=Mode.BYOK,
            run_id=uuid.uuid4(),
            status=UsageEvent.Status.ANSWERED,
            cost_nanousd=1,
            price_source=UsageEvent.PriceSource.CATALOG,
            usage_reported=True,
        )
        for number in range(3000)
    )
    analyze("usage_usageevent", "usage_rollupstate")


def test_what_is_not_rolled_up_is_found_by_its_position(acme, many_calls):
    with CaptureQueriesContext(connection) as queries:
        read_cells(acme, TODAY, 30, "mode")

    conditions = index_conditions(queries[0]["sql"])
    if connection.vendor == "postgresql":
        assert any("ingest_position >= (InitPlan" in condition for condition in conditions), conditions
    else:
        assert any("rowid>?" in condition for condition in conditions), conditions
