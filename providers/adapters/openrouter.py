"""
OpenRouter: OpenAI's protocol in front of many providers, with prices and limits in its own answers.

Sources: OpenRouter API reference and FAQ, checked 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from providers.adapters import meanings
from providers.adapters.base import (
    ChatResult,
    ErrorKind,
    HttpAnswer,
    HttpCall,
    ListedModel,
    ProviderError,
    Verdict,
    get_call,
)
from providers.adapters.error_body import ErrorBody
from providers.adapters.openai import OpenAIAdapter
from providers.adapters.reading import NANO, member, nanousd_of, positive_or_none, text_of, usd_of
from providers.adapters.reasons import Reason, reason
from usage.tokens import Doubt, Report

TOKENS_IN_A_PRICE = 1_000_000
AFFORDABLE = re.compile(r"can only afford ([0-9]{1,12})")


class OpenRouterAdapter(OpenAIAdapter):
    provider_name: ClassVar[str] = "OpenRouter"
    key_page: ClassVar[str] = "https://openrouter.ai/settings/keys"
    output_limit_field: ClassVar[str] = "max_tokens"
    extra_headers: ClassVar[dict[str, str]] = {"x-title": "Keyfare"}
    request_id_header: ClassVar[str] = "x-generation-id"
    speaks: ClassVar[frozenset[str]] = frozenset({"chat completions", "responses", "embeddings", "messages"})

    def validation_call(self, base_url: str) -> HttpCall:
        """OpenRouter lists its models to anybody; only this call proves a key."""
        return get_call(f"{base_url}/key", self.extra_headers)

    def parse_validation(self, answer: HttpAnswer) -> dict[str, Any]:
        """
        The key's own limits, as far as OpenRouter tells them.

        Nano-USD: `limit_nanousd`, `limit_remaining_nanousd`, `usage_nanousd`, `usage_daily_nanousd`,
        `usage_weekly_nanousd`, `usage_monthly_nanousd`. Else: `limit_reset` (daily, weekly or monthly),
        `is_free_tier`, `expires_at` (ISO date and time).
        """
        key = self.read(answer).get("data")
        if not isinstance(key, dict):
            raise self.unexpected(answer)
        if key.get("is_management_key") is True or key.get("is_provisioning_key") is True:
            raise self._refuse(
                ErrorKind.INVALID,
                reason("openrouter.management", key_page=self.key_page),
                answer,
            )
        remaining = key.get("limit_remaining")
        if isinstance(remaining, (int, Decimal)) and not isinstance(remaining, bool) and remaining <= 0:
            raise self._refuse(
                ErrorKind.NO_CREDIT,
                reason("openrouter.own_limit", key_page=self.key_page),
                answer,
            )
        limits: dict[str, Any] = {
            f"{name}_nanousd": amount
            for name in ("limit", "limit_remaining", "usage", "usage_daily", "usage_weekly", "usage_monthly")
            if (amount := nanousd_of(key.get(name))) is not None
        }
        limits |= {name: text for name in ("limit_reset", "expires_at") if (text := text_of(key.get(name), 40))}
        if isinstance(key.get("is_free_tier"), bool):
            limits["is_free_tier"] = key["is_free_tier"]
        return limits

    def models_call(self, base_url: str) -> HttpCall:
        """The models this key may call, by its owner's settings."""
        return get_call(f"{base_url}/models/user", self.extra_headers)

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        model_id = text_of(row.get("id"))
        return ListedModel(
            id=model_id,
            name=text_of(row.get("name")) or model_id,
            context_tokens=positive_or_none(row.get("context_length")),
            input_nanousd_per_mtok=price_per_mtok(member(row, "pricing", "prompt")),
            output_nanousd_per_mtok=price_per_mtok(member(row, "pricing", "completion")),
        )

    def parse_chat(self, answer: HttpAnswer) -> ChatResult:
        result = super().parse_chat(answer)
        if result.report.finish_reason == "error":
            error = member(self.read(answer), "choices", 0, "error")
            failure = ErrorBody(message="broke off", code=str(member(error, "code") or ""))
            raise self.failure(answer, error=failure, report=result.report, has_begun=True)
        return result

    def reported_cost(self, content: Mapping[str, Any]) -> int | Doubt | None:
        """
        What OpenRouter says the call cost.

        With a key of one's own deposited there (`is_byok`), `cost` is only OpenRouter's fee: what the
        provider behind it charges comes on top, and where that is not told, nobody knows the cost.
        """
        usage = content.get("usage")
        cost = usd_of(member(usage, "cost"))
        if member(usage, "is_byok") in (None, False):
            return None if cost is None else int((cost * NANO).to_integral_value())
        upstream = usd_of(member(usage, "cost_details", "upstream_inference_cost"))
        if cost is None or upstream is None:
            return Doubt.PART_OF_COST
        return int(((cost + upstream) * NANO).to_integral_value())

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        status, said = answer.status, error.message
        if status == 200:  # the model had begun when it failed; a code that is no status names a fault upstream
            status = error.code_as_status or 502
        if status == 403 and (member(error.metadata, "reasons") or "moderation" in said or "guardrail" in said):
            return self.content_refused()
        if status in (401, 402, 403) and member(error.metadata, "provider_name"):
            return self._refused_upstream()
        if status == 402:
            return self._classify_payment(answer, said)
        if status == 403 and "limit exceeded" in said:
            return Verdict(ErrorKind.NO_CREDIT, reason("openrouter.limit_set", key_page=self.key_page))
        if status in (400, 403, 404) and (verdict := self._classify_no_endpoint(said)):
            return verdict
        if status == 404 or (status == 400 and "not a valid model" in said):
            return self.model_not_found()
        if status == 429 and (meanings.means_long_quota(error) or self._is_daily(error)):
            return self.quota_used_up(reason("renewed.utc"))
        upstream = member(error.metadata, "raw")
        if status == 400 and meanings.means_too_long(ErrorBody(message=str(upstream)[:2_000].lower())):
            return self.too_long()
        if status in (502, 503):
            return Verdict(ErrorKind.OVERLOADED, reason("openrouter.none_could"))
        return self.common_verdict(status, answer, error) or self.verdict_by_status(status)

    def _classify_payment(self, answer: HttpAnswer, said: str) -> Verdict:
        """A 402 is about the account, about what other calls have reserved, or about one request too dear for it."""
        if "retry-after" in answer.headers:
            return Verdict(ErrorKind.RATE_LIMITED, reason("openrouter.reserved"))
        affordable = AFFORDABLE.search(said)
        if (affordable and int(affordable[1])) or "prompt tokens limit exceeded" in said:
            return self.too_dear()
        return self.no_credit()

    def _classify_no_endpoint(self, said: str) -> Verdict | None:
        """No provider is left after the account's own settings, or after what the request asks for."""
        if "data policy" in said or "guardrail restrictions" in said or "settings/privacy" in said:
            return Verdict(ErrorKind.LIMITED, reason("openrouter.privacy"))
        if "allowed providers" in said or "providers have been ignored" in said:
            return Verdict(ErrorKind.LIMITED, reason("openrouter.preferences"))
        if "no endpoints" in said and ("support" in said or "requested parameters" in said):
            return self.bad_request()
        return None

    def _refused_upstream(self) -> Verdict:
        return Verdict(ErrorKind.UNEXPECTED, reason("openrouter.upstream"))

    def _is_daily(self, error: ErrorBody) -> bool:
        return "daily" in text_of(member(error.metadata, "limit_source"))

    def _refuse(self, kind: ErrorKind, why: Reason, answer: HttpAnswer) -> ProviderError:
        return ProviderError(kind, why, http_status=answer.status, report=Report(request_id=self.request_id(answer)))


def price_per_mtok(price: object) -> int | None:
    """A price in USD per token, as nano-USD per million tokens; None if negative, which means it varies."""
    amount = usd_of(price)
    return None if amount is None else nanousd_of(amount * TOKENS_IN_A_PRICE)
