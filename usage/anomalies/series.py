"""The calls of one action, hour by hour. Hours are numbered from the epoch, in UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

DAY, WEEK = 24, 168  # hours
NO_MODELS: Mapping[str, int] = {}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hour(NamedTuple):
    """
    Sums of calls. The cost is of `priced_calls`, tokens of `counted_calls`; what nobody measures is None.

    `models` says how many calls each model had, `model_costs` what they cost where that is known. A retried call is a
    further attempt of one before it.
    """

    calls: int = 0
    failed: int = 0
    priced_calls: int = 0
    cost_nanousd: int = 0
    counted_calls: int = 0
    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    retried_calls: int | None = None
    models: Mapping[str, int] = NO_MODELS
    model_costs: Mapping[str, int] = NO_MODELS

    @property
    def input_tokens(self) -> int:
        return self.uncached_input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def cost_per_call(self) -> float | None:
        return self.cost_nanousd / self.priced_calls if self.priced_calls else None


NOTHING = Hour()
NUMBERS = Hour._fields.index("models")


@dataclass(frozen=True)
class Series:
    """
    The hours from `first_hour` on, without a gap, up to one that is over.

    `left_out` are hours that nobody called usual: those of episodes that were told of and not declared expected.
    """

    action: str
    first_hour: int
    hours: Sequence[Hour]
    left_out: frozenset[int] = frozenset()
    _so_far: Mapping[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self._so_far:  # else it is a copy of one with the same hours
            for name in ("calls", "priced_calls", "cost_nanousd"):
                sums = list(accumulate((getattr(hour, name) for hour in self.hours), initial=0))
                object.__setattr__(self, "_so_far", {**self._so_far, name: sums})

    @cached_property
    def began(self) -> int | None:
        """The hour of the first call."""
        return next((self.first_hour + place for place, hour in enumerate(self.hours) if hour.calls), None)

    @property
    def end(self) -> int:
        """The hour after the last."""
        return self.first_hour + len(self.hours)

    def total(self, name: str, start: int, end: int) -> int:
        """Of calls, priced calls or cost in [start, end)."""
        so_far: list[int] = self._so_far[name]
        return so_far[self._place(end)] - so_far[self._place(start)]

    def between(self, start: int, end: int) -> Sequence[Hour]:
        return self.hours[self._place(start) : self._place(end)]

    def _place(self, hour: int) -> int:
        place = hour - self.first_hour
        return 0 if place < 0 else min(place, len(self.hours))


def add_up(hours: Iterable[Hour]) -> Hour:
    """What was not measured in an hour with calls is not measured in the sum."""
    with_calls = [hour for hour in hours if hour.calls or hour.cost_nanousd]
    if not with_calls:
        return NOTHING
    models: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    for hour in with_calls:
        models.update(hour.models)
        costs.update(hour.model_costs)
    sums: dict[str, Any] = {}
    for name in Hour._fields[:NUMBERS]:
        values = [getattr(hour, name) for hour in with_calls]
        sums[name] = None if None in values else sum(values)
    return Hour(**sums, models=models, model_costs=costs)


def number_of(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(hours=1)


def moment_of(hour: int) -> datetime:
    return EPOCH + timedelta(hours=hour)
