"""
What the doors know of who calls, and of where their calls may go: values, without the database.

A snapshot (`gateway.snapshots`) makes them; a door takes them for the length of one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from providers.custody.sealing import WrappedKey
from providers.keys.destinations import Destination
from usage.facts import CallFacts


class CallerRefused(Exception):
    """
    Whoever calls may not. str() is a sentence that says what to do; `status` the HTTP status, and `code` what the
    answer's `x-keyfare-error` says.
    """

    def __init__(self, sentence: str, *, status: int, code: str) -> None:
        super().__init__(sentence)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a rule sends where the client names nothing else; None and "": as the client or the model has it."""

    temperature: Decimal | None = None
    most_output_tokens: int | None = None
    reasoning_effort: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where the calls of one route go: all that a ticket needs but the moment. `facts.model` is the model of the route;
    "" where the caller names it (direct calls). The key is sealed under a key that is wrapped itself.
    """

    facts: CallFacts
    sealed_key: WrappedKey
    key_organization_id: int
    secret_version: int
    destination: Destination
    no_token_charges: bool
    rule_version: int | None = None
    parameters: Parameters = Parameters()
    # Of an agent on a managed key, for a UTC day.
    managed_calls_a_day: int | None = None
    managed_nanousd_a_day: int | None = None
    # Its owner, or who lends it its key, says which models serve it: a call brings in no other.
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an agent serves no call now: a sentence for the caller, and its code."""

    sentence: str
    code: str


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Of one token; None: the installation's own."""

    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None
    calls_at_once: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """
    A token that may call: for whom, as whom, and what. `agents` are those it may call, by slug, and `direct` the
    targets of `provider/model`, by provider. `allowed_models` are “provider” or “provider/model”; empty: anything.
    """

    token_id: int
    organization_id: int
    organization_slug: str
    member_id: int
    agents: Mapping[str, Target | Refusal]
    direct: Mapping[str, Target | Refusal]
    allowed_models: frozenset[str] = frozenset()
    limits: CallLimits = CallLimits()
    expires_at: datetime | None = None
    is_bound: bool = False  # to its one agent, whatever model its client names
    sees_usd: bool = True  # what calls cost: the member that it stands for may
    may_view: bool = False  # what others of its organization called: the scope `view`, and its maker's role


class Callers(Protocol):
    """What a door asks who calls."""

    async def caller(self, token: str) -> Caller:
        """Who calls with `token`, the whole of its text. Raises CallerRefused."""

    def now(self) -> datetime:
        """The database's time, as of its last sign of life and what has passed since."""
