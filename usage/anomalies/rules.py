"""
What needs no seasons: shares of calls that leave their place, and what was never there before.

A share is taken of the last hours that have enough calls to say anything, and held against the farthest that a whole
day of the history went: retries, errors and what is read from cache hardly depend on the hour of the week.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from usage.anomalies.drivers import drivers
from usage.anomalies.findings import Finding, Kind
from usage.anomalies.series import DAY, Hour, Series, add_up
from usage.anomalies.signals import history_of

ENOUGH_CALLS = 30
ENOUGH_RUNS = 30
NEW_CALLS = 10
FAR_ABOVE = 10  # times what a run costs otherwise
WARM_UP = 14 * DAY


@dataclass(frozen=True, slots=True)
class Share:
    """`of` gives a share of an hour, or of some, or None; `shift` is how far it has to go, beyond any day so far."""

    kind: Kind
    of: Callable[[Hour], float | None]
    shift: float
    direction: int = 1
    has_floor: bool = True


def _failed(hour: Hour) -> float | None:
    return hour.failed / hour.calls if hour.calls else None


def _retried(hour: Hour) -> float | None:
    return hour.retried_calls / hour.calls if hour.calls and hour.retried_calls is not None else None


def _cached(hour: Hour) -> float | None:
    return hour.cache_read_tokens / hour.input_tokens if hour.input_tokens else None


SHARES = (
    Share("error_storm", _failed, 0.3, has_floor=False),
    Share("retries", _retried, 0.2),
    Share("cache_loss", _cached, 0.15, direction=-1),
)


def usual_days(series: Series, hour: int) -> list[Hour]:
    """The days of the history, without what nobody called usual."""
    start, end = history_of(series, hour)
    return [
        add_up(each for number, each in enumerate(series.between(day, day + DAY), day) if number not in series.left_out)
        for day in range(-(-start // DAY) * DAY, end, DAY)
    ]


def find_by_rules(
    series: Series, *, hour: int, floor_nanousd: int, days_of: Callable[[Series, int], list[Hour]] = usual_days
) -> list[Finding]:
    """What the rules say of `hour`; errors are told of whatever they cost."""
    if series.began is None or hour - series.began < WARM_UP or not series.total("calls", hour, hour + 1):
        return []
    days = days_of(series, hour)
    found = [_left_its_place(series, share, hour, floor_nanousd, days) for share in SHARES]
    return [finding for finding in found if finding] + _new_models(series, hour, floor_nanousd)


def _left_its_place(series: Series, share: Share, hour: int, floor: int, days: list[Hour]) -> Finding | None:
    first = hour
    while series.total("calls", first, hour + 1) < ENOUGH_CALLS and hour - first < DAY:
        first -= 1
    now = share.of(add_up(series.between(first, hour + 1)))
    before = add_up(days)
    usual = share.of(before)
    if now is None or usual is None or series.total("calls", first, hour + 1) < ENOUGH_CALLS:
        return None
    of_days = [of_day for day in days if day.calls >= ENOUGH_CALLS and (of_day := share.of(day)) is not None]
    farthest = max((of_day * share.direction for of_day in of_days), default=usual * share.direction)
    if now * share.direction < farthest + share.shift:
        return None
    since = _since(series, share, hour, (now + usual) / 2)
    a_day = None if share.kind == "error_storm" else _costs_more(series, share, since, hour, before)
    if share.has_floor and a_day is not None and a_day < floor:
        return None
    named, unmeasured = drivers(before, add_up(series.between(since, hour + 1)))
    return Finding(share.kind, series.action, since, hour, hour + 1 - first, usual, now, a_day, named, unmeasured)


def _since(series: Series, share: Share, hour: int, half: float) -> int:
    """The hour from which on calls are more on this side of half the way than on the other, within the last week."""
    so_far, best, since = 0.0, 0.0, hour
    for number in range(hour, max(hour - 7 * DAY, series.first_hour) - 1, -1):
        (each,) = series.between(number, number + 1)
        value = share.of(each)
        if value is not None:
            so_far += (value - half) * share.direction * each.calls
            if so_far > best:
                best, since = so_far, number
    return since


def _costs_more(series: Series, share: Share, since: int, hour: int, before: Hour) -> int | None:
    """In the last 24 hours, as far as it lasts; None where nothing has a price."""
    usual = before.cost_per_call
    lately = add_up(series.between(max(since, hour + 1 - DAY), hour + 1))
    if usual is None or not lately.priced_calls:
        return None
    if share.kind == "retries":
        further = (lately.retried_calls or 0) - (before.retried_calls or 0) / before.calls * lately.calls
        return round(further * lately.cost_nanousd / lately.priced_calls)
    return round(lately.cost_nanousd - lately.priced_calls * usual)


def _new_models(series: Series, hour: int, floor: int) -> list[Finding]:
    """Those of the last 24 hours that no hour before them has."""
    first = hour + 1 - DAY
    lately = add_up(series.between(first, hour + 1))
    earlier = {model for each in series.between(series.first_hour, first) for model in each.models}
    found = []
    for model, calls in lately.models.items():
        cost = lately.model_costs.get(model)
        if model in earlier or calls < NEW_CALLS or (cost is not None and cost < floor):
            continue
        since = next(
            number for number, each in enumerate(series.between(first, hour + 1), first) if model in each.models
        )
        found.append(Finding("new_model", series.action, since, hour, DAY, 0, calls, cost, (), (), model))
    return found


@dataclass(frozen=True, slots=True)
class Caller:
    """What somebody used in the last two days; `first_hour` is when they first called, as far back as is known."""

    name: str
    action: str
    first_hour: int
    calls: int
    cost_nanousd: int | None


def new_callers(callers: Iterable[Caller], *, began: int, hour: int, floor_nanousd: int) -> list[Finding]:
    """Those who first called within the last two days, in an organization that has called for two weeks."""
    if hour - began < WARM_UP:
        return []
    return [
        Finding(
            "new_caller", caller.action, caller.first_hour, hour, DAY, 0, caller.calls, caller.cost_nanousd, (), (),
            caller.name,
        )
        for caller in callers
        if hour - caller.first_hour < 2 * DAY
        and caller.calls >= NEW_CALLS
        and (caller.cost_nanousd is None or caller.cost_nanousd >= floor_nanousd)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    action: str
    first_hour: int
    cost_nanousd: int


@dataclass(frozen=True, slots=True)
class RunsOfDay:
    runs: int
    cost_nanousd: int


def usual_run(days: Iterable[RunsOfDay]) -> float | None:
    """What a run of an action costs on a usual day, in nano-USD; None where too few ran to say."""
    with_runs = [day for day in days if day.runs]
    if len(with_runs) < 7 or sum(day.runs for day in with_runs) < ENOUGH_RUNS:
        return None
    return median(day.cost_nanousd / day.runs for day in with_runs)


def dear_runs(runs: Iterable[Run], *, usual_nanousd: float | None, hour: int, floor_nanousd: int) -> list[Finding]:
    """Those of one action that cost far above what it costs otherwise."""
    if usual_nanousd is None:
        return []
    least = max(FAR_ABOVE * usual_nanousd, floor_nanousd)
    return [
        Finding(
            "dear_run", run.action, run.first_hour, hour, hour + 1 - run.first_hour, usual_nanousd, run.cost_nanousd,
            round(run.cost_nanousd - usual_nanousd), None, (), run.run_id,
        )
        for run in runs
        if run.cost_nanousd >= least
    ]  # fmt: skip
