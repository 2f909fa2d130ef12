"""
A key that is used elsewhere: its provider says that it used clearly more than what passed here in the same time.

Whatever can make the two differ is left to the key: calls that end or are accounted for around the two readings, a
tenth of what was used, and calls of which nobody knows what they cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from usage.anomalies.findings import Finding
from usage.anomalies.floor import LEAST_NANOUSD

SHARE = 0.1  # of what was used
DEARER = 10  # times what a call costs otherwise: one without a known cost may have cost that


@dataclass(frozen=True, slots=True)
class Passed:
    """What passed here with a key: the cost is of those calls that have one."""

    cost_nanousd: int
    calls: int
    calls_without_cost: int


def used_elsewhere(*, key: str, used_nanousd: int, passed: Passed, since: int, hours: int, hour: int) -> Finding | None:
    """By what `key` used within `hours` from hour `since` on; `hour` is judged. None also where it cannot be said."""
    priced = passed.calls - passed.calls_without_cost
    if passed.calls_without_cost and not priced:
        return None
    without = DEARER * passed.calls_without_cost * passed.cost_nanousd / priced if priced else 0
    further = used_nanousd - passed.cost_nanousd
    if further < max(LEAST_NANOUSD, SHARE * used_nanousd) + without:
        return None
    return Finding("elsewhere", "", since, hour, hours, passed.cost_nanousd, further, further, (), (), key)
