"""
Tokens in our normal form: classes that do not overlap, so that they can be added and priced one by one.

Providers report inclusive sums (cached within input, reasoning within output) and break them now and then;
here input is split into uncached, read from cache and written to cache, and no class is ever below zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Self


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """The tokens of one call; all classes but `reasoning` are disjoint."""

    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0  # kept for five minutes, or as long as the provider's default is
    cache_write_1h: int = 0
    output: int = 0  # reasoning included
    reasoning: int = 0  # a part of output, shown apart
    # Parts that are no text, and may have prices of their own: of uncached_input, of cache_read and of output.
    audio_input: int = 0
    image_input: int = 0
    audio_cache_read: int = 0
    audio_output: int = 0
    image_output: int = 0

    def __post_init__(self) -> None:
        if min(_every_class(self)) < 0:
            negative = next(field.name for field in fields(self) if getattr(self, field.name) < 0)
            raise ValueError(f"{negative} may not be negative.")
        if self.reasoning + self.audio_output + self.image_output > self.output:
            raise ValueError("reasoning, audio_output and image_output are parts of output and may not exceed it.")
        if self.audio_input + self.image_input > self.uncached_input:
            raise ValueError("audio_input and image_input are parts of uncached_input and may not exceed it.")
        if self.audio_cache_read > self.cache_read:
            raise ValueError("audio_cache_read is a part of cache_read and may not exceed it.")

    @property
    def input_total(self) -> int:
        """Everything sent: uncached, read from cache and written to cache."""
        return self.uncached_input + self.cache_read + self.cache_write + self.cache_write_1h

    @property
    def total(self) -> int:
        return self.input_total + self.output

    @classmethod
    def from_inclusive(
        cls,
        input_total: int,
        cache_read: int = 0,
        cache_write: int = 0,
        output: int = 0,
        reasoning: int = 0,
        cache_write_1h: int = 0,
    ) -> Self:
        """
        Split what a provider reports as sums: input including cache reads and writes, output including
        reasoning.

        Never negative: numbers below zero count as zero, cache classes are cut to what the input total
        leaves, reasoning is cut to the output.
        """
        left = max(input_total, 0)
        cache_read = min(max(cache_read, 0), left)
        left -= cache_read
        cache_write = min(max(cache_write, 0), left)
        left -= cache_write
        cache_write_1h = min(max(cache_write_1h, 0), left)
        left -= cache_write_1h
        output = max(output, 0)
        return cls(
            uncached_input=left,
            cache_read=cache_read,
            cache_write=cache_write,
            cache_write_1h=cache_write_1h,
            output=output,
            reasoning=min(max(reasoning, 0), output),
        )


_every_class = attrgetter(*(field.name for field in fields(TokenUsage)))


class Doubt(StrEnum):
    """What an answer leaves open, so that nobody knows what the call cost. Each is a reason of UsageEvent.NoPrice."""

    PART_OF_COST = "part_of_cost"  # it tells a part of the cost and keeps the rest to itself
    UNCLEAR_TOKENS = "unclear_tokens"  # it tells some of the tokens, or counts that contradict one another
    EXTRAS = "extras"  # it was billed for more than text: a tool, sound, pictures


@dataclass(frozen=True, slots=True)
class Report:
    """
    What a provider's answer says of itself, whether it brought a text or failed. The call's usage event keeps it.

    `usage` is None where it reports no tokens; `cost_nanousd` is the whole cost as the provider reports it, None where
    it does not; `served_model` is the model it says it used, `service_tier` what it says of tier, speed and region,
    `finish_reason` why the answer ended, in the provider's own words; all "" where it does not say. `doubt` is what it
    leaves open; then `usage` is what is known of the tokens.
    """

    usage: TokenUsage | None = None
    cost_nanousd: int | None = None
    served_model: str = ""
    service_tier: str = ""
    finish_reason: str = ""
    request_id: str = ""
    doubt: Doubt | None = None


NOTHING_SAID = Report()
