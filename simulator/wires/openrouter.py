"""OpenRouter, as the simulator speaks it."""

from __future__ import annotations

from typing import Any, ClassVar

from simulator.streams import Event, Streamed, sse
from simulator.wires.base import Generated, KeyState, Reply, next_id
from simulator.wires.openai import OpenAIWire


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

    def failure(self, status: int) -> Reply:
        return self.error(status, "Provider returned error", "", None)

    def model_not_found(self, model: str) -> Reply:
        return self.error(400, f"{model} is not a valid model ID", "", None)

    def refuses(self, content: dict[str, Any], texts: list[tuple[bool, str]]) -> str:
        return ""

    def key_facts(self, state: KeyState, key: str, spent: float) -> Reply:
        """GET /key: a key without credit is known and reports that nothing remains. `spent` are USD."""
        if state not in (KeyState.VALID, KeyState.NO_CREDIT, KeyState.DRAINED):
            return self.refusal(state, key)
        has_credit = state is KeyState.VALID
        facts = {
            "label": f"{key[:12]}...{key[-3:]}",
            "limit": 50.0,
            "limit_remaining": 42.5 if has_credit else 0,
            "limit_reset": "monthly",
            "usage": 7.5 + spent if has_credit else 50.0,
            "usage_daily": 0.25 + spent,
            "usage_weekly": 1.5 + spent,
            "usage_monthly": 7.5 + spent,
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
        message = {name: told for name, told in whole["message"].items() if name != "annotations"}
        return {
            **whole,
            "message": {**message, "reasoning": None},
            "native_finish_reason": whole["finish_reason"],
        }

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
