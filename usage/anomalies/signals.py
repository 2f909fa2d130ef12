"""
What is watched of a series, as one number an hour, of the hours that end with it: a burst shows in one hour, what is
smaller and stays in 24.

Both are logarithms, so that twice as much is the same step everywhere: of one more than the requests, and of the
cost of one request.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1, log, log1p
from typing import Literal

from usage.anomalies.series import DAY, Series

Metric = Literal["requests", "cost_per_request"]
METRICS: tuple[Metric, ...] = ("requests", "cost_per_request")
WINDOWS = (1, DAY)
HISTORY = 28 * DAY
LEAST_CALLS = 10  # with a price: fewer say nothing of the cost of one


@dataclass(frozen=True, slots=True)
class Signal:
    series: Series
    metric: Metric
    window: int = 1

    def at(self, hour: int) -> float | None:
        """None where nothing can be said, as of the time before the first call."""
        series, start, end = self.series, hour + 1 - self.window, hour + 1
        if series.began is None or start < series.began:
            return None
        if self.metric == "requests":
            return log1p(series.total("calls", start, end))
        priced, cost = series.total("priced_calls", start, end), series.total("cost_nanousd", start, end)
        return log(cost / priced) if priced >= LEAST_CALLS and cost > 0 else None

    def history(self, start: int, end: int) -> list[float | None]:
        """Of each hour in [start, end), without those that nobody called usual."""
        touched = {hour + later for hour in self.series.left_out for later in range(self.window)}
        return [None if hour in touched else self.at(hour) for hour in range(start, end)]

    def unlogged(self, value: float) -> float:
        return expm1(value) if self.metric == "requests" else exp(value)


def history_of(series: Series, hour: int) -> tuple[int, int]:
    """The hours that say what is usual at `hour`: 28 days, up to the beginning of the day before."""
    end = (hour // DAY - 1) * DAY
    return max(end - HISTORY, series.first_hour), end
