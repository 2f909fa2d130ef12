"""
The receipt of one call: all that the books know of it, its further attempts and corrections included.

A value, which pages, the API and the gateway's doors show alike; `receipt_reading.py` reads it. What it says in USD is
what its organization sees (usage/audience.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from usage.audience import sees_usd
from usage.models import Mode, UsageEvent
from usage.pricing import Price

Status, Source, NoPrice = UsageEvent.Status, UsageEvent.PriceSource, UsageEvent.NoPrice
NOTHING_DUE = UsageEvent.NOTHING_DUE
IN_FLIGHT = "in_flight"


class Known(StrEnum):
    """How well the tokens of a call are known."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    PART = "part"
    NOT_REPORTED = "not_reported"
    NOT_KNOWN = "not_known"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class KeyNow:
    """What is known today of the key that a call left with; `last4` are of the secret that it had then."""

    last4: str = ""
    is_there: bool = True
    was_replaced: bool = False  # since the call, so that nobody knows how that secret ended


REMOVED = KeyNow(is_there=False)


@dataclass(frozen=True, slots=True)
class Key:
    """`label` is how it was called when the call left."""

    label: str
    now: KeyNow


@dataclass(frozen=True, slots=True)
class TokenClass:
    """`tokens` None: not known. `usd_per_million` None: without a price of its own, or not for who reads this."""

    name: str  # as in usage.rates.CLASSES
    words: str
    tokens: int | None
    usd_per_million: Decimal | None = None

    @property
    def usd(self) -> Decimal | None:
        return None if self.usd_per_million is None else (self.tokens or 0) * self.usd_per_million / 10**6


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that the call left. `cost` None: the operator's to know, or not known before its end."""

    call_id: uuid.UUID
    number: int
    at: datetime
    provider: str
    model: str
    mode: str
    is_stream: bool
    status: str = IN_FLIGHT
    status_words: str = "In flight"
    reason: str = ""
    error_kind: str = ""
    http_status: int | None = None
    served_model: str = ""
    service_tier: str = ""
    finish_reason: str = ""
    request_id: str = ""
    first_byte_ms: int | None = None
    end_ms: int | None = None
    tokens_known: Known = Known.NOT_KNOWN
    tokens: tuple[TokenClass, ...] = ()
    cost: Price | None = None
    parts: tuple[tuple[str, int], ...] = ()  # of its input, in words, and their tokens

    @property
    def is_in_flight(self) -> bool:
        return self.status == IN_FLIGHT

    @property
    def total_tokens(self) -> int | None:
        known = [each.tokens for each in self.tokens if each.tokens is not None]
        return sum(known) if known else None

    @property
    def is_estimated(self) -> bool:
        return self.tokens_known == Known.ESTIMATED

    @property
    def is_part(self) -> bool:
        return self.tokens_known == Known.PART

    @property
    def has_unit_prices(self) -> bool:
        return any(each.usd_per_million is not None for each in self.tokens)

    @property
    def is_incomplete(self) -> bool:
        """Its cost, if it has one, is not known."""
        return self.cost is not None and self.cost.cost_nanousd is None and self.cost.no_price not in NOTHING_DUE

    @property
    def is_unanswered(self) -> bool:
        return self.cost is not None and self.cost.no_price == NoPrice.NO_ANSWER

    @property
    def has_nothing_to_pay(self) -> bool:
        return self.cost is not None and self.cost.no_price in NOTHING_DUE


@dataclass(frozen=True, slots=True)
class Correction:
    """What was added to the cost of an attempt later, or taken from it; None: the operator's to know."""

    call_id: uuid.UUID
    revision: int
    nanousd: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    `attempts` in their order, at least one. `key` None: one of the operator's. `is_own_model`: what it was for has a
    key and model of its own, and went by no rule. `by_token`: it came through the gateway; then `token` is the name of
    the API token, and `member` who it stood for, None where they are no longer there.
    """

    call_id: uuid.UUID
    organization: str
    action: str
    action_name: str
    run_id: uuid.UUID
    iteration: int
    at: datetime
    key: Key | None
    rule_version: int | None
    is_own_model: bool
    token_id: int | None
    token: str | None
    member: Person | None
    labels: Mapping[str, str]
    attempts: tuple[Attempt, ...]
    corrections: tuple[Correction, ...]

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def mode(self) -> str:
        return self.last.mode

    @property
    def payer(self) -> str:
        return str(Mode(self.mode).label)

    @property
    def by_token(self) -> bool:
        return self.token_id is not None

    @property
    def is_in_flight(self) -> bool:
        return any(attempt.is_in_flight for attempt in self.attempts)

    @property
    def sees_usd(self) -> bool:
        return sees_usd(self.mode)

    @property
    def cost_nanousd(self) -> int | None:
        """Of all attempts and corrections, as far as it is known; None where nothing of it is, or is to be seen."""
        known = [each.cost.cost_nanousd for each in self.attempts if each.cost and each.cost.cost_nanousd is not None]
        if not known:
            return None
        return sum(known) + sum(each.nanousd or 0 for each in self.corrections)

    @property
    def is_incomplete(self) -> bool:
        """The cost of a part of it is not known."""
        return self.is_in_flight or any(attempt.is_incomplete for attempt in self.attempts)

    @property
    def has_no_token_charges(self) -> bool:
        return all(each.cost and each.cost.source == Source.OWN_SERVER for each in self.attempts)

    @property
    def is_reported(self) -> bool:
        """What is known of the cost is the provider's own figure."""
        sources = {each.cost.source for each in self.attempts if each.cost and each.cost.cost_nanousd is not None}
        return sources == {Source.PROVIDER} and not self.corrections
