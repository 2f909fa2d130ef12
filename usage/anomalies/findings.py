"""What is said of an anomaly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from usage.anomalies.drivers import Driver, Name

Kind = Literal[
    "requests",
    "cost_per_request",
    "requests_drift",
    "cost_per_request_drift",
    "retries",
    "cache_loss",
    "error_storm",
    "new_model",
    "new_caller",
    "dear_run",
    "elsewhere",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    `usual` and `found` are requests, or nano-USD a request, in the `hours` that end with `hour`; of a drift, of a day.

    `a_day_nanousd` is what the last 24 hours cost more than usual; None: nobody knows. `drivers`: None, not
    measured; (), nothing found; `unmeasured` names what nobody measures. `subject` is the model, caller,
    run or key.
    """

    kind: Kind
    action: str
    since: int
    hour: int
    hours: int
    usual: float
    found: float
    a_day_nanousd: int | None
    drivers: tuple[Driver, ...] | None = None
    unmeasured: tuple[Name, ...] = ()
    subject: str = ""

    @property
    def signature(self) -> str:
        """What makes it the same as another: not when, nor how much."""
        return ":".join(filter(None, (self.kind, self.action, self.subject)))
