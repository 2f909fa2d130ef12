"""Days are UTC days, for usage, limits and bills alike."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

WEEK, MONTH = 7, 30


def first_day(today: date, days: int) -> date:
    """The first of `days` days that end with today."""
    return today - timedelta(days=days - 1)


def months_before(day: date, months: int) -> date:
    """The first day of the month so many before that of `day`."""
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def month_after(day: date) -> date:
    return months_before(day, -1)


def last_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def start_of_day(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def end_of_day(day: date) -> datetime:
    return datetime.combine(day, time.max, tzinfo=UTC)


def midnight_before(moment: datetime) -> datetime:
    """When the day of `moment` began."""
    return start_of_day(moment.astimezone(UTC).date())
