"""
Mistral, which speaks OpenAI's protocol with errors of its own.

Sources: Mistral API reference and help centre, mistralai 3.7.0, checked 2026-11-21.
"""

from __future__ import annotations

from typing import Any, ClassVar

from providers.adapters.base import ErrorKind, HttpAnswer, ListedModel, Verdict
from providers.adapters.error_body import ErrorBody
from providers.adapters.openai import OpenAIAdapter
from providers.adapters.reading import member, positive_or_none, text_of
from providers.adapters.reasons import reason


class MistralAdapter(OpenAIAdapter):
    provider_name: ClassVar[str] = "Mistral"
    key_page: ClassVar[str] = "https://console.mistral.ai/api-keys"
    # Unknown fields, `max_completion_tokens` among them, are a 422.
    output_limit_field: ClassVar[str] = "max_tokens"
    speaks: ClassVar[frozenset[str]] = frozenset({"chat completions", "embeddings"})
    takes_stream_options: ClassVar[bool] = False  # it counts the tokens of a stream unasked

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        """Models that do not chat (embeddings, OCR, moderation) are left out."""
        if member(row, "capabilities", "completion_chat") is False:
            return ListedModel(id="", name="")
        model_id = text_of(row.get("id"))
        return ListedModel(
            id=model_id,
            name=text_of(row.get("name")) or model_id,
            context_tokens=positive_or_none(row.get("max_context_length")),
        )

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        said = error.message
        if answer.status == 401:
            return Verdict(ErrorKind.INVALID, reason("mistral.invalid", key_page=self.key_page))
        if answer.status == 429 and "capacity" in said:
            return self.overloaded()
        if verdict := self.common_verdict(answer.status, answer, error):
            return verdict
        if answer.status in (402, 403, 422, 429):
            return self.verdict_by_status(answer.status)
        return super().classify(answer, error)
