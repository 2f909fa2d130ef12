"""
OpenAI's chat completions, which many others speak too. Sources: OpenAI API reference and error-code guide, checked
2026-11-21.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
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
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.error_body import ErrorBody
from providers.adapters.quirks import OptionalFields, Quirk
from providers.adapters.reading import day_of, member, rows, text_of
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from usage.tokens import Doubt, Report

OPTIONAL_FIELDS = OptionalFields(
    spellings={
        "response_format": ("response_format", "response format", "json_object", "json mode", "json_schema"),
        "max_completion_tokens": ("max_completion_tokens",),
        "max_tokens": ("max_tokens", "max_new_tokens", "maximum tokens"),
        "system": (
            "messages[0].role", "messages.0.role", "'system'", "\"system\"", "system role", "system message",
            "system prompt", "system instruction", "developer instruction",
        ),
        "temperature": ("temperature",),
        "reasoning_effort": ("reasoning_effort", "reasoning effort", "reasoning.effort"),
    },
    limit_fields=frozenset({"max_completion_tokens", "max_tokens"}),
    twins={"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"},
)  # fmt: skip


class OpenAIAdapter(Adapter):
    provider_name: ClassVar[str] = "OpenAI"
    dialect: ClassVar[Dialect] = OPENAI_CHAT
    speaks: ClassVar[frozenset[str]] = frozenset({"chat completions", "responses", "embeddings"})
    optional_fields: ClassVar[OptionalFields] = OPTIONAL_FIELDS
    key_page: ClassVar[str] = "https://platform.openai.com/api-keys"
    # Reasoning models refuse the older `max_tokens`.
    output_limit_field: ClassVar[str] = "max_completion_tokens"
    extra_headers: ClassVar[dict[str, str]] = {}

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        return {"authorization": f"Bearer {secret.reveal()}"}

    def options(self, request: ChatRequest) -> dict[str, Any]:
        options: dict[str, Any] = {self.output_limit_field: request.max_output_tokens}
        if request.json_output:
            options["response_format"] = {"type": "json_object"}
        if request.temperature is not None:
            options["temperature"] = request.temperature
        if request.reasoning_effort:
            options["reasoning_effort"] = request.reasoning_effort
        if system := system_prompt(request):
            options["system"] = system
        return options

    def chat_call(self, base_url: str, request: ChatRequest, quirks: Iterable[Quirk] = ()) -> HttpCall:
        options = self.options_taken(request, quirks)
        messages = [{"role": message.role, "content": message.text} for message in request.messages]
        if system := options.pop("system", ""):
            messages.insert(0, {"role": "system", "content": system})
        elif system := system_prompt(request):
            messages[0]["content"] = f"{system}\n\n{messages[0]['content']}"
        content = {"model": request.model, "messages": messages, **options}
        return json_call(f"{self.root(base_url)}/chat/completions", content, self.extra_headers)

    def door_call(self, base_url: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpCall:
        return super().door_call(base_url, path, {**self.extra_headers, **headers}, body)

    def parse_chat(self, answer: HttpAnswer) -> ChatResult:
        content = self.read(answer)
        report = self.report_of(answer, content)
        message = member(content, "choices", 0, "message")
        text = storable(message_text(member(message, "content")))
        finish = self.dialect.finish_of(report)
        if is_refusal(message) and not text.strip():
            finish = Finish.REFUSED
        if not isinstance(message, dict) and finish not in (Finish.LENGTH, Finish.REFUSED):
            raise self.empty(answer, report)
        return ChatResult(text, finish, report)

    def report_of(self, answer: HttpAnswer, content: Mapping[str, Any], dialect: Dialect | None = None) -> Report:
        report = super().report_of(answer, content, dialect)
        cost = self.reported_cost(content)
        if isinstance(cost, Doubt):
            return replace(report, doubt=cost)
        return report if cost is None else replace(report, cost_nanousd=cost)

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{self.root(base_url)}/models", self.extra_headers)

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        models = (self.listed_model(row) for row in self.model_rows(answer, "data"))
        return list({model.id: model for model in models if model.id}.values())

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        model_id = text_of(row.get("id"))
        return ListedModel(id=model_id, name=model_id, ends_on=day_of(row.get("shutdown_date")))

    def reported_cost(self, content: Mapping[str, Any]) -> int | Doubt | None:
        """The whole cost in nano-USD; OpenAI reports none."""
        return None

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        status = self.status_of(answer, error)
        if error.code == "slow_down":
            return self.rate_limited()
        if verdict := self.common_verdict(status, answer, error):
            return verdict
        if status in (401, 403):
            return self._classify_refused_key(status, error)
        if error.code in ("content_filter", "content_policy_violation", "invalid_prompt"):
            return self.content_refused()
        if status == 404:
            is_about_model = error.param == "model" or "model" in error.message
            return self.model_not_found() if is_about_model else self.unknown_error()
        return self.verdict_by_status(status)

    def _classify_refused_key(self, status: int, error: ErrorBody) -> Verdict:
        """A 401 is not always a mistyped key: it may be one that is not allowed this, or nothing at all from here."""
        if "missing scopes" in error.message or "insufficient permissions" in error.message:
            return Verdict(
                ErrorKind.LIMITED, reason("lacks_permission", provider=self.provider_name, key_page=self.key_page)
            )
        if ("ip" in error.message.split() and "authorized" in error.message) or error.code == "ip_not_authorized":
            return Verdict(ErrorKind.INVALID, reason("address_not_allowed", provider=self.provider_name))
        if "member of an organization" in error.message:
            return Verdict(ErrorKind.INVALID, reason("no_member", provider=self.provider_name))
        if error.code == "unsupported_country_region_territory" or "country" in error.message[:100]:
            return Verdict(ErrorKind.INVALID, reason("country", provider=self.provider_name))
        if "archived" in error.message:
            return Verdict(
                ErrorKind.INVALID, reason("project_archived", provider=self.provider_name, key_page=self.key_page)
            )
        return self.verdict_by_status(status)


def system_prompt(request: ChatRequest) -> str:
    """The system text; with JSON output it names JSON, without which OpenAI refuses `json_object`."""
    texts = (request.system, *(message.text for message in request.messages))
    if request.json_output and not any("json" in text.lower() for text in texts):
        return f"{request.system}\n\nAnswer with one JSON object.".strip()
    return request.system


def message_text(content: object) -> str:
    """A message's content: text, or a list of parts, of which only those of text count: thinking has many names."""
    if isinstance(content, str):
        return content
    return "".join(
        part["text"]
        for part in rows(content)
        if isinstance(part.get("text"), str)
        and part.get("type", "text") in ("text", "output_text")
        and part.get("thought") is not True
    )


def is_refusal(message: object) -> bool:
    """Whether the model says apart from its text that it will not answer."""
    parts = rows(member(message, "content"))
    return bool(member(message, "refusal")) or any(part.get("type") == "refusal" for part in parts)
