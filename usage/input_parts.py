"""What the input of a call is made of: numbers alone, no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class InputParts:
    """
    How much of the input is what, in one unit such as characters. `tools`: their definitions and what they returned.
    `retrieved`: documents given along, such as a profile. `history`: earlier turns. `user`: the last one.
    """

    system: int = 0
    tools: int = 0
    retrieved: int = 0
    history: int = 0
    user: int = 0

    def tokens(self, input_tokens: int) -> dict[str, int]:
        """
        The columns of an event: its input tokens shared out in proportion, to the last one. All 0 where nothing was
        counted.
        """
        counts = [getattr(self, name) for name in _NAMES]
        return dict(zip(_COLUMNS, shared_out(input_tokens, counts), strict=True))


def shared_out(amount: int, weights: Sequence[int]) -> list[int]:
    """`amount` in whole parts in proportion to `weights`, which come to all of it; nothing where all weigh nothing."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    shares = [weight * amount // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: -(weights[at] * amount % total))
    for at in by_remainder[: amount - sum(shares)]:
        shares[at] += 1
    return shares


_NAMES = tuple(field.name for field in fields(InputParts))
_COLUMNS = tuple(f"{name}_tokens" for name in _NAMES)
NOT_COUNTED = InputParts()
