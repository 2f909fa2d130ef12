"""What is too little money to be told of."""

from __future__ import annotations

LEAST_NANOUSD = 1_000_000_000  # a day
SHARE = 0.02  # of what the organization spends on a usual day


def floor_of(usual_day_nanousd: float) -> int:
    return max(LEAST_NANOUSD, round(usual_day_nanousd * SHARE))
