"""
What can go wrong with a model call: asked for by a marker anywhere in the request, as in a prompt or a profile
(`[[simulate-503]]`), by the key (`sk-proj-simulated-valid-simulate-503`), or by the header `x-simulate: 503`.

Lists of models are given all the same, so that a key that only fails in calls can be connected.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

HEADER = b"x-simulate"
PAUSE_SECONDS = 0.2  # of a slow answer: before each of its events, or five times before it comes at once
# How long to wait after a rate limit, as servers tell clients that read milliseconds, and those that do not.
RETRY_SOON = {"retry-after": "1", "retry-after-ms": "50"}


class Fault(StrEnum):
    CUT = "[[simulate-cut]]"  # the connection breaks in the middle
    STALL = "[[simulate-stall]]"  # nothing more comes from the middle on, until the caller goes
    BROKEN = "[[simulate-broken]]"  # an error in the middle of a stream
    SLOW = "[[simulate-slow]]"  # the answer takes its time
    NO_USAGE = "[[simulate-no-usage]]"  # no tokens are reported
    ZERO_USAGE = "[[simulate-zero-usage]]"  # all tokens are reported to be none
    USAGE_TWICE = "[[simulate-usage-twice]]"  # the event of a stream that reports them comes twice
    RATE_LIMITED = "[[simulate-429]]"
    SPENT = "[[simulate-billing]]"  # a 429 that no waiting mends, where the provider has one
    FAILED = "[[simulate-500]]"
    BAD_GATEWAY = "[[simulate-502]]"
    UNAVAILABLE = "[[simulate-503]]"
    TIMED_OUT = "[[simulate-504]]"
    OVERLOADED = "[[simulate-529]]"

    @property
    def short(self) -> str:
        """As a key and a header name it."""
        return self.removeprefix("[[simulate-").removesuffix("]]")

    @property
    def status(self) -> int | None:
        """Of the error that is all of the answer."""
        return int(self.short) if self.short.isdigit() else None

    @classmethod
    def of(cls, body: bytes, key: str = "", header: str = "") -> Fault | None:
        if not header and "simulate-" not in key and b"[[simulate-" not in body:
            return None
        told = (fault for fault in cls if fault.short == header or key.endswith(f"simulate-{fault.short}"))
        return next(told, None) or next((fault for fault in cls if fault.encode() in body), None)


def usage_as_told(content: Mapping[str, Any], fault: Fault | None) -> dict[str, Any]:
    """An answer without its usage, or with nothing but zeros in it, where that is the fault."""
    names = ("usage", "usageMetadata")
    if fault is Fault.NO_USAGE:
        return {name: value for name, value in content.items() if name not in names}
    if fault is Fault.ZERO_USAGE:
        return {name: _zeroed(value) if name in names else value for name, value in content.items()}
    return dict(content)


def _zeroed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _zeroed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_zeroed(each) for each in value]
    return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value
