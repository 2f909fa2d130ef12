"""
Google's Gemini API (generateContent, v1beta). Sources: Gemini API reference and troubleshooting guide,
checked 2026-11-21. The key goes into a header, never into the address, which proxies write to their logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from organizations.storable import storable
from providers.adapters import meanings
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
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.error_body import ErrorBody
from providers.adapters.quirks import OptionalFields, Quirk
from providers.adapters.reading import member, positive_or_none, rows, text_of
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from usage.tokens import Report

# What bars a key from everything: the reason in Google's ErrorInfo (google.api.ErrorReason), words of its message for
# answers without one, and what we call it.
BLOCKED: tuple[tuple[str, str, str], ...] = (
    ("API_KEY_HTTP_REFERRER_BLOCKED", "requests from referer", "google.websites"),
    ("API_KEY_HTTP_REFERRER_BLOCKED", "referrer restrictions", "google.websites"),
    ("API_KEY_IP_ADDRESS_BLOCKED", "ip address restriction", "google.addresses"),
    ("API_KEY_ANDROID_APP_BLOCKED", "requests from this android", "google.android"),
    ("API_KEY_IOS_APP_BLOCKED", "requests from this ios", "google.ios"),
    ("API_KEY_SERVICE_BLOCKED", "requests to this api", "google.api_not_allowed"),
    ("SERVICE_DISABLED", "has not been used in project", "google.api_off"),
    ("BILLING_DISABLED", "requires billing to be enabled", "google.billing_off"),
    ("CONSUMER_SUSPENDED", "has been suspended", "google.suspended"),
    ("CONSUMER_INVALID", "project has been denied access", "google.suspended"),
    ("GCP_SUSPENDED", "", "google.suspended"),
    ("ACCOUNT_STATE_INVALID", "", "google.suspended"),
    ("USER_BLOCKED_BY_ADMIN", "", "google.suspended"),
    ("USER_PROJECT_DENIED", "", "google.suspended"),
    ("LOCATION_POLICY_VIOLATED", "location is not supported", "google.country"),
    ("LOCATION_TAX_POLICY_VIOLATED", "", "google.country"),
    ("SECURITY_POLICY_VIOLATED", "", "google.country"),
    ("ORG_RESTRICTION_VIOLATION", "", "google.country"),
)
ROLES = {"user": "user", "assistant": "model"}
# "limit: 0": the model is not in the account's tier at all, so waiting does not help.
NO_QUOTA_AT_ALL = re.compile(r"\blimit: 0(?![\d.])")


class GoogleAdapter(Adapter):
    provider_name: ClassVar[str] = "Google"
    dialect: ClassVar[Dialect] = GEMINI
    speaks: ClassVar[frozenset[str]] = frozenset({"generateContent"})
    key_page: ClassVar[str] = "https://aistudio.google.com/app/apikey"

    optional_fields: ClassVar[OptionalFields] = OptionalFields(
        spellings={
            "maxOutputTokens": ("maxoutputtokens", "max_output_tokens", "max output tokens"),
            "responseMimeType": ("responsemimetype", "response_mime_type", "response mime type", "json mode"),
            "temperature": ("temperature",),
            "systemInstruction": (
                "systeminstruction", "system_instruction", "system instruction", "developer instruction",
            ),
        },
        limit_fields=frozenset({"maxOutputTokens"}),
        twins={},
    )  # fmt: skip

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        return {"x-goog-api-key": secret.reveal()}

    def options(self, request: ChatRequest) -> dict[str, Any]:
        options: dict[str, Any] = {"maxOutputTokens": request.max_output_tokens}
        if request.json_output:
            options["responseMimeType"] = "application/json"
        if request.temperature is not None:
            options["temperature"] = request.temperature
        if request.system:
            options["systemInstruction"] = request.system
        return options

    def chat_call(self, base_url: str, request: ChatRequest, quirks: Iterable[Quirk] = ()) -> HttpCall:
        options = self.options_taken(request, quirks)
        contents: list[dict[str, Any]] = [
            {"role": ROLES[message.role], "parts": [{"text": message.text}]} for message in request.messages
        ]
        content: dict[str, Any] = {"contents": contents}
        if system := options.pop("systemInstruction", ""):
            content["systemInstruction"] = {"parts": [{"text": system}]}
        elif request.system:
            contents[0]["parts"].insert(0, {"text": f"{request.system}\n\n"})
        content["generationConfig"] = options
        model = quote(request.model.removeprefix("models/"), safe="")
        return json_call(f"{self.root(base_url)}/models/{model}:generateContent", content)

    def parse_chat(self, answer: HttpAnswer) -> ChatResult:
        content = self.read(answer)
        report = self.report_of(answer, content)
        if member(content, "promptFeedback", "blockReason") and not member(content, "candidates", 0):
            refused = self.content_refused()
            raise ProviderError(
                refused.kind,
                refused.reason,
                http_status=answer.status,
                report=report,
            )
        finish = self.dialect.finish_of(report)
        parts = member(content, "candidates", 0, "content", "parts")
        if not parts and finish not in (Finish.LENGTH, Finish.REFUSED):
            raise self.empty(answer, report)
        texts = (part.get("text") for part in rows(parts) if part.get("thought") is not True)
        return ChatResult(storable("".join(text for text in texts if isinstance(text, str))), finish, report)

    def report_of(self, answer: HttpAnswer, content: Mapping[str, Any], dialect: Dialect | None = None) -> Report:
        report = super().report_of(answer, content, dialect)
        if member(content, "usageMetadata", "serviceTier"):
            return report
        tier = text_of(answer.headers.get("x-gemini-service-tier"), 40)
        return replace(report, service_tier=tier) if tier else report

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{self.root(base_url)}/models?pageSize=1000")

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        """The models that can chat; embedding, speech and image models are left out where the list tells."""
        return [
            ListedModel(
                id=model_id,
                name=text_of(row.get("displayName")) or model_id,
                context_tokens=positive_or_none(row.get("inputTokenLimit")),
            )
            for row in self.model_rows(answer, "models")
            if (model_id := text_of(row.get("name")).removeprefix("models/"))
            and "generateContent" in (row.get("supportedGenerationMethods") or ["generateContent"])
        ]

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        status = self.status_of(answer, error)
        said = error.message
        if verdict := self._classify_key(status, error):
            return verdict
        if status == 404 and "model" in said:
            return self.model_not_found()
        if status == 429:
            return self._classify_quota(answer, error)
        if verdict := self.common_verdict(status, answer, error):
            return verdict
        if status == 403:
            return self.limited()
        return self.verdict_by_status(status)

    def limited(self) -> Verdict:
        return Verdict(ErrorKind.LIMITED, reason("google.limited", key_page=self.key_page))

    def _classify_key(self, status: int, error: ErrorBody) -> Verdict | None:
        """What keeps the key from every call."""
        said = error.message
        if "ACCESS_TOKEN_TYPE_UNSUPPORTED" in error.reasons:
            return Verdict(ErrorKind.INVALID, reason("google.kind", key_page=self.key_page))
        if status == 403 and "leaked" in said:
            return Verdict(ErrorKind.INVALID, reason("google.leaked", key_page=self.key_page))
        if status in (400, 401, 403):
            for named, words, blocked in BLOCKED:
                if named in error.reasons or (words and words in said[:200]):
                    return Verdict(ErrorKind.INVALID, reason(blocked))
        if "API_KEY_INVALID" in error.reasons:
            return self.invalid()
        return None

    def _classify_quota(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        said = error.message
        if NO_QUOTA_AT_ALL.search(said):
            return Verdict(ErrorKind.LIMITED, reason("google.no_tier"))
        if "prepay" in said or "credits are depleted" in said or meanings.means_no_credit(error):
            return self.no_credit()
        if any("PerDay" in quota for quota in error.quotas) or meanings.means_long_quota(error):
            return self.quota_used_up(reason("renewed.pacific"))
        return self.common_verdict(429, answer, error) or self.rate_limited()
