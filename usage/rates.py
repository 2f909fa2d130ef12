"""
What the tokens of one model cost on one day: a price list's entry as integers, ready to be multiplied.

Pricing a call by `Rate` takes microseconds, where reading the list takes a hundred; what is resolved once is kept by
`usage.price_list`. Cost is a sum of products of integers, and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from usage.models import UsageEvent
from usage.tokens import TokenUsage

NoPrice = UsageEvent.NoPrice

# A price is an integer, in USD a million tokens times this. It holds every price of the list: some were divided, and
# have 18 digits after the point.
SCALE = 10**18
# From tokens times such a price to nano-USD.
PER_NANOUSD = SCALE * 10**6 // 10**9

# The classes of tokens that may have prices of their own, in the order of `Step.prices`. They do not overlap.
INPUT = ("input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "cache_read_audio", "input_image")
OUTPUT = ("output", "reasoning", "output_audio", "output_image")
CLASSES = (*INPUT, *OUTPUT)
EXTRAS = frozenset({"input_audio", "cache_read_audio", "input_image", "output_audio", "output_image"})


@dataclass(frozen=True, slots=True)
class Step:
    """The prices of requests that send more than `above` tokens, for all of their tokens."""

    above: int
    prices: tuple[int | None, ...]  # by CLASSES, in units of SCALE; None where there is none
    reasons: tuple[NoPrice | None, ...]  # by CLASSES: why there is none

    def usd_per_million(self) -> dict[str, Decimal]:
        """By class, of those that have a price."""
        return {
            name: Decimal(price).scaleb(-18)
            for name, price in zip(CLASSES, self.prices, strict=True)
            if price is not None
        }


@dataclass(frozen=True, slots=True)
class Rate:
    """The prices of one model, in one tier, on one day. `steps` begin at 0 and rise."""

    steps: tuple[Step, ...]

    def cost(self, usage: TokenUsage) -> int | NoPrice:
        """Nano-USD, rounded half to even, or why these tokens have no price. Raises nothing."""
        step = self.steps[0] if len(self.steps) == 1 else self.step_of(usage.input_total)
        counts = _counts(usage)
        amount = 0
        for count, price in zip(counts, step.prices, strict=True):
            if count:
                if price is None:
                    return _why_not(counts, step)
                amount += count * price
        return rounded(amount)

    def input_cost(self, usage: TokenUsage) -> int:
        """What of `cost` is of input; nano-USD. For tokens that have a price."""
        prices = self.step_of(usage.input_total).prices
        counts = zip(_counts(usage)[: len(INPUT)], prices[: len(INPUT)], strict=True)
        return rounded(sum(count * (price or 0) for count, price in counts))

    def most(self, *, input_tokens: int, output_tokens: int) -> int | None:
        """
        What a request costs at most that sends and receives no more than so many tokens, of whatever class; nano-USD,
        rounded up. None where some text has no price, so that nobody can tell.

        Classes that the list has no price for are left out: a request that uses them is not priced by its tokens.
        """
        within = [step for step in self.steps if step.above == 0 or step.above < input_tokens]
        needed = [name for name, count in (("input", input_tokens), ("output", output_tokens)) if count]
        if any(step.prices[CLASSES.index(name)] is None for step in within for name in needed):
            return None
        amounts = [input_tokens * _dearest(step, INPUT) + output_tokens * _dearest(step, OUTPUT) for step in within]
        return -(-max(amounts) // PER_NANOUSD)

    def step_of(self, sent: int) -> Step:
        """The prices of a request that sends so many tokens."""
        found = self.steps[0]
        for step in self.steps[1:]:
            if sent <= step.above:
                break
            found = step
        return found


def rounded(amount: int) -> int:
    """Nano-USD of tokens times prices, half to even; the one place where a listed cost is rounded."""
    whole, rest = divmod(amount, PER_NANOUSD)
    return whole + (2 * rest > PER_NANOUSD or (2 * rest == PER_NANOUSD and whole % 2))


def _counts(usage: TokenUsage) -> tuple[int, ...]:
    """By CLASSES."""
    return (
        usage.uncached_input - usage.audio_input - usage.image_input,
        usage.cache_read - usage.audio_cache_read,
        usage.cache_write,
        usage.cache_write_1h,
        usage.audio_input,
        usage.audio_cache_read,
        usage.image_input,
        usage.output - usage.reasoning - usage.audio_output - usage.image_output,
        usage.reasoning,
        usage.audio_output,
        usage.image_output,
    )


def _dearest(step: Step, names: Sequence[str]) -> int:
    return max(step.prices[CLASSES.index(name)] or 0 for name in names)


def _why_not(counts: Sequence[int], step: Step) -> NoPrice:
    """That the list lacks a price weighs more than that the tier does."""
    reasons = {reason for count, reason in zip(counts, step.reasons, strict=True) if count and reason}
    return next(reason for reason in (NoPrice.NOT_LISTED, NoPrice.EXTRAS, NoPrice.TIER) if reason in reasons)
