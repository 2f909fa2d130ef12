"""
What grows so slowly that no day is far from the one before: four weeks of which each is above the last.

Weeks end with the last midnight, so each has every weekday; that leaves the noise of days, which is what they differ
by once weeks and weekdays are taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, sqrt
from statistics import fmean

from usage.anomalies.baseline import TO_DEVIATION, median
from usage.anomalies.series import DAY, WEEK, Series

WEEKS = 4
STEP = 0.01  # of a logarithm: each week is above the last by that much


@dataclass(frozen=True, slots=True)
class Drift:
    """Per day or per request, of the first and of the last of the four weeks; `since` is when it began to grow."""

    since: int
    before: float
    now: float


def drift(series: Series, metric: str, *, hour: int, growth: float, score: float) -> Drift | None:
    """None also where there are no four weeks to judge by."""
    midnight = (hour + 1) // DAY * DAY
    first = midnight - WEEKS * WEEK
    began = series.began
    if began is None or began > first:
        return None
    weeks = [[_day(series, metric, first + week * WEEK + day * DAY) for day in range(7)] for week in range(WEEKS)]
    days = [day for day in range(7) if all(week[day] is not None for week in weeks)]
    if len(days) < 5:
        return None
    known = [[week[day] or 0.0 for day in days] for week in weeks]
    means = [fmean(week) for week in known]
    weekdays = [fmean(week[place] for week in known) - fmean(means) for place in range(len(days))]
    noise = TO_DEVIATION * median(
        abs(value - of_week - of_day)
        for week, of_week in zip(known, means, strict=True)
        for value, of_day in zip(week, weekdays, strict=True)
    )
    total = means[-1] - means[0]
    if any(later - earlier < STEP for earlier, later in pairwise(means)):
        return None
    if total < max(log(growth), score * noise * sqrt(2 / len(days))):
        return None
    return Drift(since=first + WEEK, before=exp(means[0]), now=exp(means[-1]))


def _day(series: Series, metric: str, start: int) -> float | None:
    """Its logarithm; None for a day with left out hours, or without a call that says anything."""
    end = start + DAY
    if series.left_out and any(hour in series.left_out for hour in range(start, end)):
        return None
    calls, priced = series.total("calls", start, end), series.total("priced_calls", start, end)
    cost = series.total("cost_nanousd", start, end)
    if metric == "requests":
        return log(calls) if calls else None
    return log(cost / priced) if priced and cost > 0 else None
