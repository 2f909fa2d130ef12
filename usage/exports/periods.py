"""
Of what an export is: of a month of the books, or of days.

A month is what its seal holds, once there is one (sealing.py); days are those on which calls left, as the books are
now. All are UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from usage.days import start_of_day
from usage.kept import kept_from

MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class BadPeriod(Exception):
    """The sentence says what to give; `field` is what to give it in."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True)
class Month:
    """By its first day."""

    first: date

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"

    @classmethod
    def of(cls, day: date) -> Month:
        return cls(day.replace(day=1))

    @property
    def next(self) -> Month:
        return Month.of(self.first + timedelta(days=31))

    @property
    def last(self) -> date:
        return self.next.first - timedelta(days=1)

    @property
    def start(self) -> datetime:
        return start_of_day(self.first)

    @property
    def end(self) -> datetime:
        """When it is over."""
        return start_of_day(self.next.first)


@dataclass(frozen=True, slots=True)
class Days:
    """Both are included."""

    first: date
    last: date

    def __str__(self) -> str:
        return f"{self.first}_{self.last}"


Period = Month | Days


def read_period(*, month: str, first: str, last: str, today: date) -> Period:
    """What was typed or sent: a month, or else both days. Raises BadPeriod."""
    if month and (first or last):
        raise BadPeriod("month", "Give a month, or the days from and to, and not both.")
    if month:
        return _month(month, today)
    if not first and not last:
        raise BadPeriod("month", "Give a month as YYYY-MM, or the days from and to as YYYY-MM-DD.")
    days = Days(_day("from", first), _day("to", last))
    if days.first > days.last:
        raise BadPeriod("from", f"{days.first} is after {days.last}, the day in to. Swap them.")
    if days.first > today:
        raise BadPeriod("from", f"{days.first} has not come yet; today is {today} (UTC).")
    return days


def refuse_what_has_left(period: Period) -> None:
    """Raises BadPeriod where calls of it are not kept any more (usage/kept.py)."""
    first = kept_from()
    if first is not None and period.first < first:
        raise BadPeriod(
            "month" if isinstance(period, Month) else "from",
            f"Calls of before {first} are not kept one by one any more, only what they add up to. Use the files that "
            "were downloaded before; the SHA-256 of a sealed month is still listed.",
        )


def _month(typed: str, today: date) -> Month:
    if not (found := MONTH.fullmatch(typed)) or found[1] == "0000":
        raise BadPeriod("month", "Give the month as YYYY-MM, such as 2026-10.")
    month = Month(date(int(found[1]), int(found[2]), 1))
    if month.first > today:
        raise BadPeriod("month", f"{month} has not begun; today is {today} (UTC).")
    return month


def _day(field: str, typed: str) -> date:
    if not typed:
        raise BadPeriod(field, "Give both days, from and to, as YYYY-MM-DD.")
    try:
        if DAY.fullmatch(typed):
            return date.fromisoformat(typed)
    except ValueError:
        pass
    raise BadPeriod(field, f"Give the day in {field} as YYYY-MM-DD, such as 2026-10-31.")
