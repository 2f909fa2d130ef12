"""
The file of model calls: a line for each, and one for each later correction of a cost.

Columns and words here belong to the layout of sealed months: who changes them raises LAYOUT (sealing.py) and keeps
what the old one needs.
"""

from __future__ import annotations

from collections.abc import Sequence

from usage.amounts import usd_exactly
from usage.audience import sees_usd
from usage.exports.cells import NOTHING, Piece, heading, moment, number, pairs, piece, text
from usage.exports.words import Words
from usage.models import Mode, UsageEvent
from usage.receipt_reading import how_tokens_are_known
from usage.receipts import Known

COLUMNS = (
    "time_utc",
    "call_id",
    "revision",
    "run_id",
    "iteration",
    "attempt",
    "attempt_of",
    "action",
    "provider",
    "model",
    "served_model",
    "service_tier",
    "mode",
    "key_id",
    "key_label",
    "rule_version",
    "token_id",
    "token",
    "member_id",
    "member",
    "labels",
    "status",
    "error",
    "http_status",
    "finish_reason",
    "request_id",
    "stream",
    "first_byte_ms",
    "latency_ms",
    "tokens_known",
    "uncached_input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "answer_tokens",
    "reasoning_tokens",
    "total_tokens",
    "cost_usd",
    "cost_known",
    "price_source",
    "price_version",
    "why_no_price",
)
NOT_KNOWN = (Known.NOT_REPORTED, Known.NOT_KNOWN)


class CallsFile:
    name = "calls"

    def __init__(self, words: Words, *, show_managed_usd: bool) -> None:
        self._words = words
        self._show_managed_usd = show_managed_usd

    def begin(self) -> Piece:
        return heading(COLUMNS)

    def add(self, events: Sequence[UsageEvent]) -> Piece:
        return piece([self._row(event) for event in events])

    def end(self) -> Piece:
        return piece([])

    def _row(self, event: UsageEvent) -> list[str]:
        is_own = event.mode == Mode.BYOK
        is_call = event.revision == 0
        return [
            moment(event.occurred_at),
            str(event.call_id),
            number(event.revision),
            str(event.run_id),
            number(event.iteration),
            number(event.attempt),
            str(event.attempt_of or NOTHING),
            text(event.action),
            text(event.provider),
            text(event.model),
            text(event.served_model),
            text(event.service_tier),
            event.mode,
            str(event.key_id) if is_own else NOTHING,
            text(event.key_label) if is_own else NOTHING,
            number(event.rule_version),
            number(event.token_id),
            text(self._words.token(event.token_id)),
            number(event.member_id),
            text(self._words.member(event.member_id)),
            pairs(event.labels),
            event.status,
            text(event.error_kind),
            number(event.http_status),
            text(event.finish_reason),
            text(event.request_id),
            "yes" if event.is_stream else "no",
            number(event.first_byte_ms),
            number(event.latency_ms) if is_call and event.status != UsageEvent.Status.LOST else NOTHING,
            *_tokens(event),
            *self._cost(event),
        ]

    def _cost(self, event: UsageEvent) -> list[str]:
        if not sees_usd(event.mode, show_managed_usd=self._show_managed_usd):
            return [NOTHING, "paid by the operator", NOTHING, NOTHING, NOTHING]
        return [
            NOTHING if event.cost_nanousd is None else usd_exactly(event.cost_nanousd),
            cost_known(event),
            event.price_source,
            text(event.price_version),
            event.no_price,
        ]


def cost_known(event: UsageEvent) -> str:
    if event.has_no_token_charges:
        return "no token charges"
    if event.has_nothing_to_pay:
        return "nothing to pay"
    if event.is_unanswered:
        return "not known"
    if event.is_unpriced:
        return "unpriced"
    return "reported" if event.price_source == UsageEvent.PriceSource.PROVIDER else "estimated"


def _tokens(event: UsageEvent) -> list[str]:
    """Classes that have no token in common, and all of them together."""
    if event.revision:
        return [NOTHING] * 8
    known = how_tokens_are_known(event)
    if known in NOT_KNOWN:
        return [known, *[NOTHING] * 7]
    return [
        known,
        number(event.uncached_input_tokens),
        number(event.cache_read_tokens),
        number(event.cache_write_tokens - event.cache_write_1h_tokens),
        number(event.cache_write_1h_tokens),
        number(event.output_tokens - event.reasoning_tokens),
        number(event.reasoning_tokens),
        number(event.total_tokens),
    ]
