"""
By which listed prices a cost was made of its tokens: only prices that come to the cost in the books to the nano-dollar.

The list changes with every version of genai-prices, so a sealed month keeps what it was split by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from usage.models import UsageEvent
from usage.price_list import rates_of
from usage.rates import CLASSES, Rate, Step, rounded

# The classes that events count, in the order of `counts_of`.
METERS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
PLACES = tuple(CLASSES.index(meter) for meter in METERS)
# Tokens times a price of usage.rates is USD times 10 to this.
DECIMALS = 24
Name = tuple[str, str, str, str]  # provider, model, served model, tier
Steps = tuple[Step, ...]


def counts_of(event: UsageEvent) -> tuple[int, ...]:
    """By METERS."""
    return (
        event.uncached_input_tokens,
        event.cache_read_tokens,
        event.cache_write_tokens - event.cache_write_1h_tokens,
        event.cache_write_1h_tokens,
        event.output_tokens - event.reasoning_tokens,
        event.reasoning_tokens,
    )


class Prices:
    def __init__(self, pinned: Sequence[Any] | None = None) -> None:
        self._pinned = None if pinned is None else {tuple(name): days for name, days in pinned}
        self._read: dict[tuple[Name, date], list[Steps]] = {}

    def of(self, event: UsageEvent) -> tuple[int, ...] | None:
        """
        By METERS, in the unit of usage.rates; None where no listed price comes to the cost: the list has changed since,
        or the call was billed for more than its tokens of text.
        """
        counts, sent = counts_of(event), event.input_tokens
        for steps in self._steps(event):
            found = Rate(steps).step_of(sent).prices
            prices = [found[place] for place in PLACES]
            if any(count and price is None for count, price in zip(counts, prices, strict=True)):
                continue
            each = tuple(price or 0 for price in prices)
            if rounded(sum(map(int.__mul__, counts, each))) == event.cost_nanousd:
                return each
        return None

    def pin(self) -> list[Any]:
        """What was read, to be kept: of each name the days on which its prices changed."""
        kept: dict[Name, list[tuple[str, Any]]] = {}
        for (name, day), rates in sorted(self._read.items(), key=lambda item: item[0]):
            as_json = [[[step.above, list(step.prices)] for step in steps] for steps in rates]
            days = kept.setdefault(name, [])
            if not days or days[-1][1] != as_json:
                days.append((day.isoformat(), as_json))
        return [[list(name), days] for name, days in kept.items()]

    def _steps(self, event: UsageEvent) -> Iterable[Steps]:
        name = (event.provider, event.model, event.served_model, event.service_tier)
        day = event.occurred_at.date()
        if (name, day) not in self._read:
            self._read[name, day] = list(self._listed(name, day) if self._pinned is None else self._kept(name, day))
        return self._read[name, day]

    @staticmethod
    def _listed(name: Name, day: date) -> Iterable[Steps]:
        return (rate.steps for rate in rates_of(*name, day) if isinstance(rate, Rate))

    def _kept(self, name: Name, day: date) -> Iterable[Steps]:
        days: Sequence[Any] = (self._pinned or {}).get(name, ())
        known = [rates for since, rates in days if since <= day.isoformat()]
        for steps in known[-1] if known else ():
            yield tuple(Step(above, tuple(prices), ()) for above, prices in steps)
