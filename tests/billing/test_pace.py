"""For how long credits last: said by whole days, rounded down, and only where there is history enough to say it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from billing import ledger
from billing.models import LedgerEntry
from billing.pace import Pace, charged_by_day, pace
from organizations.models import Organization
from tests.billing.conftest import grant, hold, lifted_triggers
from usage.days import MONTH, first_day

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("charged", "days_charged", "days", "available", "left"),
    [
        (60, 10, 30, 100, 50),  # 2 a day
        (60, 10, 30, 1, 0),
        (60, 10, 30, 0, 0),
        (7, 5, 30, 10, 42),  # 42.86 days
        (60, 10, 20, 100, 33),  # an organization of 20 days: 3 a day
        (60, 10, 13, 100, None),
        (60, 4, 30, 100, None),
        (0, 0, 30, 100, None),
    ],
)
def test_credits_last_as_many_days_as_the_pace_allows(charged, days_charged, days, available, left):
    assert Pace(charged, days_charged, days, available).days_left == left


@pytest.mark.parametrize(("age", "days"), [(0, 1), (6, 7), (29, 30), (400, 30)])
def test_the_pace_is_of_no_more_days_than_the_organization_is_old(acme: Organization, age, days):
    acme.created_at = datetime.combine(TODAY - timedelta(days=age), datetime.min.time(), tzinfo=UTC)

    assert pace(organization=acme, today=TODAY, charged={TODAY: 3}, available=5) == Pace(3, 1, days, 5)


def test_what_was_charged_is_summed_by_the_utc_day_of_30_days(acme, globex):
    moments = ["2026-11-21T23:59", "2026-11-21T00:00", "2026-11-20T23:59", "2026-10-23T00:00", "2026-10-22T23:59"]
    when: dict[int, str] = {}
    for organization in (acme, globex):
        grant(organization, 40)
        *charged, freed = hold(organization, *range(1, len(moments) + 1), 9)
        ledger.release_hold(organization=organization, hold_id=freed.pk)
        for moment, each in zip(moments, charged, strict=True):
            when[ledger.capture_hold(organization=organization, hold_id=each.pk, amount=each.amount).pk] = moment
    with lifted_triggers():  # the ledger always takes the database's own time
        for pk, moment in when.items():
            LedgerEntry.objects.filter(pk=pk).update(created_at=datetime.fromisoformat(f"{moment}+00:00"))

    assert charged_by_day(organization=acme, first=first_day(TODAY, MONTH)) == {
        date(2026, 11, 21): 3,
        date(2026, 11, 20): 3,
        date(2026, 10, 23): 4,
    }
