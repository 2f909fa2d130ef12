"""The forecast of a month, by hand."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.template.loader import render_to_string

from tests.usage.conftest import NOON, TODAY, event, roll_up
from usage.forecast import Forecast, PastError, forecast, forecast_of_month
from usage.models import Mode

USD = 10**9


def days(first: date, last: date, cost=lambda day: 10) -> dict[date, int]:
    return {first + timedelta(days=at): cost(first + timedelta(days=at)) for at in range((last - first).days + 1)}


def error_of(found: Forecast) -> PastError:
    assert found.error is not None
    return found.error


def test_what_is_spent_and_the_weekdays_to_come():
    """November 2026 begins on a Sunday. Weekends cost 1, other days 10; it is Saturday the 21st, 14 more than usual."""
    daily = days(date(2026, 10, 1), date(2026, 11, 20), lambda day: 1 if day.weekday() >= 5 else 10)
    daily[date(2026, 11, 21)] = 15

    found = forecast(daily, today=date(2026, 11, 21))

    assert found.spent == 155 + 15  # 15 weekdays and 5 days of weekends; and today
    # to come: Sunday 22nd, five weekdays, the weekend of 28th and 29th, Monday 30th
    assert found.expected == 170 + 1 + 50 + 2 + 10


def test_a_day_that_has_begun_counts_as_its_weekday_at_least():
    daily = days(date(2026, 10, 1), date(2026, 11, 29)) | {date(2026, 11, 30): 3}

    assert forecast(daily, today=date(2026, 11, 30)).expected == 300
    assert forecast(daily | {date(2026, 11, 30): 30}, today=date(2026, 11, 30)).expected == 320


def test_the_mean_is_of_the_last_four_weeks_alone():
    daily = days(date(2026, 9, 1), date(2026, 10, 31), lambda day: 1000) | days(date(2026, 11, 1), date(2026, 11, 29))

    assert forecast(daily, today=date(2026, 11, 29)).expected == 300


def test_below_two_weeks_nothing_is_said():
    found = forecast(days(date(2026, 11, 8), date(2026, 11, 21)), today=date(2026, 11, 21))

    assert (found.expected, found.days_known, found.spent) == (None, 13, 140)
    assert forecast(days(date(2026, 11, 7), date(2026, 11, 21)), today=date(2026, 11, 21)).expected == 240


def test_without_any_use_nothing_is_known():
    found = forecast({}, today=TODAY)

    assert (found.expected, found.spent, found.days_known, found.error) == (None, 0, 0, None)


def test_it_says_how_far_it_was_off_at_the_same_day_of_the_last_months():
    """In October the second half cost twice as much, so at its middle the forecast was a third below what came."""
    daily = days(date(2026, 8, 1), date(2026, 10, 14)) | days(date(2026, 10, 15), date(2026, 11, 15), lambda day: 20)

    found = forecast(daily, today=date(2026, 11, 15))

    # October: 14 × 10 + 17 × 20 = 480 came, 310 were expected. September: as expected. August: from its 15th day on.
    assert error_of(found).percents == (35, 0, 0)
    assert error_of(found).words == "At this day of the last 3 months it was off by 0 to 35 %."


def test_a_month_shorter_than_this_day_is_judged_at_its_last():
    found = forecast(days(date(2025, 12, 1), date(2026, 3, 31)), today=date(2026, 3, 31))

    assert error_of(found).percents == (0, 0, 0)


def test_one_month_before_is_named():
    assert error_of(forecast(days(date(2026, 10, 1), TODAY), today=TODAY)).words == (
        "At this day of October it was off by 0 %."
    )


@pytest.mark.django_db
def test_it_reads_what_the_organization_paid_once(acme, globex, django_assert_num_queries):
    for day in days(date(2026, 10, 20), TODAY):
        event(acme, day=day, cost_nanousd=USD, uncached_input_tokens=1)
        event(acme, day=day, cost_nanousd=99 * USD, mode=Mode.MANAGED)
        event(globex, day=day, cost_nanousd=50 * USD)
    roll_up(now=NOON)
    event(acme, day=TODAY, cost_nanousd=USD, uncached_input_tokens=1)
    event(acme, day=TODAY, cost_nanousd=None, uncached_input_tokens=1)

    with django_assert_num_queries(1):
        found = forecast_of_month(organization=acme, today=TODAY)

    assert (found.spent, found.expected, found.is_incomplete) == (22 * USD, 31 * USD, True)
    shown = render_to_string("usage/_forecast.html", {"forecast": found})
    assert ">at least $31.00<" in shown
    assert "at least $22.00 so far" in shown
