"""
The four wire protocols as the simulator speaks them: requests, answers and errors in each provider's own
shape.

Shapes after the providers' API references and error guides, checked 2026-11-21.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any, ClassVar

from providers.simulator.answers import CHARACTERS_IN_A_TOKEN, answer, tokens_in
from providers.simulator.listings import MODELS, SimulatedModel

Headers = Mapping[bytes, bytes]
_ids = count(int(time.time() * 1000))


class KeyState(StrEnum):
    """What a key is simulated to be, by what it contains; a key that contains none of these is invalid."""

    VALID = "simulated-valid"
    INVALID = "simulated-invalid"
    NO_CREDIT = "simulated-no-credit"
    RATE_LIMITED = "simulated-rate-limited"
    LIMITED = "simulated-limited"
    OVERLOADED = "simulated-overloaded"

    @classmethod
    def of(cls, key: str) -> KeyState:
        return next((state for state in cls if state in key), cls.INVALID)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: object
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generated:
    """What the simulated model produced, in tokens and text."""

    text: str
    input_tokens: int
    output_tokens: int
    is_cut: bool


class Wire(ABC):
    """One provider's side of its protocol."""

    slug: ClassVar[str]
    request_id_header: ClassVar[str] = "x-request-id"

    @property
    def models(self) -> dict[str, SimulatedModel]:
        return MODELS[self.slug]

    @abstractmethod
    def key(self, headers: Headers) -> str: ...

    @abstractmethod
    def refusal(self, state: KeyState, key: str) -> Reply:
        """The error that a key in this state gets, for any state but VALID."""

    @abstractmethod
    def bad_request(self, message: str) -> Reply: ...

    @abstractmethod
    def not_found(self, message: str) -> Reply: ...

    @abstractmethod
    def chat(self, content: dict[str, Any], headers: Headers) -> Reply: ...

    @abstractmethod
    def listing(self) -> Reply: ...


def generate(system: str, texts: list[tuple[bool, str]], most_tokens: int) -> Generated:
    """Answer what the user said; `texts` are (is from the user, text) in their order."""
    prompt = "\n".join(text for is_user, text in texts if is_user)
    full = answer(prompt)
    text = full[: most_tokens * CHARACTERS_IN_A_TOKEN]
    sent = len(system) + sum(len(text) for _, text in texts)
    return Generated(text, tokens_in(sent), tokens_in(len(text)), len(text) < len(full))


def next_id(prefix: str) -> str:
    return f"{prefix}{next(_ids):016x}"


