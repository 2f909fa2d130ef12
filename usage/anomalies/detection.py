"""
What is out of the ordinary in the hour that has just ended: on requests and on cost per request, apart.

Each is looked at by the hour, for bursts, over 24 hours, for what is smaller and stays, and over weeks, for what grows
slowly (`drift.py`). A value is told of where it is far above what is usual, above anything that its history has, and
costs more than the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt

from usage.anomalies.baseline import Fit, Usual, usual_of
from usage.anomalies.drift import drift
from usage.anomalies.drivers import drivers
from usage.anomalies.findings import Finding
from usage.anomalies.series import DAY, WEEK, Hour, Series, add_up
from usage.anomalies.signals import METRICS, WINDOWS, Metric, Signal, history_of


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Tuned by `benchmarks.anomalies` for at most one false alarm an organization and month."""

    warm_up_days: int = 14
    score: float = 4.0  # deviations above the usual
    growth: float = 1.5  # at least so many times the usual, in an hour
    growth_of_day: float = 1.25  # the same over 24 hours
    beyond: float = 1.25  # times the highest of the history, each above its usual
    drift_growth: float = 1.12  # within three weeks
    drift_score: float = 4.0


USUAL = Sensitivity()


def find(
    series: Series, *, hour: int, floor_nanousd: int, sensitivity: Sensitivity = USUAL, fit: Fit = usual_of
) -> list[Finding]:
    """
    What is out of the ordinary in `hour`, by what came before it; of each metric at most one finding.

    `floor_nanousd`: what costs less a day is not told.
    """
    if series.began is None or hour - series.began < sensitivity.warm_up_days * DAY:
        return []
    found = []
    for metric in METRICS:
        finding = _find(series, metric, hour, sensitivity, fit)
        if finding is None and (hour + 1) % DAY == 0:  # once a day, since weeks end with a day
            finding = _find_drift(series, metric, hour, sensitivity)
        if finding and (finding.a_day_nanousd is None or finding.a_day_nanousd >= floor_nanousd):
            found.append(finding)
    return found


def _find(series: Series, metric: Metric, hour: int, sensitivity: Sensitivity, fit: Fit) -> Finding | None:
    for window in WINDOWS:
        signal = Signal(series, metric, window)
        value, usual = signal.at(hour), fit(signal, hour)
        expected = usual.expected(signal, hour) if usual else None
        if value is None or usual is None or expected is None:
            continue
        above = value - expected
        calls = (
            signal.unlogged(expected) if metric == "requests" else series.total("calls", hour + 1 - window, hour + 1)
        )
        spread = sqrt(usual.spread(hour) ** 2 + 1 / max(calls, 1))
        growth = sensitivity.growth if window == 1 else sensitivity.growth_of_day
        if above < max(log(growth), sensitivity.score * spread, usual.highest + log(sensitivity.beyond)):
            continue
        if value < usual.peak:
            continue
        by_hour = fit(Signal(series, metric), hour)
        since = _since(series, metric, hour, above, by_hour) if by_hour else hour + 1 - window
        more = _more_than_usual(series, metric, max(since, hour + 1 - DAY), hour, by_hour) if by_hour else None
        before = add_up(_usual_hours(series, *history_of(series, hour)))
        found, unmeasured = drivers(before, add_up(series.between(since, hour + 1)))
        return Finding(
            kind=metric,
            action=series.action,
            since=since,
            hour=hour,
            hours=window,
            usual=signal.unlogged(expected),
            found=signal.unlogged(value),
            a_day_nanousd=more,
            drivers=found,
            unmeasured=unmeasured,
        )
    return None


def _find_drift(series: Series, metric: Metric, hour: int, sensitivity: Sensitivity) -> Finding | None:
    found = drift(series, metric, hour=hour, growth=sensitivity.drift_growth, score=sensitivity.drift_score)
    if found is None:
        return None
    day = (hour + 1 - DAY, hour + 1)
    cost, has_price = series.total("cost_nanousd", *day), series.total("priced_calls", *day) > 0
    before = add_up(_usual_hours(series, found.since - WEEK, found.since))
    named, unmeasured = drivers(before, add_up(series.between(hour + 1 - WEEK, hour + 1)), growth=1.08, shift=0.05)
    return Finding(
        kind="requests_drift" if metric == "requests" else "cost_per_request_drift",
        action=series.action,
        since=found.since,
        hour=hour,
        hours=WEEK,
        usual=found.before,
        found=found.now,
        a_day_nanousd=round(cost * (1 - found.before / found.now)) if has_price else None,
        drivers=named,
        unmeasured=unmeasured,
    )


def _usual_hours(series: Series, start: int, end: int) -> Iterator[Hour]:
    for number, hour in enumerate(series.between(start, end), max(start, series.first_hour)):
        if number not in series.left_out:
            yield hour


def _above(signal: Signal, start: int, end: int, usual: Usual) -> Iterator[tuple[int, float, float]]:
    """Of each hour in [start, end) that says something: by how much it is above the usual, and what that would be."""
    for hour in range(start, end):
        value, expected = signal.at(hour), usual.expected(signal, hour)
        if value is not None and expected is not None:
            yield hour, value - expected, expected


def _since(series: Series, metric: Metric, hour: int, above: float, by_hour: Usual) -> int:
    """The hour from which on values are nearer to `above` than to the usual, within the last week."""
    so_far, best, since = 0.0, 0.0, hour
    hours = list(_above(Signal(series, metric), hour + 1 - WEEK, hour + 1, by_hour))
    for number, each, _ in reversed(hours):
        so_far += min(each, above) - above / 2
        if so_far > best:
            best, since = so_far, number
    return since


def _more_than_usual(series: Series, metric: Metric, since: int, hour: int, by_hour: Usual) -> int | None:
    """What the hours since cost more than they would have; None where nothing has a price."""
    start, end = history_of(series, hour)
    cost, priced = series.total("cost_nanousd", start, end), series.total("priced_calls", start, end)
    if not priced:
        return None
    signal, more = Signal(series, metric), 0.0
    for number, _, expected in _above(signal, since, hour + 1, by_hour):
        one = (number, number + 1)
        if metric == "requests":
            more += (series.total("calls", *one) - signal.unlogged(expected)) * cost / priced
        else:
            usual = series.total("priced_calls", *one) * signal.unlogged(expected)
            more += series.total("cost_nanousd", *one) - usual
    return round(more)
