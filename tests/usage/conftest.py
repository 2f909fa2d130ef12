from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import connection
from django.db.models import Max

from organizations.models import Organization
from usage import rollups
from usage.facts import Admission, CallFacts
from usage.measures import COARSE_MEASURES, MEASURES
from usage.metering import Finished, admit_call, record_calls
from usage.models import Mode, RollupState, UsageByLabel, UsageDaily, UsageEvent, UsageHourly
from usage.rollups import RollUpResult

TODAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = uuid.UUID(int=1)
NoPrice = UsageEvent.NoPrice


def settle() -> None:
    """
    Wait until every event so far can be rolled up.

    Transaction ids are of the whole PostgreSQL cluster, so what else runs there holds the watermark back; within a
    transaction of the test there is nothing to wait for.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        return
    give_up_at = monotonic() + 30
    newest = UsageEvent.objects.aggregate(newest=Max("ingest_position"))["newest"] or 0
    with connection.cursor() as cursor:
        while monotonic() < give_up_at:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            if cursor.fetchone()[0] > newest:
                return
            sleep(0.02)


def roll_up(*, now: datetime) -> RollUpResult:
    settle()
    return rollups.roll_up(now=now)


def rebuild(*, now: datetime) -> RollUpResult:
    settle()
    return rollups.rebuild(now=now)


def event(organization: Organization, **fields: Any) -> UsageEvent:
    """A usage event as it would stand in the table; an answered, priced BYOK call unless told otherwise."""
    row = unsaved_event(organization, **fields)
    row.save()
    return row


def unsaved_event(organization: Organization, **fields: Any) -> UsageEvent:
    cost = fields.get("cost_nanousd", 0)
    iteration = fields.get("iteration", 1)
    has_tokens = any(value for name, value in fields.items() if name.endswith("_tokens"))
    day: date = fields.pop("day", TODAY)
    values: dict[str, Any] = {
        "call_id": uuid.uuid4(),
        "occurred_at": datetime.combine(day, time(10), tzinfo=UTC),
        "provider": "openai",
        "model": "gpt-4o",
        "action": "candidate_check",
        "key_id": KEY,
        "key_label": "Default",
        "mode": Mode.BYOK,
        "run_id": uuid.uuid4(),
        "iteration": iteration,
        "status": UsageEvent.Status.ANSWERED,
        "usage_reported": has_tokens or cost is not None,
        "cost_nanousd": cost,
        "price_source": UsageEvent.PriceSource.NONE if cost is None else UsageEvent.PriceSource.CATALOG,
        "no_price": "" if cost is not None else NoPrice.NOT_LISTED if has_tokens else NoPrice.NOT_REPORTED,
        "counts_run": iteration == 1,
        "counts_priced_run": iteration == 1 and cost is not None,
    }
    return UsageEvent(organization=organization, **{**values, **fields})


def lost_or_failed(organization: Organization, status: UsageEvent.Status, **fields: Any) -> UsageEvent:
    why = NoPrice.NO_ANSWER if status == UsageEvent.Status.LOST else NoPrice.NOT_BILLED
    return event(organization, **{"status": status, "cost_nanousd": None, "no_price": why, **fields})


def recorded(finished: Sequence[Finished]) -> list[UsageEvent]:
    """The events of these calls as they stand in the books."""
    return [UsageEvent.objects.get(call_id=event.call_id, revision=0) for event in record_calls(finished)]


def record_call(*, call: Admission, status: UsageEvent.Status, now: datetime, **how: Any) -> UsageEvent:
    """One call by itself, which took until `now` unless it is said otherwise."""
    if how.get("latency_ms") is None:
        how["latency_ms"] = (now - call.started_at) // timedelta(milliseconds=1)
    (event,) = recorded([Finished(call, status, **how)])
    return event


def daily_table() -> dict[tuple[Any, ...], dict[str, int]]:
    """All of UsageDaily: dimensions to measures."""
    return {
        tuple(getattr(row, name) for name in UsageDaily.DIMENSIONS): {name: getattr(row, name) for name in MEASURES}
        for row in UsageDaily.objects.all()
    }


def all_tables() -> list[dict[tuple[Any, ...], dict[str, int]]]:
    """All that the rollup writes: by the day, the hour and the label."""
    return [
        daily_table(),
        *(
            {
                tuple(getattr(row, name) for name in table.DIMENSIONS): {
                    name: getattr(row, name) for name in COARSE_MEASURES
                }
                for row in table.objects.all()
            }
            for table in (UsageHourly, UsageByLabel)
        ),
    ]


def start_rollup_anew() -> None:
    for table in (UsageDaily, UsageHourly, UsageByLabel):
        table.objects.all().delete()
    RollupState.objects.all().delete()


@pytest.fixture
def admit(acme: Organization) -> Callable[..., Admission]:
    def admit(**fields: Any) -> Admission:
        values: dict[str, Any] = {
            "provider": "openai",
            "model": "gpt-4o",
            "action": "candidate_check",
            "key_id": KEY,
            "key_label": "Default",
            "mode": Mode.BYOK,
        }
        facts = CallFacts(**{name: fields.pop(name, value) for name, value in values.items()})
        others: dict[str, Any] = {
            "organization_id": fields.pop("organization", acme).pk,
            "run_id": uuid.uuid4(),
            "iteration": 1,
            "now": NOON,
            "deadline_at": NOON + timedelta(seconds=150),
        }
        return admit_call(facts=facts, **{**others, **fields})

    return admit


@pytest.fixture(autouse=True)
def _postgresql_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgresql") and connection.vendor != "postgresql":
        pytest.skip("needs transactions that run at the same time: PostgreSQL")
