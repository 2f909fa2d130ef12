"""What judges hours, without a database: hours in, findings out."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from math import sin, tau
from typing import Any

import pytest

from usage.anomalies.autoregression import least_squares, usual_by_least_squares
from usage.anomalies.baseline import HourOfWeek
from usage.anomalies.detection import find
from usage.anomalies.drivers import drivers
from usage.anomalies.rules import Caller, Run, RunsOfDay, dear_runs, find_by_rules, new_callers, usual_run
from usage.anomalies.series import DAY, WEEK, Hour, Series, add_up
from usage.anomalies.signals import Signal

FLOOR = 1_000_000_000
CENT = 10_000_000
WEEKS = 5
LAST = WEEKS * WEEK - 1


def hour(calls: int, *, cents: float = 1.0, model: str = "openai/small", **fields: Any) -> Hour:
    values: dict[str, Any] = {
        "calls": calls,
        "priced_calls": calls,
        "cost_nanousd": round(calls * cents * CENT),
        "counted_calls": calls,
        "uncached_input_tokens": calls * 1000,
        "cache_read_tokens": calls * 1000,
        "output_tokens": calls * 100,
        "retried_calls": 0,
        "models": {model: calls},
        "model_costs": {model: round(calls * cents * CENT)},
    }
    return Hour(**{**values, **fields})


def steady(weeks: int = WEEKS) -> Series:
    """Some 100 requests an hour, more by day than by night, as noisy as traffic is."""
    dice = random.Random(3)
    usual = [100 + 60 * sin(tau * number / DAY) for number in range(weeks * WEEK)]
    return Series("chat", 0, [hour(max(1, round(dice.gauss(calls, 8)))) for calls in usual])


def changed(series: Series, first: int, change) -> Series:
    hours = [change(each) if number >= first else each for number, each in enumerate(series.hours)]
    return Series(series.action, 0, hours)


def dearer(each: Hour, factor: float, **fields) -> Hour:
    return each._replace(cost_nanousd=round(each.cost_nanousd * factor), **fields)


def judged(series: Series, at: int = LAST):
    return find(series, hour=at, floor_nanousd=FLOOR)


def ruled(series: Series, at: int = LAST):
    return find_by_rules(series, hour=at, floor_nanousd=FLOOR)


def test_it_knows_neither_django_nor_the_database():
    code = "import usage.anomalies.detection, usage.anomalies.rules, usage.anomalies.autoregression, sys; "
    code += "sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_usual_traffic_is_nothing_to_tell():
    series = steady()
    assert not [found for at in range(2 * WEEK, LAST + 1, 7) for found in judged(series, at) + ruled(series, at)]


def test_a_burst_says_what_since_when_and_what_it_costs():
    series = changed(steady(), LAST - 3, lambda each: hour(each.calls * 8))
    usual = sum(each.calls for each in steady().hours[LAST - 3 :])

    (found,) = judged(series)

    assert (found.kind, found.action, found.since, found.hour) == ("requests", "chat", LAST - 3, LAST)
    assert found.found == pytest.approx(series.hours[-1].calls)
    assert found.usual == pytest.approx(steady().hours[-1].calls, rel=0.25)
    assert found.a_day_nanousd == pytest.approx(7 * usual * CENT, rel=0.15)
    assert found.drivers == ()  # measured, and nothing but their number changed


def test_nothing_is_said_before_two_weeks_have_passed():
    series = changed(steady(), 13 * DAY, lambda each: hour(each.calls * 8))
    assert not [found for at in range(13 * DAY, 14 * DAY) for found in judged(series, at) + ruled(series, at)]
    assert judged(series, 14 * DAY)


def test_what_costs_less_than_the_floor_is_not_told():
    cheap = Series("chat", 0, [dearer(each, 0.001) for each in steady().hours])
    assert not judged(changed(cheap, LAST - 3, lambda each: dearer(hour(each.calls * 8), 0.001)))


def test_a_burst_that_history_has_as_well_is_no_news():
    series = steady()
    hours = list(series.hours)
    hours[LAST - 10 * DAY] = hours[LAST] = hour(900)
    assert not judged(Series("chat", 0, hours))
    # Unless it was told of, and nobody said that it is usual.
    assert judged(replace(Series("chat", 0, hours), left_out=frozenset({LAST - 10 * DAY})))


def test_a_dearer_model_is_found_and_named():
    series = changed(steady(), LAST - 2, lambda each: hour(each.calls, cents=4, model="openai/large"))

    (found,) = judged(series)

    assert (found.kind, found.since) == ("cost_per_request", LAST - 2)
    assert (found.usual, found.found) == (pytest.approx(CENT), pytest.approx(4 * CENT))
    assert [(each.name, each.model, each.before, each.since) for each in found.drivers or ()] == [
        ("models", "openai/large", 0, 1)
    ]


def test_a_small_change_that_stays_is_found_within_a_day():
    series = changed(steady(), LAST - 23, lambda each: dearer(each, 1.4, uncached_input_tokens=each.calls * 2000))
    (found,) = judged(series)
    assert found.kind == "cost_per_request"
    assert [each.name for each in found.drivers or ()] == ["tokens", "cache"]


def test_what_is_not_measured_drives_nothing_that_can_be_said():
    unknown = hour(100)._replace(
        counted_calls=0, uncached_input_tokens=0, cache_read_tokens=0, output_tokens=0, retried_calls=None,
        models={},
    )  # fmt: skip
    assert drivers(unknown, unknown) == (None, ("tokens", "output", "models", "cache", "retries"))
    assert drivers(hour(100), hour(100)) == ((), ())
    assert drivers(hour(100)._replace(retried_calls=None), hour(100)) == ((), ("retries",))
    found, _ = drivers(hour(100), hour(100, retried_calls=40))
    (driver,) = found or ()
    assert (driver.name, driver.before, driver.since) == ("retries", 0, 0.4)


def test_a_sum_is_measured_only_where_every_hour_with_calls_is():
    assert add_up([hour(5), hour(5, retried_calls=2)]).retried_calls == 2
    assert add_up([hour(5), hour(5)._replace(retried_calls=None)]).retried_calls is None
    assert add_up([hour(5, retried_calls=1), Hour()]).retried_calls == 1


def test_growth_of_five_percent_a_week_is_found_after_three_weeks():
    start = WEEK
    hours = [
        dearer(each, 1.05 ** (max(0, number - start) / WEEK), uncached_input_tokens=each.calls * 1500)
        for number, each in enumerate(steady(6).hours)
    ]
    series = Series("chat", 0, hours)
    first = next(at for at in range(2 * WEEK, 6 * WEEK) if judged(series, at))
    (found,) = judged(series, first)
    assert found.kind == "cost_per_request_drift"
    assert first < start + 4 * WEEK
    assert found.found / found.usual == pytest.approx(1.05**3, rel=0.05)


def test_a_retry_loop_is_found_by_its_retries():
    series = changed(steady(), LAST, lambda each: hour(each.calls * 3, retried_calls=each.calls * 2))
    (found,) = [each for each in ruled(series) if each.kind == "retries"]
    assert (found.since, found.usual, found.found) == (LAST, 0, pytest.approx(2 / 3))
    assert found.a_day_nanousd == series.hours[-1].calls * 2 // 3 * CENT
    assert "retries" in [each.name for each in found.drivers or ()]


def test_a_lost_cache_is_found_though_the_cost_is_within_what_is_usual():
    series = changed(
        steady(), LAST - 5, lambda each: dearer(each, 1.3, uncached_input_tokens=each.calls * 2000, cache_read_tokens=0)
    )
    assert not [each for each in judged(series) if each.hours == 1 and each.kind == "requests"]
    (found,) = [each for each in ruled(series) if each.kind == "cache_loss"]
    assert (found.since, found.usual, found.found) == (LAST - 5, pytest.approx(0.5), 0)
    assert found.a_day_nanousd == pytest.approx(0.3 * sum(each.calls for each in series.hours[-6:]) * CENT, rel=0.01)


def test_what_is_found_over_a_day_of_few_calls_is_dated_to_its_hour():
    few = Series("chat", 0, [hour(3) for _ in steady().hours])
    lost = changed(few, LAST - 7, lambda each: dearer(each, 60, uncached_input_tokens=6000, cache_read_tokens=0))
    (found,) = [each for each in ruled(lost) if each.kind == "cache_loss"]
    assert (found.hours, found.since) == (10, LAST - 7)


def test_an_error_storm_is_told_whatever_it_costs():
    series = changed(steady(), LAST, lambda each: hour(each.calls, failed=each.calls // 2, cost_nanousd=0))
    (found,) = [each for each in ruled(series) if each.kind == "error_storm"]
    assert (found.usual, found.found) == (0, pytest.approx(0.5, abs=0.01))
    assert found.a_day_nanousd is None


def test_a_new_model_is_told_once_it_costs_enough():
    both = {"openai/small": 100, "openai/new": 20}
    cheap = changed(steady(), LAST, lambda each: hour(120, models=both, model_costs={"openai/new": FLOOR - 1}))
    dear = changed(steady(), LAST, lambda each: hour(120, models=both, model_costs={"openai/new": FLOOR}))
    unpriced = changed(steady(), LAST, lambda each: hour(120, models=both, model_costs={}))
    assert not ruled(cheap)
    assert [(each.kind, each.subject, each.a_day_nanousd, each.since) for each in ruled(dear)] == [
        ("new_model", "openai/new", FLOOR, LAST)
    ]
    assert [each.a_day_nanousd for each in ruled(unpriced)] == [None]


def test_a_new_caller_is_one_who_comes_to_an_organization_that_has_long_called():
    caller = Caller("7", "chat", LAST - 5, 40, 2 * FLOOR)
    (found,) = new_callers([caller], began=0, hour=LAST, floor_nanousd=FLOOR)
    assert (found.kind, found.subject, found.since, found.a_day_nanousd) == ("new_caller", "7", LAST - 5, 2 * FLOOR)
    assert not new_callers([caller], began=LAST - 13 * DAY, hour=LAST, floor_nanousd=FLOOR)
    old, cheap = replace(caller, first_hour=LAST - 2 * DAY), replace(caller, cost_nanousd=1)
    assert not new_callers([old, cheap], began=0, hour=LAST, floor_nanousd=FLOOR)


def test_a_run_is_dear_by_what_runs_of_its_action_cost():
    usual = usual_run([RunsOfDay(10, 10 * CENT * day) for day in range(1, 8)])
    assert usual == 4 * CENT
    run = Run("a", "chat", LAST, 40 * CENT)
    assert not dear_runs([run], usual_nanousd=usual, hour=LAST, floor_nanousd=FLOOR)
    (found,) = dear_runs([replace(run, cost_nanousd=FLOOR)], usual_nanousd=usual, hour=LAST, floor_nanousd=FLOOR)
    assert (found.kind, found.subject, found.a_day_nanousd) == ("dear_run", "a", FLOOR - 4 * CENT)
    assert usual_run([RunsOfDay(4, 4 * CENT)] * 7) is None  # too few to say


def test_few_values_borrow_those_of_the_same_hour_on_other_days():
    usual = HourOfWeek([(DAY * day + 5, float(day)) for day in range(7)])
    signal = Signal(steady(), "requests")
    assert usual.expected(signal, 5) == 3.0
    assert usual.expected(signal, 6) == 3.0  # nothing there at all: what there is


def test_least_squares_finds_the_weights_that_made_the_values():
    rows = [[1.0, x, y] for x, y in ((0, 1), (1, 0), (2, 5), (3, 1), (4, 4))]
    values = [2 + 3 * x - y for _, x, y in rows]
    assert least_squares(rows, values) == pytest.approx([2, 3, -1])
    assert least_squares([[1.0, x, 2 * x] for _, x, _ in rows], [1 + x for _, x, _ in rows]) == pytest.approx([1, 1, 0])


def test_an_autoregression_takes_a_change_that_stays_for_granted():
    series = changed(steady(), LAST - 5, lambda each: hour(each.calls * 8))
    usual = usual_by_least_squares(Signal(series, "requests"), LAST)
    assert usual is not None
    signal = Signal(series, "requests")
    first, later = ((signal.at(at) or 0) - (usual.expected(signal, at) or 0) for at in (LAST - 5, LAST))
    assert first > later + 0.3