def text_in(content: object) -> str:
    """Text, or the text parts of a list."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def bearer(headers: Headers) -> str:
    return headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()


class OpenAIWire(Wire):
    slug: ClassVar[str] = "openai"

    def key(self, headers: Headers) -> str:
        return bearer(headers)

    def error(self, status: int, message: str, kind: str, code: str | None, **headers: str) -> Reply:
        content = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    def refusal(self, state: KeyState, key: str) -> Reply:
        match state:
            case KeyState.NO_CREDIT:
                said = "You exceeded your current quota, please check your plan and billing details."
                return self.error(429, said, "insufficient_quota", "insufficient_quota")
            case KeyState.RATE_LIMITED:
                said = "Rate limit reached for requests per min (RPM): Limit 3, Used 3. Please try again in 20s."
                return self.error(429, said, "requests", "rate_limit_exceeded", retry_after="20")
            case KeyState.LIMITED:
                said = (
                    "You have insufficient permissions for this operation. Missing scopes: api.model.read. "
                    "Check that you have the correct role in your organization."
                )
                return self.error(401, said, "invalid_request_error", None)
            case KeyState.OVERLOADED:
                said = "The server is currently overloaded with other requests. Please try again later."
                return self.error(503, said, "server_error", "server_is_overloaded")
        if not key:
            return self.error(401, "You didn't provide an API key.", "invalid_request_error", None)
        said = f"Incorrect API key provided: {key[:8]}{'*' * 8}{key[-4:]}. You can find your API key in your account."
        return self.error(401, said, "invalid_request_error", "invalid_api_key")

    def bad_request(self, message: str) -> Reply:
        return self.error(400, message, "invalid_request_error", None)

    def not_found(self, message: str) -> Reply:
        return self.error(404, message, "invalid_request_error", None)

    def model_not_found(self, model: str) -> Reply:
        said = f"The model `{model}` does not exist or you do not have access to it."
        return self.error(404, said, "invalid_request_error", "model_not_found")

    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        model, messages = content.get("model"), content.get("messages")
        if not isinstance(model, str) or not model:
            return self.bad_request("you must provide a model parameter")
        if model not in self.models:
            return self.model_not_found(model)
        if not isinstance(messages, list) or not messages or not all(isinstance(row, dict) for row in messages):
            return self.bad_request("Missing required parameter: 'messages'.")
        if content.get("stream"):
            return self.bad_request("Streaming is not simulated.")
        texts = [(row.get("role") == "user", text_in(row.get("content"))) for row in messages]
        if refused := self.refuses(content, texts):
            return self.bad_request(refused)
        limit = content.get("max_completion_tokens") or content.get("max_tokens") or 16_384
        if not is_positive(limit):
            return self.bad_request("Invalid 'max_completion_tokens': integer above 0 expected.")
        return Reply(200, self.completion(model, generate("", texts, limit)))

    def refuses(self, content: dict[str, Any], texts: list[tuple[bool, str]]) -> str:
        """Why this provider would refuse a request that OpenRouter takes, "" if it would not."""
        if "max_tokens" in content and content["model"].startswith(("gpt-5", "gpt-6", "o")):
            return (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
        wants_json = isinstance(shape := content.get("response_format"), dict) and shape.get("type") == "json_object"
        if wants_json and not any("json" in text.lower() for _, text in texts):
            return (
                "'messages' must contain the word 'json' in some form, "
                "to use 'response_format' of type 'json_object'."
            )
        return ""

    def completion(self, model: str, generated: Generated) -> dict[str, Any]:
        return {
            "id": next_id("chatcmpl-"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [self.choice(generated)],
            "usage": self.usage(model, generated),
            "service_tier": "default",
            "system_fingerprint": None,
        }

    def choice(self, generated: Generated) -> dict[str, Any]:
        return {
            "index": 0,
            "message": {"role": "assistant", "content": generated.text, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "length" if generated.is_cut else "stop",
        }

    def usage(self, model: str, generated: Generated) -> dict[str, Any]:
        return {
            "prompt_tokens": generated.input_tokens,
            "completion_tokens": generated.output_tokens,
            "total_tokens": generated.input_tokens + generated.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def listing(self) -> Reply:
        rows = [
            {"id": model, "object": "model", "created": 1_700_000_000, "owned_by": "system"} for model in self.models
        ]
        return Reply(200, {"object": "list", "data": rows})


class OpenRouterWire(OpenAIWire):
    slug: ClassVar[str] = "openrouter"
    request_id_header: ClassVar[str] = "x-generation-id"

    def error(self, status: int, message: str, kind: str, code: str | None, **headers: str) -> Reply:
        content = {"error": {"message": message, "code": status}, "user_id": "user_simulated"}
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    def refusal(self, state: KeyState, key: str) -> Reply:
        match state:
            case KeyState.NO_CREDIT:
                return self.error(402, "Insufficient credits. Add more and retry.", "", None)
            case KeyState.RATE_LIMITED:
                return self.error(429, "Rate limit exceeded: 20 requests per minute.", "", None, retry_after="20")
            case KeyState.LIMITED:
                return self.error(403, "This API key is not permitted to do this.", "", None)
            case KeyState.OVERLOADED:
                return self.error(502, "Provider returned error", "", None)
        return self.error(401, "User not found." if key else "No cookie auth credentials found", "", None)

    def model_not_found(self, model: str) -> Reply:
        return self.error(400, f"{model} is not a valid model ID", "", None)

    def refuses(self, content: dict[str, Any], texts: list[tuple[bool, str]]) -> str:
        return ""

    def key_facts(self, state: KeyState, key: str) -> Reply:
        """GET /key: a key without credit is known and reports that nothing remains."""
        if state not in (KeyState.VALID, KeyState.NO_CREDIT):
            return self.refusal(state, key)
        has_credit = state is KeyState.VALID
        facts = {
            "label": f"{key[:12]}...{key[-3:]}",
            "limit": 50.0,
            "limit_remaining": 42.5 if has_credit else 0,
            "limit_reset": "monthly",
            "usage": 7.5 if has_credit else 50.0,
            "usage_daily": 0.25,
            "usage_weekly": 1.5,
            "usage_monthly": 7.5,
            "byok_usage": 0,
            "is_free_tier": False,
            "is_management_key": False,
            "expires_at": None,
            "rate_limit": {"requests": -1, "interval": "10s"},
        }
        return Reply(200, {"data": facts})

    def completion(self, model: str, generated: Generated) -> dict[str, Any]:
        whole = super().completion(model, generated)
        return {**whole, "id": next_id("gen-"), "provider": "Simulator", "service_tier": None}

    def choice(self, generated: Generated) -> dict[str, Any]:
        whole = super().choice(generated)
        message = {"role": "assistant", "content": generated.text, "refusal": None, "reasoning": None}
        return {**whole, "message": message, "native_finish_reason": whole["finish_reason"]}

    def usage(self, model: str, generated: Generated) -> dict[str, Any]:
        listed = self.models[model]
        prompt = float(generated.input_tokens * listed.input_price / 1_000_000)
        completion = float(generated.output_tokens * listed.output_price / 1_000_000)
        cost = float(
            (generated.input_tokens * listed.input_price + generated.output_tokens * listed.output_price) / 1_000_000
        )
        return {
            "prompt_tokens": generated.input_tokens,
            "completion_tokens": generated.output_tokens,
            "total_tokens": generated.input_tokens + generated.output_tokens,
            "cost": cost,
            "is_byok": False,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
            "cost_details": {
                "upstream_inference_cost": cost,
                "upstream_inference_prompt_cost": prompt,
                "upstream_inference_completions_cost": completion,
            },
            "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 0},
        }

    def listing(self) -> Reply:
        rows = [
            {
                "id": model.id,
                "canonical_slug": model.id,
                "name": model.name,
                "created": 1_700_000_000,
                "context_length": model.context_tokens,
                "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
                "pricing": {
                    "prompt": f"{model.input_price / 1_000_000:f}",
                    "completion": f"{model.output_price / 1_000_000:f}",
                },
                "top_provider": {"context_length": model.context_tokens, "is_moderated": False},
                "supported_parameters": ["max_tokens", "response_format"],
            }
            for model in self.models.values()
        ]
        # The router that picks a model itself, whose price varies: listed as -1.
        automatic = {
            "id": "openrouter/auto",
            "name": "Auto Router",
            "context_length": 2_000_000,
            "pricing": {"prompt": "-1", "completion": "-1"},
        }
        return Reply(200, {"data": [automatic, *rows]})


class AnthropicWire(Wire):
    slug: ClassVar[str] = "anthropic"
    request_id_header: ClassVar[str] = "request-id"

    def key(self, headers: Headers) -> str:
        return headers.get(b"x-api-key", b"").decode("latin-1") or bearer(headers)

    def error(self, status: int, kind: str, message: str, **headers: str) -> Reply:
        content = {"type": "error", "error": {"type": kind, "message": message}, "request_id": next_id("req_")}
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    def refusal(self, state: KeyState, key: str) -> Reply:
        match state: case KeyState.NO_CREDIT: said = "Your credit balance is too low to access the Anthropic
        API." return self.error(400, "invalid_request_error", said) case KeyState.RATE_LIMITED: said = "This
        request would exceed your organization's rate limit of 50 requests per minute." return self.error(429,
        "rate_limit_error", said, retry_after="20") case KeyState.LIMITED: said = "Your API key does not have
        permission to use the specified resource." return self.error(403, "permission_error", said) case
        KeyState.OVERLOADED: return self.error(529, "overloaded_error", "Overloaded") return self.error(401,
        "authentication_error", "invalid x-api-key" if key else "x-api-key header is required")

    def bad_request(self, message: str) -> Reply:
        return self.error(400, "invalid_request_error", message)

    def not_found(self, message: str) -> Reply:
        return self.error(404, "not_found_error", message)

    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        model, messages, limit = content.get("model"), content.get("messages"), content.get("max_tokens")
        if b"anthropic-version" not in headers:
            return self.bad_request("anthropic-version: header is required")
        if not isinstance(model, str):
            return self.bad_request("model: Field required")
        if not isinstance(limit, int) or not is_positive(limit):
            return self.bad_request("max_tokens: Field required")
        if not isinstance(messages, list) or not messages or not all(isinstance(row, dict) for row in messages):
            return self.bad_request("messages: at least one message is required")
        if content.get("stream"):
            return self.bad_request("Streaming is not simulated.")
        if model not in self.models:
            return self.not_found(f"model: {model}")
        texts = [(row.get("role") == "user", text_in(row.get("content"))) for row in messages]
        generated = generate(text_in(content.get("system")), texts, limit)
        return Reply(
            200,
            {
                "id": next_id("msg_"),
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [{"type": "text", "text": generated.text}],
                "stop_reason": "max_tokens" if generated.is_cut else "end_turn",
                "stop_sequence": None,
                "usage": {
                    "input_tokens": generated.input_tokens,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                    "output_tokens": generated.output_tokens,
                    "service_tier": "standard",
                },
            },
        )

    def listing(self) -> Reply:
        rows = [
            {
                "type": "model",
                "id": model.id,
                "display_name": model.name,
                "created_at": "2026-01-01T00:00:00Z",
                "max_input_tokens": model.context_tokens,
                "max_tokens": 64_000,
            }
            for model in self.models.values()
        ]
        return Reply(
            200, {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        )


class GoogleWire(Wire):
    slug: ClassVar[str] = "google"

    def key(self, headers: Headers) -> str:
        return headers.get(b"x-goog-api-key", b"").decode("latin-1")

    def error(self, code: int, status: str, message: str, *details: dict[str, Any]) -> Reply:
        error: dict[str, Any] = {"code": code, "message": message, "status": status}
        if details:
            error["details"] = list(details)
        return Reply(code, {"error": error})

    def refusal(self, state: KeyState, key: str) -> Reply:
        match state:
            case KeyState.NO_CREDIT:
                return self.error(402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.")
            case KeyState.RATE_LIMITED:
                return self.error(
                    429,
                    "RESOURCE_EXHAUSTED",
                    "You exceeded your current quota. Please retry in 20s.",
                    {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20s"},
                )
            case KeyState.LIMITED:
                said = "Requests to this API generativelanguage.googleapis.com are blocked."
                return self.error(403, "PERMISSION_DENIED", said, self.reason("API_KEY_SERVICE_BLOCKED"))
            case KeyState.OVERLOADED:
                return self.error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
        if not key:
            return self.error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        said = "API key not valid. Please pass a valid API key."
        return self.error(400, "INVALID_ARGUMENT", said, self.reason("API_KEY_INVALID"))

    @staticmethod
    def reason(reason: str) -> dict[str, Any]:
        return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain":
        "googleapis.com"}

    def bad_request(self, message: str) -> Reply:
        return self.error(400, "INVALID_ARGUMENT", message)

    def not_found(self, message: str) -> Reply:
        return self.error(404, "NOT_FOUND", message)

    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        """`content` is the body with the address's model added as "model"."""
        model, contents = content["model"], content.get("contents")
        if model not in self.models:
            return self.not_found(
                f"models/{model} is not found for API version v1beta, or is not supported for "
                "generateContent. Call ModelService.ListModels to see the list of available models and "
                "their supported methods."
            )
        if not isinstance(contents, list) or not contents or not all(isinstance(row, dict) for row in contents):
            return self.bad_request("* GenerateContentRequest.contents: contents is not specified")
        settings = content.get("generationConfig")
        limit = settings.get("maxOutputTokens", 65_536) if isinstance(settings, dict) else 65_536
        if not is_positive(limit):
            return self.bad_request("max_output_tokens must be positive.")
        system = content.get("systemInstruction")
        texts = [(row.get("role", "user") == "user", text_in(row.get("parts"))) for row in contents]
        generated = generate(text_in(system.get("parts")) if isinstance(system, dict) else "", texts, limit)
        return Reply(
            200,
            {
                "candidates": [
                    {
                        "content": {"parts": [{"text": generated.text}], "role": "model"},
                        "finishReason": "MAX_TOKENS" if generated.is_cut else "STOP",
                        "index": 0,
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": generated.input_tokens,
                    "candidatesTokenCount": generated.output_tokens,
                    "totalTokenCount": generated.input_tokens + generated.output_tokens,
                    "cachedContentTokenCount": 0,
                    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": generated.input_tokens}],
                    "thoughtsTokenCount": 0,
                },
                "modelVersion": model,
                "responseId": next_id("sim"),
            },
        )

    def listing(self) -> Reply:
        rows = [
            {
                "name": f"models/{model.id}",
                "version": "001",
                "displayName": model.name,
                "inputTokenLimit": model.context_tokens,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for model in self.models.values()
        ]
        embedding = {
            "name": "models/gemini-embedding-001",
            "version": "001",
            "displayName": "Gemini Embedding 001",
            "inputTokenLimit": 2_048,
            "outputTokenLimit": 1,
            "supportedGenerationMethods": ["embedContent"],
        }
        return Reply(200, {"models": [*rows, embedding]})


def encode(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
