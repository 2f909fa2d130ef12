"""Receipts of calls, with the names that keys, agents and errors have; and as JSON."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from organizations.models import Organization
from providers.adapters.kind_sentences import sentence_of
from providers.models import ProviderKey
from routing import own_models
from routing.models import Agent
from usage import receipt_reading
from usage.amounts import usd_exactly
from usage.names import action_name, provider_name
from usage.pricing import Price
from usage.receipts import REMOVED, Attempt, KeyNow, Known, Receipt


def read_receipt(*, organization: Organization, call_id: uuid.UUID) -> Receipt | None:
    """None where the organization has no call of that id; an id of any of its attempts leads to the same receipt."""
    return receipt_reading.read_receipt(organization=organization, call_id=call_id, directory=_Directory(organization))


class _Directory:
    def __init__(self, organization: Organization) -> None:
        self._organization = organization

    def key(self, key_id: uuid.UUID, at: datetime) -> KeyNow:
        keys = ProviderKey.objects.for_organization(self._organization).filter(pk=key_id)
        found = keys.values_list("last4", "replaced_at").first()
        if found is None:
            return REMOVED
        last4, replaced_at = found
        was_replaced = replaced_at is not None and replaced_at > at
        return KeyNow("" if was_replaced else last4, was_replaced=was_replaced)

    def action(self, slug: str) -> str:
        agents = Agent.objects.for_organization(self._organization).filter(slug=slug)
        return agents.values_list("name", flat=True).first() or action_name(slug)

    def error(self, kind: str, provider: str) -> str:
        return sentence_of(kind, provider_name(provider))

    def is_own_model(self, run_id: uuid.UUID) -> bool:
        return own_models.has_served(run_id, organization=self._organization)


# As JSON: the names of the public API. `gateway/api.py` describes it, and a test holds the two together.


def as_json(receipt: Receipt) -> dict[str, Any]:
    return {
        "callId": str(receipt.call_id),
        "organization": receipt.organization,
        "action": receipt.action,
        "actionName": receipt.action_name,
        "runId": str(receipt.run_id),
        "iteration": receipt.iteration,
        "at": _moment(receipt.at),
        "status": receipt.last.status,
        "payer": receipt.mode,
        "key": _key(receipt),
        "ruleVersion": receipt.rule_version,
        "isOwnModel": receipt.is_own_model,
        "token": receipt.token,
        "member": {"name": receipt.member.name, "email": receipt.member.email} if receipt.member else None,
        "labels": dict(receipt.labels),
        "attempts": [_attempt(attempt) for attempt in receipt.attempts],
        "corrections": [
            {
                "callId": str(each.call_id),
                "revision": each.revision,
                "costNanousd": each.nanousd,
                "costUsd": _usd(each.nanousd),
            }
            for each in receipt.corrections
        ],
        "costNanousd": receipt.cost_nanousd,
        "costUsd": _usd(receipt.cost_nanousd),
        "costIsComplete": receipt.sees_usd and not receipt.is_incomplete,
    }


def _key(receipt: Receipt) -> dict[str, Any] | None:
    if receipt.key is None:
        return None
    now = receipt.key.now
    return {
        "label": receipt.key.label,
        "last4": now.last4 or None,
        "isThere": now.is_there,
        "wasReplaced": now.was_replaced,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    cost = attempt.cost
    return {
        "callId": str(attempt.call_id),
        "attempt": attempt.number,
        "at": _moment(attempt.at),
        "provider": attempt.provider,
        "model": attempt.model,
        "servedModel": attempt.served_model or None,
        "payer": attempt.mode,
        "status": attempt.status,
        "reason": attempt.reason or None,
        "errorKind": attempt.error_kind or None,
        "httpStatus": attempt.http_status,
        "isStream": attempt.is_stream,
        "finishReason": attempt.finish_reason or None,
        "requestId": attempt.request_id or None,
        "serviceTier": attempt.service_tier or None,
        "firstByteMs": attempt.first_byte_ms,
        "endMs": attempt.end_ms,
        "tokensKnown": Known.NOT_KNOWN.value if attempt.is_in_flight else attempt.tokens_known.value,
        "tokens": {each.name: each.tokens for each in attempt.tokens} or None,
        "usdPerMillion": {
            each.name: _decimal(each.usd_per_million) for each in attempt.tokens if each.usd_per_million is not None
        }
        or None,
        "costNanousd": cost.cost_nanousd if cost else None,
        "costUsd": _usd(cost.cost_nanousd) if cost else None,
        "priceSource": cost.source.value if cost else None,
        "priceVersion": (cost.version or None) if cost else None,
        "whyNoCost": _why_no_cost(attempt, cost),
    }


def _why_no_cost(attempt: Attempt, cost: Price | None) -> str | None:
    if attempt.is_in_flight:
        return "The call has not ended."
    if cost is None:
        return "The operator paid it: what it cost is the operator’s."
    return f"{cost.no_price.label}." if cost.no_price else None


def _usd(nanousd: int | None) -> str | None:
    return None if nanousd is None else usd_exactly(nanousd)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _decimal(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
