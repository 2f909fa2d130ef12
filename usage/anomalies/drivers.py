"""
What drives a change: of the hours since, held against those before, whatever moved enough to be named.

None stands for not measured; () for measured, and nothing found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from usage.anomalies.series import Hour

Name = Literal["tokens", "output", "models", "cache", "retries"]


@dataclass(frozen=True, slots=True)
class Driver:
    """
    `before` and `since` are tokens a call, or shares of the calls; of the cache, the share of the input read from it.

    `model` is the one that calls moved to.
    """

    name: Name
    before: float
    since: float
    model: str = ""


GROWTH = 1.25  # of tokens a call
SHIFT = 0.15  # of a share


def drivers(
    before: Hour, since: Hour, *, growth: float = GROWTH, shift: float = SHIFT
) -> tuple[tuple[Driver, ...] | None, tuple[Name, ...]]:
    """Those found, the strongest first, or None if none was measured; and the names of those not measured."""
    found: list[tuple[float, Driver]] = []
    unmeasured: list[Name] = []
    for name, shares in _measured(before, since).items():
        if shares is None:
            unmeasured.append(name)
            continue
        was, now, model = shares
        if name in ("tokens", "output"):
            strength = (now / was if was else 1.0) / growth
        else:
            strength = (was - now if name == "cache" else now - was) / shift
        if strength >= 1:
            found.append((strength, Driver(name, was, now, model)))
    if len(unmeasured) == len(_measured(before, since)):
        return None, tuple(unmeasured)
    return tuple(driver for _, driver in sorted(found, key=lambda each: -each[0])), tuple(unmeasured)


def _measured(before: Hour, since: Hour) -> dict[Name, tuple[float, float, str] | None]:
    both = (before, since)
    has_tokens = all(hour.counted_calls for hour in both)
    has_input = all(hour.input_tokens for hour in both)
    return {
        "tokens": _pair(*(hour.input_tokens / hour.counted_calls for hour in both)) if has_tokens else None,
        "output": _pair(*(hour.output_tokens / hour.counted_calls for hour in both)) if has_tokens else None,
        "models": _moved(before, since),
        "cache": _pair(*(hour.cache_read_tokens / hour.input_tokens for hour in both)) if has_input else None,
        "retries": _share(before.retried_calls, before.calls, since.retried_calls, since.calls),
    }


def _pair(before: float, since: float) -> tuple[float, float, str]:
    return before, since, ""


def _share(was: int | None, of: int, now: int | None, of_now: int) -> tuple[float, float, str] | None:
    return None if was is None or now is None or not of or not of_now else _pair(was / of, now / of_now)


def _moved(before: Hour, since: Hour) -> tuple[float, float, str] | None:
    """The model whose share grew most."""
    all_before, all_since = sum(before.models.values()), sum(since.models.values())
    if not all_before or not all_since:
        return None
    shares = {
        model: (before.models.get(model, 0) / all_before, calls / all_since) for model, calls in since.models.items()
    }
    model = max(shares, key=lambda name: shares[name][1] - shares[name][0])
    return (*shares[model], model)
