"""What *Consumption* can count, and by what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from usage import amounts
from usage.charts import Unit
from usage.measures import LATENCY_BOUNDS_MS, Sums

PER_MYRIAD = 10_000  # shares are whole numbers: of 10,000

BASE = (
    *("calls", "failed", "lost", "unpriced_calls", "unknown_calls", "unreported_calls", "own_server_calls"),
    *("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_nanousd", "runs"),
)


def percent(share: int) -> str:
    return f"{share / PER_MYRIAD:.1%}"


def about_seconds(milliseconds: int) -> str:
    """Read from a histogram, so an estimate."""
    return f"~{milliseconds / 1000:,.2f} s"


USD = Unit("estimated USD", amounts.dollars, amounts.dollar_tick, unknown=amounts.NOT_KNOWN)
SMALL_USD = Unit(
    "estimated USD",
    lambda nanousd: amounts.dollars(nanousd, places=4),
    amounts.dollar_tick,
    unknown=amounts.NOT_KNOWN,
)
TOKENS = Unit("tokens", amounts.count, amounts.count_tick, unknown=amounts.NOT_REPORTED)
CALLS = Unit("calls", amounts.count, amounts.count_tick, unknown=amounts.NOT_KNOWN)
RUNS = Unit("runs", amounts.count, amounts.count_tick, unknown=amounts.NOT_KNOWN)
ERRORS = Unit("errors", amounts.count, amounts.count_tick, unknown=amounts.NOT_KNOWN)
SECONDS = Unit("seconds", about_seconds, lambda number, step: f"{number / 1000:g} s", unknown=amounts.NOT_KNOWN)
SHARE = Unit(
    "of the input", percent, lambda share, step: f"{100 * share / PER_MYRIAD:g}%", unknown=amounts.NOT_REPORTED
)


def _none_missing(sums: Sums) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Metric:
    """
    `value` of some sums, None where it is not known, and the number of calls that it does not cover (`gap`).

    What does not `add_up` is worked out anew for every group and for all of them: it is never a sum, or a mean, of
    those of the groups. `rows` is what the list of calls is narrowed by to see what was counted.
    """

    label: str
    unit: Unit
    value: Callable[[Sums], int | None]
    gap: Callable[[Sums], int] = _none_missing
    needs: tuple[str, ...] = ()  # the measures of both
    of_runs: tuple[str, ...] = ()  # those of `per_run`
    adds_up: bool = True
    is_usd: bool = False
    per_call: bool = False
    per_run: Callable[[Sums], tuple[int, int, int]] | None = None  # total, runs it is of, and a gap
    rows: tuple[tuple[str, str], ...] = ()
    by_runs: bool = False  # its rows are runs

    @property
    def is_per_run(self) -> bool:
        return self.per_run is not None


_ALL_TOKENS = ("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
_WITHOUT_TOKENS = ("unreported_calls", "unknown_calls")
_HISTOGRAM = ("answered", *(f"within_{bound}_ms" for bound in LATENCY_BOUNDS_MS))


def _tokens(label: str, name: str) -> Metric:
    return Metric(
        label,
        TOKENS,
        lambda sums: getattr(sums, name),
        lambda sums: sums.calls_without_tokens,
        needs=(name, *_WITHOUT_TOKENS),
        per_call=True,
    )


def _latency(label: str, share: float) -> Metric:
    return Metric(
        label,
        SECONDS,
        lambda sums: sums.latency_percentile(share),
        needs=_HISTOGRAM,
        adds_up=False,
        rows=(("status", "answered"),),
    )


METRICS: dict[str, Metric] = {
    "usd": Metric(
        "USD",
        USD,
        lambda sums: sums.cost_nanousd,
        lambda sums: sums.calls_without_cost,
        needs=("cost_nanousd", "unpriced_calls", "unknown_calls"),
        of_runs=("run_cost_nanousd", "priced_runs", "partly_priced_runs"),
        is_usd=True,
        per_call=True,
        per_run=lambda sums: (sums.run_cost_nanousd, sums.priced_runs, sums.partly_priced_runs),
    ),
    "tokens": Metric(
        "Tokens",
        TOKENS,
        lambda sums: sums.tokens,
        lambda sums: sums.calls_without_tokens,
        needs=(*_ALL_TOKENS, *_WITHOUT_TOKENS),
        of_runs=("run_tokens", "run_unreported_calls"),
        per_call=True,
        per_run=lambda sums: (sums.run_tokens, sums.runs, sums.run_unreported_calls),
    ),
    "input": _tokens("Tokens: uncached input", "uncached_input_tokens"),
    "cache_read": _tokens("Tokens: read from cache", "cache_read_tokens"),
    "cache_write": _tokens("Tokens: written to cache", "cache_write_tokens"),
    "output": _tokens("Tokens: output", "output_tokens"),
    "reasoning": _tokens("Tokens: reasoning, a part of output", "reasoning_tokens"),
    "calls": Metric("Calls", CALLS, lambda sums: sums.calls, per_run=lambda sums: (sums.calls, sums.runs, 0)),
    "runs": Metric("Runs", RUNS, lambda sums: sums.runs, needs=("runs",), by_runs=True),
    "errors": Metric("Errors", ERRORS, lambda sums: sums.failed, needs=("failed",), rows=(("status", "errors"),)),
    "p50": _latency("Latency, median", 0.5),
    "p95": _latency("Latency, 95th percentile", 0.95),
    "cache_share": Metric(
        "Cache share",
        SHARE,
        lambda sums: PER_MYRIAD * sums.cache_read_tokens // sums.input_tokens if sums.input_tokens else None,
        lambda sums: sums.calls_without_tokens,
        needs=(*_ALL_TOKENS, *_WITHOUT_TOKENS),
        adds_up=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Group:
    """By which dimensions of the rollup, and what one of its rows is called in the plural."""

    label: str
    dimensions: tuple[str, ...]
    plural: str
    is_coarse: bool = True  # summed by the hour as well


GROUPS: dict[str, Group] = {
    "action": Group("Action or agent", ("action",), "actions and agents"),
    "provider": Group("Provider", ("provider",), "providers"),
    "model": Group("Model", ("provider", "model"), "models"),
    "key": Group("Key", ("key_id",), "keys", is_coarse=False),
    "mode": Group("Mode", ("mode",), "modes"),
    "token": Group("API token", ("token_id",), "API tokens", is_coarse=False),
    "member": Group("Member", ("member_id",), "members", is_coarse=False),
}
BY_LABEL = "label:"  # and its name


def group_by_label(name: str) -> Group:
    return Group(f"Label {name}", ("value",), f"values of {name}", is_coarse=False)
