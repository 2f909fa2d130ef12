"""OpenAI's chat completions, and OpenRouter, as the simulator speaks them."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from simulator.streams import Event, Streamed, pieces, sse
from simulator.wires.base import (
    Generated,
    Headers,
    KeyState,
    Reply,
    Wire,
    bearer,
    generate,
    is_positive,
    next_id,
    text_in,
)


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
        masked = f"{key[:8]}{'*' * 8}{key[-4:]}"
        said = f"Incorrect API key provided: {masked}. You can find your API key in your account."
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
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
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

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """One chunk of usage at the end, for those who ask for it."""
        options = content.get("stream_options")
        asks = isinstance(options, dict) and options.get("include_usage") is True
        usage = whole.get("usage") if asks else None
        nothing_yet = {"usage": None} if usage else {}
        events = [Event(sse({**chunk, **nothing_yet})) for chunk in self.chunks(whole)]
        if usage:
            events.append(Event(sse({**self.chunk(whole), "choices": [], "usage": usage}), reports=True))
        return Streamed([*events, Event(sse("[DONE]"))], self.broken())

    def chunks(self, whole: dict[str, Any]) -> list[dict[str, Any]]:
        """The answer word by word, then why it ended."""
        choice = whole["choices"][0]
        first, *more = pieces(choice["message"]["content"])
        deltas = [{"role": "assistant", "content": first}, *({"content": piece} for piece in more)]
        texts = [self.chunk(whole, delta=delta) for delta in deltas]
        return [*texts, self.chunk(whole, finish_reason=choice["finish_reason"])]

    def chunk(self, whole: dict[str, Any], **told: Any) -> dict[str, Any]:
        head = {name: whole.get(name) for name in ("id", "created", "model", "service_tier", "system_fingerprint")}
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None, **told}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    def broken(self) -> bytes:
        said = "The server had an error while processing your request."
        return sse({"error": {"message": said, "type": "server_error", "param": None, "code": "server_error"}})

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
        if state not in (KeyState.VALID, KeyState.NO_CREDIT, KeyState.DRAINED):
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

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """A sign of life first, and the usage always, in a chunk with a choice in it."""
        events = [Event(b": OPENROUTER PROCESSING\n\n"), *(Event(sse(chunk)) for chunk in self.chunks(whole))]
        if usage := whole.get("usage"):
            last = self.chunk(whole, delta={"role": "assistant", "content": ""})
            events.append(Event(sse({**last, "usage": usage}), reports=True))
        return Streamed([*events, Event(sse("[DONE]"))], self.broken())

    def broken(self) -> bytes:
        error = {"code": 502, "message": "Provider disconnected unexpectedly"}
        return sse({"error": error, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]})

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
