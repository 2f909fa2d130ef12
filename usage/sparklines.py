"""A line as small as a word: how something went over some days. Drawn by `usage/_sparkline.html`, without scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from usage import amounts

WIDTH, HEIGHT, EDGE = 120, 28, 2


@dataclass(frozen=True, slots=True)
class Sparkline:
    """`points` of a polyline; `text` says the same in words."""

    points: str
    text: str
    width: int = WIDTH
    height: int = HEIGHT


def sparkline(values: Sequence[int], *, of: str, value: Callable[[int], str] = amounts.count) -> Sparkline:
    """`of` is what is counted, in the plural: "calls"; `value` prints an amount of it."""
    most = max(values, default=0)
    step = (WIDTH - 2 * EDGE) / max(len(values) - 1, 1)
    room = HEIGHT - 2 * EDGE
    places = [
        f"{EDGE + at * step:.1f},{HEIGHT - EDGE - (value * room / most if most else 0):.1f}"
        for at, value in enumerate(values)
    ]
    text = f"{value(sum(values))} {of} in {len(values)} days, {value(most)} on the busiest" if most else f"No {of}"
    return Sparkline(" ".join(places), text)
