"""
Organizations made of recorded traffic, eight weeks each, and what can go wrong with them.

ServeGen recorded clients of two models for 14 days, by the hour. Weeks one and two are as recorded. What follows is
resampled: a client with traffic in most hours gets, day by day, the geometric mean of the two recorded days of that
weekday, off by as much as the two days of some weekday were, and up to twice the highest recorded; so bursts of a day
stay whole, and days differ as recorded days do. Any other client gets recorded days in random order. Each is there
twice: as large as recorded, and thinned to some 40 requests an hour, whose tokens are those of requests that Azure and
Mooncake recorded. ServeGen and Azure say nothing of caches: their share is that of Mooncake.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import mean, median

from usage.anomalies.series import DAY, WEEK, Hour

TRACES = Path(__file__).parents[2] / "shared" / "data" / "usage_traces"
WEEKS = 8
LEAST_HOURS, DENSE_HOURS = 48, 240  # with traffic, of 336
SMALL = 40  # requests an hour
BLOCK = 512  # tokens
# nano-USD a token: input, input from cache, output
PRICES = {"small": (150, 75, 600), "mid": (1250, 125, 10_000), "large": (5000, 500, 40_000)}


@dataclass(frozen=True)
class Tenant:
    name: str
    hours: Sequence[Hour]


@dataclass(frozen=True)
class Recorded:
    requests: float
    input: float
    output: float
    spread: float  # of the tokens of one request, as a share of their mean


NO_TRAFFIC = Recorded(0, 1, 1, 1)


def tenants(seed: int) -> list[Tenant]:
    """All of them, in an order that alternates between large and small."""
    clients, requests = _clients(), _requests()
    found = []
    for place, (name, hours) in enumerate(sorted(clients.items())):
        model = name.split("/")[0].removeprefix("m-")
        # not hash(), which differs from process to process
        dice = random.Random(f"{seed}/{name}")
        weeks = _eight_weeks(hours, dice)
        found.append(Tenant(name, [_large_hour(hour, model, dice) for hour in weeks]))
        found.append(Tenant(f"{name} thinned", _small(weeks, requests[place % len(requests)], dice)))
    return found


def recorded_tenants() -> list[Tenant]:
    """The two weeks as they were recorded, without anything resampled, of clients with traffic in most hours."""
    dice = random.Random(0)
    return [
        Tenant(name, [_large_hour(hour, name.split("/")[0].removeprefix("m-"), dice) for hour in hours])
        for name, hours in sorted(_clients().items())
        if sum(hour.requests > 0 for hour in hours) >= DENSE_HOURS
    ]


def _clients() -> dict[str, list[Recorded]]:
    clients: dict[str, list[Recorded]] = defaultdict(lambda: [NO_TRAFFIC] * (2 * WEEK))
    with (TRACES / "servegen_client_hours.csv").open() as file:
        for row in csv.DictReader(file):
            if row["model"] == "deepseek-r1":  # one day of it
                continue
            tokens, high = float(row["avg_input_tokens"]), float(row["p95_input_tokens"])
            clients[f"{row['model']}/{row['client']}"][int(row["hour"])] = Recorded(
                float(row["requests"]), tokens, float(row["avg_output_tokens"]), min(2.0, max(0.3, high / tokens - 1))
            )
    return {name: hours for name, hours in clients.items() if sum(hour.requests > 0 for hour in hours) >= LEAST_HOURS}


def _requests() -> list[list[tuple[int, int, int]]]:
    """Of three traces: input, of that from cache, output."""
    traces: list[list[tuple[int, int, int]]] = []
    for name in ("code", "conv"):
        with (TRACES / f"azure2023_{name}_first60pct.csv").open() as file:
            traces.append(
                [
                    (tokens := int(row["ContextTokens"]), tokens * 3 // 8, int(row["GeneratedTokens"]))
                    for row in csv.DictReader(file)
                ]
            )
    with (TRACES / "mooncake_conversation.csv").open() as file:
        traces.append(
            [
                (
                    int(row["input_length"]),
                    min(int(row["prefix_blocks_seen_before"]) * BLOCK, int(row["input_length"])),
                    int(row["output_length"]),
                )
                for row in csv.DictReader(file)
            ]
        )
    return traces


def _eight_weeks(hours: Sequence[Recorded], dice: random.Random) -> list[Recorded]:
    days = [hours[start : start + DAY] for start in range(0, 2 * WEEK, DAY)]
    is_dense = sum(hour.requests > 0 for hour in hours) >= DENSE_HOURS
    highest = max(hour.requests for hour in hours)
    weeks = list(hours)
    for day in range(14, WEEKS * 7):
        if not is_dense:
            weeks += dice.choice(days)
            continue
        of_weekday, off = (days[day % 7], days[day % 7 + 7]), dice.randrange(7)
        sign = dice.choice((-1, 1))
        for hour in range(DAY):
            either = dice.choice(of_weekday)[hour]
            here, there = (each[hour].requests for each in of_weekday)
            first, second = days[off][hour].requests, days[off + 7][hour].requests
            if not all((here, there, first, second)):
                weeks.append(either)
                continue
            # Two days differ by √2 of what a day differs from its mean.
            amount = sqrt(here * there) * exp(sign * log(second / first) / sqrt(2))
            weeks.append(Recorded(min(amount, 2 * highest), either.input, either.output, either.spread))
    return weeks


def _large_hour(hour: Recorded, model: str, dice: random.Random) -> Hour:
    calls = round(hour.requests)
    if not calls:
        return Hour(retried_calls=0)
    # Recorded averages stand for six hours; those of an hour scatter around them.
    tokens = calls * hour.input * exp(dice.gauss(0, hour.spread / sqrt(calls)))
    output = calls * hour.output * exp(dice.gauss(0, hour.spread / sqrt(calls)))
    cached = tokens * min(0.9, max(0.0, dice.gauss(0.38, 0.02 + 0.5 / sqrt(calls))))
    return _hour(calls, round(tokens - cached), round(cached), round(output), {model: calls})


def _small(hours: Sequence[Recorded], requests: Sequence[tuple[int, int, int]], dice: random.Random) -> list[Hour]:
    usual = median(hour.requests for hour in hours if hour.requests)
    found = []
    for hour in hours:
        rate = min(hour.requests * SMALL / usual, 50 * SMALL)
        calls = max(0, round(dice.gauss(rate, sqrt(rate))))
        if not calls:
            found.append(Hour(retried_calls=0))
            continue
        drawn = dice.choices(requests, k=calls)
        tokens, cached, output = (sum(column) for column in zip(*drawn, strict=True))
        found.append(_hour(calls, tokens - cached, cached, output, {"mid": calls}))
    return found


def _hour(calls: int, uncached: int, cached: int, output: int, models: dict[str, int], retried: int = 0) -> Hour:
    """At the prices of `models`, which share the tokens by their calls."""
    prices = [sum(PRICES[model][part] * number for model, number in models.items()) / calls for part in range(3)]
    return Hour(
        calls=calls,
        failed=calls // 100,
        priced_calls=calls,
        cost_nanousd=round(uncached * prices[0] + cached * prices[1] + output * prices[2]),
        counted_calls=calls,
        uncached_input_tokens=uncached,
        cache_read_tokens=cached,
        output_tokens=output,
        retried_calls=retried,
        models=models,
    )


@dataclass(frozen=True)
class Event:
    """`hours` long, or to the end; `driver` is what should be named, "" where nothing but the number changed."""

    name: str
    hours: int | None
    change: Callable[[Hour, int], Hour]
    driver: str = ""


def times(hour: Hour, factor: float, *, retried: float = 0) -> Hour:
    """So many more of the same calls; `retried` is the share of them that repeat another."""
    calls = round(hour.calls * factor)
    (model,) = hour.models
    return _hour(calls, *_tokens(hour, factor), {model: calls}, round(calls * retried))


def longer(hour: Hour, factor: float) -> Hour:
    return _hour(hour.calls, *_tokens(hour, factor), dict(hour.models))


def _tokens(hour: Hour, factor: float) -> tuple[int, int, int]:
    """Input, read from cache, output."""
    return (
        round(hour.uncached_input_tokens * factor),
        round(hour.cache_read_tokens * factor),
        round(hour.output_tokens * factor),
    )


def by_other_model(hour: Hour) -> Hour:
    (model,) = hour.models
    return _hour(
        hour.calls,
        hour.uncached_input_tokens,
        hour.cache_read_tokens,
        hour.output_tokens,
        {"mid" if model == "small" else "large": hour.calls},
    )


def uncached(hour: Hour) -> Hour:
    return _hour(hour.calls, hour.input_tokens, 0, hour.output_tokens, dict(hour.models))


EVENTS = (
    Event("spike: six times the requests for 4 hours", 4, lambda hour, _: times(hour, 6)),
    Event("retry loop: three times for 12 hours", 12, lambda hour, _: times(hour, 3, retried=2 / 3), "retries"),
    Event("model swap: all calls to a dearer one", None, lambda hour, _: by_other_model(hour), "models"),
    Event("cache loss: nothing read from cache", None, lambda hour, _: uncached(hour), "cache"),
    Event("drift of tokens, +5 % a week", None, lambda hour, age: longer(hour, 1.05 ** (age / WEEK)), "tokens"),
    Event("drift of requests, +5 % a week", None, lambda hour, age: times(hour, 1.05 ** (age / WEEK))),
)  # fmt: skip


def with_event(tenant: Tenant, event: Event, start: int) -> Tenant:
    """From hour `start` on."""
    end = len(tenant.hours) if event.hours is None else start + event.hours
    hours = [
        event.change(hour, place - start) if start <= place < end and hour.calls else hour
        for place, hour in enumerate(tenant.hours)
    ]
    return Tenant(f"{tenant.name}, {event.name}", hours)


def dearest_day(tenant: Tenant, clean: Tenant) -> int:
    """By how much the dearest day of `tenant` costs more, in nano-USD."""
    more = [after.cost_nanousd - before.cost_nanousd for after, before in zip(tenant.hours, clean.hours, strict=True)]
    return max(sum(more[start : start + DAY]) for start in range(0, len(more), DAY))


def starts(tenant: Tenant, first: int, last: int, dice: random.Random) -> int:
    """Some hour with traffic."""
    return dice.choice([place for place in range(first, last) if tenant.hours[place].calls])


def usual_day(tenant: Tenant) -> float:
    """What one cost in the recorded weeks, in nano-USD."""
    return mean(hour.cost_nanousd for hour in tenant.hours[: 2 * WEEK]) * DAY
