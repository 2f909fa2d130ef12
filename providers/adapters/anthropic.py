"""
Anthropic's Messages. Sources: Anthropic API reference, error and rate-limit pages, checked 2026-11-21.

Pinned to version 2023-06-01 with `x-api-key`: the version of 2026-10-21 changes fields we do not need.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from organizations.storable import storable
from providers.adapters.base import (
    Adapter,
    ChatRequest,
    ChatResult,
    ErrorKind,
    Finish,
    HttpAnswer,
    HttpCall,
    ListedModel,
    Verdict,
    get_call,
    json_call,
)
from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect
from providers.adapters.error_body import ErrorBody
from providers.adapters.quirks import OptionalFields, Quirk
from providers.adapters.reading import day_of, member, positive_or_none, rows, text_of
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret

# The status that belongs to an error type: errors inside HTTP 200 have no other.
TYPE_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
SPEND_LIMIT_CODES = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})


HOTTEST = 1.0  # temperatures go up to 2 elsewhere


class AnthropicAdapter(Adapter):
    provider_name: ClassVar[str] = "Anthropic"
    dialect: ClassVar[Dialect] = ANTHROPIC_MESSAGES
    speaks: ClassVar[frozenset[str]] = frozenset({"messages"})
    key_page: ClassVar[str] = "https://platform.claude.com/settings/keys"
    request_id_header: ClassVar[str] = "request-id"
    optional_fields: ClassVar[OptionalFields] = OptionalFields(
        spellings={"max_tokens": ("max_tokens",), "temperature": ("temperature",)},
        limit_fields=frozenset({"max_tokens"}),
        twins={},
        required=frozenset({"max_tokens"}),
    )
    version_headers: ClassVar[dict[str, str]] = {"anthropic-version": "2023-06-01"}

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        return {"x-api-key": secret.reveal()}

    def options(self, request: ChatRequest) -> dict[str, Any]:
        options: dict[str, Any] = {"max_tokens": request.max_output_tokens}
        if request.temperature is not None:
            options["temperature"] = min(request.temperature, HOTTEST)
        return options

    def chat_call(self, base_url: str, request: ChatRequest, quirks: Iterable[Quirk] = ()) -> HttpCall:
        """JSON is asked for by the prompt alone: this API has no switch for it that all models know."""
        content: dict[str, Any] = {
            "model": request.model,
            **self.options_taken(request, quirks),
            "messages": [{"role": message.role, "content": message.text} for message in request.messages],
        }
        if request.system:
            content["system"] = request.system
        return json_call(f"{self.root(base_url)}/messages", content, self.version_headers)

    def parse_chat(self, answer: HttpAnswer) -> ChatResult:
        content = self.read(answer)
        report = self.report_of(answer, content)
        finish = self.dialect.finish_of(report)
        if not content.get("content") and finish not in (Finish.LENGTH, Finish.REFUSED):
            raise self.empty(answer, report)
        texts = (block.get("text") for block in rows(content.get("content")) if block.get("type") == "text")
        return ChatResult(storable("".join(text for text in texts if isinstance(text, str))), finish, report)

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{self.root(base_url)}/models?limit=1000", self.version_headers)

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        return [
            ListedModel(
                id=model_id,
                name=text_of(row.get("display_name")) or model_id,
                context_tokens=positive_or_none(row.get("max_input_tokens")),
                ends_on=day_of(row.get("retires_at")),
            )
            for row in self.model_rows(answer, "data")
            if (model_id := text_of(row.get("id")))
        ]

    def status_of(self, answer: HttpAnswer, error: ErrorBody) -> int:
        return TYPE_STATUS.get(error.type, 500) if answer.status == 200 else answer.status

    def limited(self) -> Verdict:
        return Verdict(ErrorKind.LIMITED, reason("anthropic.limited", key_page=self.key_page))

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        status = self.status_of(answer, error)
        said = error.message
        if error.type == "billing_error":
            return self.no_credit()
        if "specified api usage limits" in said:
            return Verdict(ErrorKind.NO_CREDIT, reason("anthropic.own_limit"))
        if status == 429 and member(error.details, "error_code") in SPEND_LIMIT_CODES:
            if "retry-after" in answer.headers:
                return self.rate_limited()
            return Verdict(ErrorKind.NO_CREDIT, reason("anthropic.monthly_limit"))
        if status == 404:
            return self.model_not_found() if "model" in said else self.unknown_error()
        if verdict := self.common_verdict(status, answer, error):
            return verdict
        if error.type == "permission_error" or status == 403:
            return self.limited()
        return self.verdict_by_status(status)
