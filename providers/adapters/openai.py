"""
OpenAI's chat completions, and OpenRouter, which speaks the same protocol.

Sources: OpenAI API reference and error-code guide, OpenRouter API reference and FAQ, checked 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

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
from providers.adapters.counting import openai_tokens
from providers.adapters.error_body import ErrorBody
from providers.adapters.quirks import OptionalFields, Quirk
from providers.adapters.reading import (
    NANO,
    clean,
    member,
    nanousd_of,
    positive_or_none,
    rows,
    text_of,
    usd_of,
)
from usage.tokens import Doubt, Report

if TYPE_CHECKING:
    from providers.custody import Secret

TOKENS_IN_A_PRICE = 1_000_000
# Of all who speak this protocol, in small letters: Mistral's model_length, and what OpenRouter passes on as native.
FINISHES = {
    **dict.fromkeys(("stop", "eos", "end_turn", "stop_sequence", "completed"), Finish.STOP),
    **dict.fromkeys(
        ("length", "model_length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"), Finish.LENGTH
    ),
    **dict.fromkeys(
        (
            "content_filter", "content_filtered", "refusal", "safety", "recitation", "blocklist", "prohibited_content",
            "spii", "guardrail_intervened",
        ),
        Finish.REFUSED,
    ),
}  # fmt: skip
OPTIONAL_FIELDS = OptionalFields(
    spellings={
        "response_format": ("response_format", "response format", "json_object", "json mode", "json_schema"),
        "max_completion_tokens": ("max_completion_tokens",),
        "max_tokens": ("max_tokens", "max_new_tokens", "maximum tokens"),
        "system": (
            "messages[0].role", "messages.0.role", "'system'", "\"system\"", "system role", "system message",
            "system prompt", "system instruction", "developer instruction",
        ),
    },
    limit_fields=frozenset({"max_completion_tokens", "max_tokens"}),
    twins={"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"},
)  # fmt: skip
AFFORDABLE = re.compile(r"can only afford ([0-9]{1,12})")


class OpenAIAdapter(Adapter):
    provider_name: ClassVar[str] = "OpenAI"
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
        return json_call(f"{base_url}/chat/completions", content, self.extra_headers)

    def parse_chat(self, answer: HttpAnswer) -> ChatResult:
        content = self.read(answer)
        report = self.report_of(answer, content)
        message = member(content, "choices", 0, "message")
        text = clean(message_text(member(message, "content")))
        finish = FINISHES.get(report.finish_reason.lower(), Finish.OTHER)
        if is_refusal(message) and not text.strip():
            finish = Finish.REFUSED
        if not isinstance(message, dict) and finish not in (Finish.LENGTH, Finish.REFUSED):
            raise self.empty(answer, report)
        return ChatResult(text, finish, report)

    def report_of(self, answer: HttpAnswer, content: Mapping[str, Any]) -> Report:
        usage = content.get("usage") or member(content, "x_groq", "usage")
        counted = openai_tokens(usage)
        cost = self.reported_cost(content)
        return Report(
            usage=counted.usage,
            cost_nanousd=cost if isinstance(cost, int) else None,
            served_model=text_of(content.get("model")),
            service_tier=text_of(content.get("service_tier") or member(usage, "service_tier"), 40),
            finish_reason=finish_word(content),
            request_id=self.request_id(answer, content.get("id")),
            doubt=cost if isinstance(cost, Doubt) else counted.doubt,
        )

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{base_url}/models", self.extra_headers)

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        models = (self.listed_model(row) for row in self.model_rows(answer, "data"))
        return list({model.id: model for model in models if model.id}.values())

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        model_id = text_of(row.get("id"))
        return ListedModel(id=model_id, name=model_id)

    def reported_cost(self, content: Mapping[str, Any]) -> int | Doubt | None:
        """The whole cost in nano-USD; OpenAI reports none."""
        return None

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        status = (error.code_as_status or 500) if answer.status == 200 else answer.status
        if error.code == "slow_down":
            return self.rate_limited()
        if verdict := self.common_verdict(status or 500, answer, error):
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
                ErrorKind.LIMITED,
                f"{self.provider_name} accepts this key, but it lacks a permission. Allow it “Models” and "
                f"“Model capabilities” at {self.key_page}, or make a key with all permissions.",
            )
        if ("ip" in error.message.split() and "authorized" in error.message) or error.code == "ip_not_authorized":
            return Verdict(
                ErrorKind.INVALID,
                f"{self.provider_name} accepts this key only from certain IP addresses. Add this server's "
                "address in the project's settings there, then validate the key again.",
            )
        if "member of an organization" in error.message:
            return Verdict(
                ErrorKind.INVALID,
                f"The owner of this key is no member of an {self.provider_name} organization any more. "
                "Have them invited again, or make a key in your own organization.",
            )
        if error.code == "unsupported_country_region_territory" or "country" in error.message[:100]:
            return Verdict(
                ErrorKind.INVALID,
                f"{self.provider_name} does not serve the country this server stands in, whatever the key. Use "
                "OpenRouter or another provider.",
            )
        if "archived" in error.message:
            return Verdict(
                ErrorKind.INVALID,
                f"The {self.provider_name} project of this key was archived. Make a key in another project at "
                f"{self.key_page} and replace it here.",
            )
        return self.verdict_by_status(status)


class OpenRouterAdapter(OpenAIAdapter):
    provider_name: ClassVar[str] = "OpenRouter"
    key_page: ClassVar[str] = "https://openrouter.ai/settings/keys"
    output_limit_field: ClassVar[str] = "max_tokens"
    extra_headers: ClassVar[dict[str, str]] = {"x-title": "Keyfare"}
    request_id_header: ClassVar[str] = "x-generation-id"

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
                "This is an OpenRouter management key, which cannot call models. "
                f"Make an ordinary key at {self.key_page} and replace it here.",
                answer,
            )
        remaining = key.get("limit_remaining")
        if isinstance(remaining, (int, Decimal)) and not isinstance(remaining, bool) and remaining <= 0:
            raise self._refuse(
                ErrorKind.NO_CREDIT,
                "OpenRouter accepts this key, but the key's own spending limit is used up. "
                f"Raise it at {self.key_page}, then validate the key again.",
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
            return Verdict(
                ErrorKind.NO_CREDIT,
                "The spending limit that was set for this OpenRouter key is used up. "
                f"Raise it at {self.key_page}, or wait until it is renewed, then validate the key again.",
            )
        if status in (400, 403, 404) and (verdict := self._classify_no_endpoint(said)):
            return verdict
        if status == 404 or (status == 400 and "not a valid model" in said):
            return self.model_not_found()
        if status == 429 and (meanings.means_long_quota(error) or self._is_daily(error)):
            return self.quota_used_up("It is renewed at 00:00 UTC.")
        upstream = member(error.metadata, "raw")
        if status == 400 and meanings.means_too_long(ErrorBody(message=str(upstream)[:2_000].lower())):
            return self.too_long()
        if status in (502, 503):
            return Verdict(
                ErrorKind.OVERLOADED,
                "None of the providers behind OpenRouter could answer for this model. "
                "Try again in a while, or choose another model for the action.",
                "None of the providers behind OpenRouter could answer, which says nothing about the key. "
                "Try again in a while.",
            )
        return self.common_verdict(status, answer, error) or self.verdict_by_status(status)

    def _classify_payment(self, answer: HttpAnswer, said: str) -> Verdict:
        """A 402 is about the account, about what other calls have reserved, or about one request too dear for it."""
        if "retry-after" in answer.headers:
            return Verdict(
                ErrorKind.RATE_LIMITED,
                "Calls that are still running have reserved the rest of this OpenRouter key's budget. "
                "Wait until they have ended, then try again.",
            )
        affordable = AFFORDABLE.search(said)
        if (affordable and int(affordable[1])) or "prompt tokens limit exceeded" in said:
            return self.too_dear()
        return self.no_credit()

    def _classify_no_endpoint(self, said: str) -> Verdict | None:
        """No provider is left after the account's own settings, or after what the request asks for."""
        if "data policy" in said or "guardrail restrictions" in said or "settings/privacy" in said:
            return Verdict(
                ErrorKind.LIMITED,
                "The privacy settings of this OpenRouter account leave no provider for this model. Change them at "
                "https://openrouter.ai/settings/privacy, or choose another model for the action.",
                "The privacy settings of this OpenRouter account leave no provider for what was tried. Change them at "
                "https://openrouter.ai/settings/privacy.",
            )
        if "allowed providers" in said or "providers have been ignored" in said:
            return Verdict(
                ErrorKind.LIMITED,
                "The provider settings of this OpenRouter account leave no provider for this model. Change them at "
                "https://openrouter.ai/settings/preferences, or choose another model for the action.",
                "The provider settings of this OpenRouter account leave no provider for what was tried. Change them "
                "at https://openrouter.ai/settings/preferences.",
            )
        if "no endpoints" in said and ("support" in said or "requested parameters" in said):
            return self.bad_request()
        return None

    def _refused_upstream(self) -> Verdict:
        return Verdict(
            ErrorKind.UNEXPECTED,
            "The provider behind OpenRouter did not accept OpenRouter's own access to this model, or the key you "
            "deposited there. Look at https://openrouter.ai/settings/integrations, or choose another model for the "
            "action.",
            "The provider behind OpenRouter did not accept OpenRouter's own access, or the key you deposited there. "
            "Look at https://openrouter.ai/settings/integrations.",
        )

    def _is_daily(self, error: ErrorBody) -> bool:
        return "daily" in text_of(member(error.metadata, "limit_source"))

    def _refuse(self, kind: ErrorKind, sentence: str, answer: HttpAnswer) -> ProviderError:
        return ProviderError(
            kind, sentence, http_status=answer.status, report=Report(request_id=self.request_id(answer))
        )


