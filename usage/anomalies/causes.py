"""
Which findings are views of one cause, so that it is told once.

Where calls move to a dearer model there is a new model, a dearer request and perhaps a lost cache. Two findings about
the same calls are of one cause where both began within the same hours and one of them is a sum, in which whatever goes
wrong shows, or names the other among its drivers. What says most of the cause leads, and the others are told with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from usage.anomalies.findings import Finding, Kind
from usage.anomalies.series import DAY

# Who leads, first.
PRECEDENCE: Sequence[Kind] = (
    *("error_storm", "new_model", "new_caller", "retries", "cache_loss", "dear_run"),
    *("cost_per_request", "requests", "cost_per_request_drift", "requests_drift", "elsewhere"),
)
SUMS = ("cost_per_request", "requests", "dear_run")
DRIFTS = ("cost_per_request_drift", "requests_drift")
GROWS = ("new_model", "new_caller", "dear_run")  # what it does may show in a sum only later
NAMED_AS = {"error_storm": "retries", "retries": "retries", "cache_loss": "cache", "new_model": "models"}
NEAR = 6  # hours that two estimates of one beginning may be apart


def rank(finding: Finding) -> int:
    return PRECEDENCE.index(finding.kind)


def is_one_cause(one: Finding, other: Finding) -> bool:
    """Of two findings about the same calls. What grows over weeks began at no hour, so that only its drivers tell."""
    is_named = _names(one, other) or _names(other, one)
    if one.kind in DRIFTS or other.kind in DRIFTS:
        return is_named and one.since <= other.hour and other.since <= one.hour
    began_together = one.since <= _last_start(other, one) + NEAR and other.since <= _last_start(one, other) + NEAR
    return began_together and (is_named or one.kind in SUMS or other.kind in SUMS)


def _last_start(finding: Finding, other: Finding) -> int:
    """The last hour in which what shows of it may have begun; a dear run is one of the calls of what goes on."""
    if other.kind == "dear_run":
        return finding.hour
    return min(finding.hour, finding.since + 2 * DAY) if finding.kind in GROWS else finding.since


def _names(finding: Finding, other: Finding) -> bool:
    return any(
        driver.name == NAMED_AS.get(other.kind) and (other.kind != "new_model" or driver.model == other.subject)
        for driver in finding.drivers or ()
    )
