"""
Google's Gemini API (generateContent, v1beta). Sources: Gemini API reference and troubleshooting guide,
checked 2026-11-21. The key goes into a header, never into the address, which proxies write to their logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from providers.adapters.base import (
    Adapter,
    ChatRequest,
    ChatResult,
    ErrorKind,
    Finish,
    HttpAnswer,
    HttpCall,
    ListedModel,
    ProviderError,
    Verdict,
    get_call,
    json_call,
)
from providers.adapters.counting import google_tokens
from providers.adapters.error_body import ErrorBody
from providers.adapters.reading import clean, member, positive_or_none, rows, text_of
from usage.tokens import Doubt, Report

if TYPE_CHECKING:
    from providers.custody import Secret

# Gemini API reference, FinishReason. What is about the text is a refusal; the rest says nothing that we can use.
FINISHES = {
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"),
        Finish.REFUSED,
    ),
}
ROLES = {"user": "user", "assistant": "model"}
# "limit: 0": the model is not in the account's tier at all, so waiting does not help.
NO_QUOTA_AT_ALL = re.compile(r"\blimit: 0(?![\d.])")


class GoogleAdapter(Adapter):
    provider_name: ClassVar[str] = "Google"
    key_page: ClassVar[str] = "https://aistudio.google.com/app/apikey"

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        return {"x-goog-api-key": secret.reveal()}

    def chat_call(self, base_url: str, request: ChatRequest) -> HttpCall:
        settings: dict[str, Any] = {"maxOutputTokens": request.max_output_tokens}
        if request.json_output:
            settings["responseMimeType"] = "application/json"
        content: dict[str, Any] = {
            "contents": [
                {"role": ROLES[message.role], "parts": [{"text": message.text}]} for message in request.messages
            ],
            "generationConfig": settings,
        }
        if request.system:
            content["systemInstruction"] = {"parts": [{"text": request.system}]}
        model = quote(request.model.removeprefix("models/"), safe="")
        return json_call(f"{base_url}/models/{model}:generateContent", content)

    def parse_chat(self, answer: HttpAnswer) -> ChatResult:
        content = self.read(answer)
        report = self.report_of(answer, content)
        candidate = member(content, "candidates", 0)
        if candidate is None and isinstance(content.get("promptFeedback"), dict):
            kind, sentence = self.content_refused()
            raise ProviderError(kind, sentence, http_status=answer.status, report=report)
        if not isinstance(candidate, dict):
            raise self.unexpected(answer, report)
        parts = rows(member(candidate, "content", "parts"))
        texts = (part.get("text") for part in parts if part.get("thought") is not True)
        return ChatResult(
            text=clean("".join(text for text in texts if isinstance(text, str))),
            finish=FINISHES.get(report.finish_reason, Finish.OTHER),
            report=report,
        )

    def report_of(self, answer: HttpAnswer, content: Mapping[str, Any]) -> Report:
        blocked = member(content, "promptFeedback", "blockReason")
        usage = content.get("usageMetadata")
        counted = google_tokens(usage)
        searched = member(content, "candidates", 0, "groundingMetadata", "webSearchQueries")
        tier = (
            member(usage, "serviceTier")
            or answer.headers.get("x-gemini-service-tier")
            or member(usage, "trafficType")  # where Vertex answers
        )
        return Report(
            usage=counted.usage,
            served_model=text_of(content.get("modelVersion")),
            service_tier=text_of(tier, 40),
            finish_reason=text_of(member(content, "candidates", 0, "finishReason") or blocked, 40),
            request_id=self.request_id(answer, content.get("responseId")),
            doubt=counted.doubt or (Doubt.EXTRAS if searched else None),
        )

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{base_url}/models?pageSize=1000")

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        """The models that can chat; embedding, speech and image models are left out where the list tells."""
        listed = self.read(answer).get("models")
        if not isinstance(listed, list):
            raise self.unexpected(answer)
        return [
            ListedModel(
                id=model_id,
                name=text_of(row.get("displayName")) or model_id,
                context_tokens=positive_or_none(row.get("inputTokenLimit")),
            )
            for row in rows(listed)
            if (model_id := text_of(row.get("name")).removeprefix("models/"))
            and "generateContent" in (row.get("supportedGenerationMethods") or ["generateContent"])
        ]

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        status = (error.code_as_status or 500) if answer.status == 200 else answer.status
        said = error.message
        if "API_KEY_INVALID" in error.reasons or (status == 400 and "api key not valid" in said):
            return self.invalid()
        if "ACCESS_TOKEN_TYPE_UNSUPPORTED" in error.reasons:
            return (
                ErrorKind.INVALID,
                "Google does not accept an auth key of this kind for this project. "
                f"Make a new key for the Gemini API at {self.key_page} and replace it here.",
            )
        match status:
            case 403:
                return self._classify_forbidden(error)
            case 404 if "model" in said:
                return self.model_not_found()
            case 429 if NO_QUOTA_AT_ALL.search(said):
                return (
                    ErrorKind.LIMITED,
                    "This model is not in the tier of this Google account. "
                    "Choose another model for the action, or set up billing at Google.",
                )
            case 429 if "prepay" in said or "credits are depleted" in said:
                return self.no_credit()
            case 400 if "location is not supported" in said:
                return (
                    ErrorKind.LIMITED,
                    "Google does not serve the country this server stands in. Use OpenRouter or another "
                    "provider for these actions.",
                )
            case 400 if "token count" in said and "exceeds" in said:
                return self.too_long()
        return self.verdict_by_status(status)

    def _classify_forbidden(self, error: ErrorBody) -> Verdict:
        if "leaked" in error.message:
            return (
                ErrorKind.INVALID,
                "Google has blocked this key because it was reported as leaked. "
                f"Make a new one at {self.key_page} and replace it here.",
            )
        if "SERVICE_DISABLED" in error.reasons or "has not been used in project" in error.message:
            return (
                ErrorKind.LIMITED,
                "Google accepts this key, but the Gemini API is switched off in its project. "
                "Enable the Generative Language API in the Google Cloud console, then validate the key "
                "again.",
            )
        return (
            ErrorKind.LIMITED,
            "Google accepts this key, but it is restricted or blocked for the Gemini API. Look at its "
            f"restrictions at {self.key_page}.",
        )
