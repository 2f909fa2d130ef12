"""
What a month will have cost at its end: what is spent, and for each day to come the mean of its weekday over the last
four weeks. It says how far the same forecast was off at the same day of the last months.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from organizations.models import Organization
from usage import amounts
from usage.cells import Grouping, add_up, read_groupings, shown
from usage.days import WEEK, last_of_month, months_before

MOST_WEEKS = 4
LEAST_DAYS = 2 * WEEK
MONTHS_BACK = 3
BY_DAY = Grouping(("day", "mode"), ("calls", "unpriced_calls", "unknown_calls", "cost_nanousd"))


@dataclass(frozen=True, slots=True)
class PastError:
    """Of so many months, in percent of what came; the newest month first."""

    percents: tuple[int, ...]
    newest: date

    @property
    def words(self) -> str:
        """Such as "At this day of the last 3 months it was off by 4 to 11 %"."""
        least, most = min(self.percents), max(self.percents)
        off = f"{least} %" if least == most else f"{least} to {most} %"
        months = f"{self.newest:%B}" if len(self.percents) == 1 else f"the last {len(self.percents)} months"
        return f"At this day of {months} it was off by {off}."


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    `spent` so far and `expected` by the end of the month, in nano-USD or credits; `expected` is None below LEAST_DAYS
    whole days since the first use, of which there are `days_known`.
    """

    month: date
    spent: int
    expected: int | None
    days_known: int
    error: PastError | None
    is_incomplete: bool = False  # part of what was spent is not known

    @property
    def needed_days(self) -> int:
        return LEAST_DAYS

    @property
    def spent_usd(self) -> str:
        return amounts.at_least(amounts.dollars(self.spent), if_incomplete=self.is_incomplete)

    @property
    def expected_usd(self) -> str:
        return amounts.at_least(amounts.dollars(self.expected), if_incomplete=self.is_incomplete)


def forecast_of_month(*, organization: Organization, today: date, show_managed_usd: bool | None = None) -> Forecast:
    """Of the USD that the organization sees, from one reading."""
    (cells,) = read_groupings(organization, history_from(today), today, BY_DAY)
    seen = [cell for cell in shown(cells, show_managed_usd) if cell.day and cell.sums.calls]
    daily: dict[date, int] = {}
    for cell in seen:
        if cell.day:
            daily[cell.day] = daily.get(cell.day, 0) + cell.sums.cost_nanousd
    of_month = add_up([cell for cell in seen if cell.day and cell.day >= today.replace(day=1)])
    return forecast(daily, today=today, is_incomplete=bool(of_month.calls_without_cost))


def history_from(today: date) -> date:
    """The first day that has a part in a forecast."""
    return months_before(today, MONTHS_BACK) - timedelta(weeks=MOST_WEEKS)


def forecast(daily: Mapping[date, int], *, today: date, is_incomplete: bool = False) -> Forecast:
    """`daily` is what was spent on each day that saw any use, up to today."""
    first_use = min(daily, default=today)
    spent = _between(daily, today.replace(day=1), today)
    return Forecast(
        month=today.replace(day=1),
        spent=spent,
        expected=_expected(daily, today, first_use, so_far=daily.get(today, 0)),
        days_known=(today - first_use).days,
        error=_past_error(daily, today, first_use),
        is_incomplete=is_incomplete,
    )


def _expected(daily: Mapping[date, int], today: date, first_use: date, *, so_far: int) -> int | None:
    """At the beginning of `today`, but for what it has cost already: that may be more than its weekday's mean."""
    weeks = min((today - first_use).days // WEEK, MOST_WEEKS)
    if weeks * WEEK < LEAST_DAYS:
        return None
    mean = {
        day.weekday(): Fraction(sum(daily.get(day - timedelta(weeks=back), 0) for back in range(1, weeks + 1)), weeks)
        for day in (today + timedelta(days=ahead) for ahead in range(WEEK))
    }
    to_come = (today + timedelta(days=ahead) for ahead in range(1, (last_of_month(today) - today).days + 1))
    before = _between(daily, today.replace(day=1), today - timedelta(days=1))
    return before + round(max(Fraction(so_far), mean[today.weekday()]) + sum(mean[day.weekday()] for day in to_come))


def _past_error(daily: Mapping[date, int], today: date, first_use: date) -> PastError | None:
    """Of the months of which a forecast could be made at the same day, and in which anything was spent."""
    percents, newest = [], None
    for back in range(1, MONTHS_BACK + 1):
        month = months_before(today, back)
        at = min(month.replace(day=1) + timedelta(days=today.day - 1), last_of_month(month))
        expected, came = _expected(daily, at, first_use, so_far=0), _between(daily, month, last_of_month(month))
        if expected is not None and came:
            percents.append(round(Decimal(abs(expected - came) * 100) / came))
            newest = newest or month
    return PastError(tuple(percents), newest) if newest else None


def _between(daily: Mapping[date, int], first: date, last: date) -> int:
    return sum(cost for day, cost in daily.items() if first <= day <= last)