def system_prompt(request: ChatRequest) -> str:
    """The system text; with JSON output it names JSON, without which OpenAI refuses `json_object`."""
    texts = (request.system, *(message.text for message in request.messages))
    if request.json_output and not any("json" in text.lower() for text in texts):
        return f"{request.system}\n\nAnswer with one JSON object.".strip()
    return request.system


def message_text(content: object) -> str:
    """A message's content: text, or a list of parts of which the text ones count, and thinking does not."""
    if isinstance(content, str):
        return content
    return "".join(
        part["text"]
        for part in rows(content)
        if isinstance(part.get("text"), str) and part.get("type") not in ("thinking", "reasoning")
    )


def is_refusal(message: object) -> bool:
    """Whether the model says apart from its text that it will not answer."""
    parts = rows(member(message, "content"))
    return bool(member(message, "refusal")) or any(part.get("type") == "refusal" for part in parts)


def finish_word(content: object) -> str:
    """
    Why the answer ended, in the provider's word; the native one where that says more (OpenRouter normalizes, Ollama's
    and vLLM's own fields have other names).
    """
    choice = member(content, "choices", 0)
    words = [
        text_of(word, 40)
        for word in (
            member(choice, "finish_reason"),
            member(choice, "native_finish_reason"),
            member(choice, "stop_reason"),
            member(content, "done_reason"),
        )
    ]
    telling = (word for word in words if FINISHES.get(word.lower()) in (Finish.LENGTH, Finish.REFUSED))
    return next(telling, next(filter(None, words), ""))


def price_per_mtok(price: object) -> int | None:
    """A price in USD per token, as nano-USD per million tokens; None if negative, which means it varies."""
    amount = usd_of(price)
    return None if amount is None else nanousd_of(amount * TOKENS_IN_A_PRICE)
