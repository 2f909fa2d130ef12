"""
How well anomalies are found in recorded traffic, beside a least squares autoregression.

    python -m benchmarks.anomalies [--jobs 2]

Needs `../shared/data/usage_traces`; without it says so and ends. `benchmarks/anomaly_traces.py` says how organizations
are made of it and what goes wrong with them. An alarm is an episode: what is still there an hour later, or again within
three days, is none. `Sensitivity` was tuned by one half of the organizations; the figures are of the other half:

    clean      false alarms an organization and month, nothing having gone wrong; and the worst organization
    recorded   the same of the second recorded week, judged after a warm-up of one: nothing is resampled
    events     one an organization, at some hour with traffic. Found: an alarm while it lasts or within a day after
               it, within seven days at most, or at any time of a drift. Precision: of all alarms of these four weeks
    dear       of those events whose dearest day costs more than the floor
    named      of those found, the driver was among those named

Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from statistics import mean, median
from typing import Any

from benchmarks import anomaly_traces as traces
from usage.anomalies.autoregression import usual_by_least_squares
from usage.anomalies.baseline import Fit, Usual, usual_of
from usage.anomalies.causes import is_one_cause, rank
from usage.anomalies.detection import USUAL, Sensitivity, find
from usage.anomalies.findings import Finding
from usage.anomalies.floor import floor_of
from usage.anomalies.rules import find_by_rules, usual_days
from usage.anomalies.series import DAY, WEEK, Hour, Series
from usage.anomalies.signals import Signal, history_of

MONTH = 30 * DAY
SEED = 1
QUIET = 3 * DAY
JUDGED = 2 * WEEK, 8 * WEEK
RECORDED = WEEK, 2 * WEEK
EVENTFUL = 4 * WEEK, 8 * WEEK
# The same limits come to about as many false alarms; what looks at weeks is no part of it.
OF_AUTOREGRESSION = replace(USUAL, drift_growth=inf)


@dataclass(frozen=True)
class Method:
    name: str
    fit: Fit = usual_of
    sensitivity: Sensitivity = USUAL
    has_rules: bool = False


@dataclass
class Alarm:
    first: Finding
    now: Finding
    drivers: list[str]


METHODS = (
    Method("medians and rules", has_rules=True),
    Method("medians alone"),
    Method("least squares alone", usual_by_least_squares, OF_AUTOREGRESSION),
)


def alarms(tenant: traces.Tenant, method: Method, first: int, end: int) -> list[Alarm]:
    """As they would have come, hour by hour."""
    series = Series(tenant.name, 0, tenant.hours)
    floor = floor_of(traces.usual_day(tenant))
    found: list[Alarm] = []
    is_open: dict[str, Alarm] = {}
    fit, days_of = remembered(method.fit), remembered_days()
    for hour in range(first, end):
        told = find(series, hour=hour, floor_nanousd=floor, sensitivity=method.sensitivity, fit=fit)
        if method.has_rules:
            told += find_by_rules(series, hour=hour, floor_nanousd=floor, days_of=days_of)
        for finding in sorted(told, key=rank):
            alarm = is_open.get(finding.signature)
            if alarm is None or hour - alarm.now.hour > QUIET:
                ongoing = (each for each in found if hour - each.now.hour <= QUIET)
                alarm = next((each for each in ongoing if is_one_cause(finding, each.now)), None)
                if alarm is None:
                    alarm = Alarm(finding, finding, [])
                    found.append(alarm)
                is_open[finding.signature] = alarm
            is_lead = finding.signature == alarm.first.signature
            alarm.now = replace(finding if is_lead else alarm.now, since=alarm.first.since, hour=hour)
            alarm.drivers += [driver.name for driver in finding.drivers or ()]
            hours = frozenset(range(max(finding.since, hour - 14 * DAY), hour + 1))
            if news := hours - series.left_out:
                series = replace(series, left_out=series.left_out | hours)
                if min(news) < history_of(series, hour)[1]:
                    fit, days_of = remembered(method.fit), remembered_days()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if not traces.TRACES.is_dir():
        print(f"Skipped: there is no recorded traffic in {traces.TRACES}.")
        return
    figures: dict[str, Any] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for place, method in enumerate(METHODS):
            of_method = figures[method.name] = {
                "clean": clean(pool, place, "tenants", JUDGED),
                "recorded": clean(pool, place, "recorded_tenants", RECORDED),
            }
            print(
                method.name, *(f"{name}: {of_method[name]}" for name in ("clean", "recorded")), sep="\n  ", flush=True
            )
            for number, event in enumerate(traces.EVENTS):
                asked = [(place, number, tenant) for tenant in range(len(judged("tenants")))]
                of_method[event.name] = summed(list(pool.map(measure_event, asked)))
                print(f"  {event.name}: {of_method[event.name]}", flush=True)
    print(json.dumps(figures))


@cache
def judged(which: str) -> list[traces.Tenant]:
    """Of the resampled ones, the half that had no part in tuning: every second pair of large and thinned."""
    if which == "recorded_tenants":
        return traces.recorded_tenants()
    return [tenant for place, tenant in enumerate(traces.tenants(SEED)) if place // 2 % 2]


def clean(pool: Executor, method: int, which: str, hours: tuple[int, int]) -> dict[str, Any]:
    asked = [(method, which, tenant, hours) for tenant in range(len(judged(which)))]
    found = list(pool.map(count_alarms, asked))
    months = (hours[1] - hours[0]) / MONTH
    return {
        "organizations": len(found),
        "months": round(len(found) * months, 1),
        "false_alarms_a_month": round(mean(found) / months, 2),
        "worst": round(max(found) / months, 1),
        "without_any": sum(not each for each in found),
    }


def count_alarms(asked: tuple[int, str, int, tuple[int, int]]) -> int:
    place, which, tenant, hours = asked
    method = METHODS[place]
    if hours == RECORDED:
        method = replace(method, sensitivity=replace(method.sensitivity, warm_up_days=7))
    return len(alarms(judged(which)[tenant], method, *hours))


@dataclass
class Outcome:
    is_dear: bool
    hours: int | None  # until it was told
    is_named: bool | None  # None: nothing but the number of requests changed
    others: int  # alarms of something else


def measure_event(asked: tuple[int, int, int]) -> Outcome:
    place, number, chosen = asked
    event, tenant = traces.EVENTS[number], judged("tenants")[chosen]
    is_drift = event.name.startswith("drift")
    dice = random.Random(tenant.name)
    start = 3 * WEEK if is_drift else traces.starts(tenant, EVENTFUL[0], EVENTFUL[0] + 2 * WEEK, dice)
    changed = traces.with_event(tenant, event, start)
    last = EVENTFUL[1] if is_drift else start + (7 * DAY if event.hours is None else event.hours + DAY)
    found = alarms(changed, METHODS[place], min(start, EVENTFUL[0]), EVENTFUL[1])
    since = [alarm for alarm in found if start <= alarm.first.hour < (EVENTFUL[1] if event.hours is None else last)]
    right = [alarm for alarm in since if alarm.first.hour < last]
    return Outcome(
        is_dear=traces.dearest_day(changed, tenant) >= floor_of(traces.usual_day(tenant)),
        hours=right[0].first.hour - start + 1 if right else None,
        is_named=any(event.driver in alarm.drivers for alarm in right) if event.driver else None,
        others=len(found) - len(since),
    )


def summed(outcomes: list[Outcome]) -> dict[str, Any]:
    found = [outcome for outcome in outcomes if outcome.hours is not None]
    hours = [outcome.hours for outcome in outcomes if outcome.hours is not None]
    named = [outcome.is_named for outcome in found if outcome.is_named is not None]
    dear = [outcome for outcome in outcomes if outcome.is_dear]
    others = sum(outcome.others for outcome in outcomes)
    return {
        "events": len(outcomes),
        "precision": round(len(found) / max(len(found) + others, 1), 2),
        "recall": round(len(found) / len(outcomes), 2),
        "dear": len(dear),
        "recall_of_dear": round(sum(outcome.hours is not None for outcome in dear) / max(len(dear), 1), 2),
        "median_hours": median(hours) if hours else None,
        "named": round(mean(named), 2) if named else None,
    }


def remembered(fit: Fit) -> Fit:
    """A history ends with a day, so it says the same all day."""
    known: dict[tuple[str, int, int], Usual | None] = {}

    def fit_once(signal: Signal, hour: int) -> Usual | None:
        key = (signal.metric, signal.window, hour // DAY)
        if key not in known:
            known[key] = fit(signal, hour)
        return known[key]

    return fit_once


def remembered_days() -> Callable[[Series, int], list[Hour]]:
    known: dict[int, list[Hour]] = {}

    def days_once(series: Series, hour: int) -> list[Hour]:
        if hour // DAY not in known:
            known[hour // DAY] = usual_days(series, hour)
        return known[hour // DAY]

    return days_once


if __name__ == "__main__":
    main()
