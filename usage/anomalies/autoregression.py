"""
The same by ordinary least squares: a value is what the hour before, the day before and the week before make of it.

What a simple forecast would do, to hold the medians against; nothing is told by it. As it takes the hour before for
granted, a change that stays is news to it for one hour, and for a day where it looks at 24.
"""

from __future__ import annotations

from usage.anomalies.baseline import TO_DEVIATION, known, median
from usage.anomalies.series import DAY, WEEK
from usage.anomalies.signals import Signal


class Autoregression:
    """Of windows that overlap, the last one that shares no hour with this one takes part."""

    def __init__(self, signal: Signal, values: list[tuple[int, float]]) -> None:
        self._lags = sorted({signal.window, DAY, WEEK})
        at = dict(values)
        rows = [
            (row, value) for hour, value in values if (row := self._row([at.get(hour - lag) for lag in self._lags]))
        ]
        self._weights = least_squares([row for row, _ in rows], [value for _, value in rows])
        above = [value - self._of(row) for row, value in rows]
        self._deviation = TO_DEVIATION * median(map(abs, above))
        self.highest = max(above)
        self.peak = sorted(value for _, value in values)[len(values) * 19 // 20]

    def expected(self, signal: Signal, hour: int) -> float | None:
        row = self._row([signal.at(hour - lag) for lag in self._lags])
        return self._of(row) if row else None

    def spread(self, hour: int) -> float:
        return self._deviation

    def _row(self, before: list[float | None]) -> list[float] | None:
        values = [value for value in before if value is not None]
        return [1.0, *values] if len(values) == len(before) else None

    def _of(self, row: list[float]) -> float:
        return sum(weight * value for weight, value in zip(self._weights, row, strict=True))


def usual_by_least_squares(signal: Signal, hour: int) -> Autoregression | None:
    """None where the history has too little to say."""
    values = known(signal, hour)
    hours = {number for number, _ in values}
    lags = {signal.window, DAY, WEEK}
    if sum(all(number - lag in hours for lag in lags) for number in hours) < DAY:
        return None
    return Autoregression(signal, values)


def least_squares(rows: list[list[float]], values: list[float]) -> list[float]:
    """By the normal equations and Gauss's elimination; what the others already say has weight 0."""
    width = len(rows[0])
    table = [
        [sum(row[i] * row[j] for row in rows) for j in range(width)]
        + [sum(row[i] * value for row, value in zip(rows, values, strict=True))]
        for i in range(width)
    ]
    pivots: dict[int, int] = {}
    for column in range(width):
        pivot = max(set(range(width)) - set(pivots.values()), key=lambda place: abs(table[place][column]))
        if abs(table[pivot][column]) < 1e-9 * len(rows):
            continue
        pivots[column] = pivot
        table[pivot] = [value / table[pivot][column] for value in table[pivot]]
        for place in range(width):
            if place != pivot:
                factor = table[place][column]
                table[place] = [one - factor * other for one, other in zip(table[place], table[pivot], strict=True)]
    return [table[pivots[column]][width] if column in pivots else 0.0 for column in range(width)]
