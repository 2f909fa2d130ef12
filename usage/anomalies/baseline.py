"""
What is usual at an hour of the week: the median there, and how far values lie from it.

Two weeks have two values for each hour of the week, so the hours beside it lend theirs, and where there are still too
few, the same hour of the other days. `highest` is the farthest that history itself went above its medians: traffic of
machines comes in bursts, and what it has done before is no news, however rare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from usage.anomalies.series import DAY, WEEK
from usage.anomalies.signals import Signal, history_of

TO_DEVIATION = 1.4826  # of a normal distribution, from its median absolute deviation
ENOUGH = 4  # values, to say what is usual


class Usual(Protocol):
    """What the history of a signal says of an hour."""

    highest: float
    peak: float

    def expected(self, signal: Signal, hour: int) -> float | None: ...

    def spread(self, hour: int) -> float: ...


Fit = Callable[[Signal, int], Usual | None]


class HourOfWeek:
    """Medians and median absolute deviations by hour of the week; `peak` is what it reaches in one hour of twenty."""

    def __init__(self, values: list[tuple[int, float]]) -> None:
        slots: list[list[float]] = [[] for _ in range(WEEK)]
        for hour, value in values:
            slots[hour % WEEK].append(value)
        self._medians: list[float] = []
        self._deviations: list[float] = []
        everything = sorted(value for _, value in values)
        for slot in range(WEEK):
            near = slots[slot - 1] + slots[slot] + slots[(slot + 1) % WEEK]
            if len(near) < ENOUGH:
                near = [value for same in range(slot % DAY, WEEK, DAY) for value in slots[same]]
            if len(near) < ENOUGH:
                near = everything
            middle = median(near)
            self._medians.append(middle)
            self._deviations.append(median([abs(value - middle) for value in near]))
        above = [value - self._medians[hour % WEEK] for hour, value in values]
        self._pooled = median(map(abs, above))
        self.highest = max(above)
        self.peak = everything[len(everything) * 19 // 20]

    def expected(self, signal: Signal, hour: int) -> float | None:
        return self._medians[hour % WEEK]

    def spread(self, hour: int) -> float:
        return TO_DEVIATION * max(self._deviations[hour % WEEK], self._pooled)


def median(values: Iterable[float]) -> float:
    """As in `statistics`, which takes ten times as long to be exact with fractions."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def usual_of(signal: Signal, hour: int) -> HourOfWeek | None:
    """None where the history has too little to say."""
    values = known(signal, hour)
    return HourOfWeek(values) if len(values) >= DAY else None


def known(signal: Signal, hour: int) -> list[tuple[int, float]]:
    """The hours of the history that say something, and what."""
    start, end = history_of(signal.series, hour)
    values = enumerate(signal.history(start, end), start)
    return [(number, value) for number, value in values if value is not None]
