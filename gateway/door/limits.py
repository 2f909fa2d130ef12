"""
How much one token may ask for: at once, and in a minute.

Counted in memory by each process for itself: with several web servers the bounds hold in each of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from gateway.callers import Caller
from gateway.door.errors import DoorError

MINUTE = 60.0


@dataclass(slots=True)
class _Used:
    at_once: int = 0
    requests: deque[float] = field(default_factory=deque)
    tokens: deque[tuple[float, int]] = field(default_factory=deque)
    tokens_in_all: int = 0


class Limits:
    """`most_at_once` holds for tokens without a bound of their own, `most_in_all` for all together."""

    def __init__(self, *, most_at_once: int, most_in_all: int) -> None:
        self._most_at_once, self.most_in_all = most_at_once, most_in_all
        self.in_all = 0
        self._used: dict[int, _Used] = {}

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Takes a place for one call as long as it lasts. Raises DoorError where there is none."""
        limits, now = caller.limits, monotonic()
        used = self._used.setdefault(caller.token_id, _Used())
        most = limits.calls_at_once or self._most_at_once
        if self.in_all >= self.most_in_all:
            raise _too_many("server_busy", "Too many calls are under way here. Try again in a moment.", 1.0, status=503)
        if used.at_once >= most:
            raise _too_many("calls_at_once", f"This token has {most} calls under way, as many as it may.", 1.0)
        if limits.requests_a_minute is not None:
            wait = _wait_for_requests(used, limits.requests_a_minute, now)
            if wait > 0:
                sentence = f"This token may make {limits.requests_a_minute:,} requests a minute."
                raise _too_many("requests_a_minute", sentence, wait)
            used.requests.append(now)
        if limits.tokens_a_minute is not None and (wait := _wait_for_tokens(used, limits.tokens_a_minute, now)) > 0:
            sentence = f"This token may use {limits.tokens_a_minute:,} tokens a minute."
            raise _too_many("tokens_a_minute", sentence, wait)
        used.at_once += 1
        self.in_all += 1
        try:
            yield
        finally:
            used.at_once -= 1
            self.in_all -= 1
            if not used.at_once and limits.requests_a_minute is None and limits.tokens_a_minute is None:
                self._used.pop(caller.token_id, None)

    def note_tokens(self, caller: Caller, tokens: int) -> None:
        """What an answer used counts against the minute in which it ended."""
        if caller.limits.tokens_a_minute is not None and tokens:
            used = self._used.setdefault(caller.token_id, _Used())
            used.tokens.append((monotonic(), tokens))
            used.tokens_in_all += tokens


def _wait_for_requests(used: _Used, most: int, now: float) -> float:
    while used.requests and used.requests[0] <= now - MINUTE:
        used.requests.popleft()
    return 0.0 if len(used.requests) < most else used.requests[len(used.requests) - most] + MINUTE - now


def _wait_for_tokens(used: _Used, most: int, now: float) -> float:
    while used.tokens and used.tokens[0][0] <= now - MINUTE:
        used.tokens_in_all -= used.tokens.popleft()[1]
    if used.tokens_in_all < most:
        return 0.0
    left = used.tokens_in_all
    for at, tokens in used.tokens:
        left -= tokens
        if left < most:
            return at + MINUTE - now
    return MINUTE


def _too_many(code: str, sentence: str, wait: float, *, status: int = 429) -> DoorError:
    return DoorError(status, code, sentence, can_retry=True, retry_after_seconds=wait)
