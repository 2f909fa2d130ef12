"""Mistral, Ollama and an OpenAI-compatible server (vLLM's manners), as the simulator speaks them."""

from __future__ import annotations

from typing import Any, ClassVar

from simulator.streams import Event, Streamed, sse
from simulator.wires.base import Generated, Headers, KeyState, Reply
from simulator.wires.openai import OpenAIWire


class MistralWire(OpenAIWire):
    slug: ClassVar[str] = "mistral"

    def error(self, status: int, message: str, kind: str, code: str | None, **headers: str) -> Reply:
        content = {
            "object": "error",
            "message": message,
            "type": kind,
            "param": None,
            "code": code,
            "raw_status_code": status,
        }
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    def refusal(self, state: KeyState, key: str) -> Reply:
        match state:
            case KeyState.NO_CREDIT:
                return self.error(402, "Payment required.", "payment_required", None)
            case KeyState.RATE_LIMITED:
                return self.error(429, "Rate limit exceeded", "rate_limited", "1300", retry_after="20")
            case KeyState.LIMITED:
                return self.error(403, "This key may not do this.", "forbidden", None)
            case KeyState.OVERLOADED:
                return self.error(429, "Service tier capacity exceeded for this model.", "capacity_exceeded", "3505")
        return Reply(401, {"detail": "Unauthorized"})

    def model_not_found(self, model: str) -> Reply:
        return self.error(400, f"Invalid model: {model}", "invalid_model", "1500")

    def failure(self, status: int) -> Reply:
        return self.error(status, "Internal server error", "internal_server_error", "3000")

    def refuses(self, content: dict[str, Any], texts: list[tuple[bool, str]]) -> str:
        return ""

    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        unknown = content.keys() & {"max_completion_tokens", "stream_options", "seed"}
        if unknown:
            rows = [
                {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
                for name in sorted(unknown)
            ]
            return Reply(422, {"detail": rows})
        return super().chat(content, headers)

    def usage(self, model: str, generated: Generated) -> dict[str, Any]:
        return plain_usage(generated)

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The usage unasked, in the last chunk."""
        *chunks, last = self.chunks(whole)
        if usage := whole.get("usage"):
            last["usage"] = usage
        ends = Event(sse(last), reports=bool(usage))
        return Streamed([*(Event(sse(chunk)) for chunk in chunks), ends, Event(sse("[DONE]"))], self.broken())

    def listing(self) -> Reply:
        rows = [
            {
                "id": model.id,
                "object": "model",
                "owned_by": "mistralai",
                "name": model.name,
                "capabilities": {"completion_chat": True, "function_calling": True},
                "max_context_length": model.context_tokens,
                "aliases": [],
                "type": "base",
            }
            for model in self.models.values()
        ]
        embedding = {"id": "mistral-embed", "object": "model", "capabilities": {"completion_chat": False}}
        return Reply(200, {"object": "list", "data": [*rows, embedding]})


class CompatibleWire(OpenAIWire):
    slug: ClassVar[str] = "openai_compatible"

    def refusal(self, state: KeyState, key: str) -> Reply:
        if state is KeyState.INVALID:
            return Reply(401, {"error": "Unauthorized"})
        if state is KeyState.LIMITED:
            return Reply(403, {"error": "Forbidden"})
        return super().refusal(state, key)

    def refuses(self, content: dict[str, Any], texts: list[tuple[bool, str]]) -> str:
        return ""

    def usage(self, model: str, generated: Generated) -> dict[str, Any]:
        return plain_usage(generated)

    def listing(self) -> Reply:
        rows = [
            {"id": model.id, "object": "model", "owned_by": "vllm", "max_model_len": model.context_tokens}
            for model in self.models.values()
        ]
        return Reply(200, {"object": "list", "data": rows})


class OllamaWire(CompatibleWire):
    """Open to everybody, as Ollama is."""

    slug: ClassVar[str] = "ollama"

    def key(self, headers: Headers) -> str:
        return KeyState.VALID

    def model_not_found(self, model: str) -> Reply:
        return self.error(404, f"model '{model}' not found", "not_found_error", None)

    def listing(self) -> Reply:
        """Its own list, at /api/tags."""
        rows = [
            {
                "name": model.id,
                "model": model.id,
                "modified_at": "2026-11-01T12:00:00Z",
                "size": 5_200_000_000,
                "digest": "0" * 64,
                "details": {
                    "format": "gguf",
                    "family": "qwen3",
                    "parameter_size": "8B",
                    "quantization_level": "Q4_K_M",
                },
            }
            for model in self.models.values()
        ]
        return Reply(200, {"models": rows})

    def compatible_listing(self) -> Reply:
        """The same models in OpenAI's form, at /v1/models."""
        return super().listing()


def plain_usage(generated: Generated) -> dict[str, Any]:
    """Usage without details, as these servers report it."""
    return {
        "prompt_tokens": generated.input_tokens,
        "completion_tokens": generated.output_tokens,
        "total_tokens": generated.input_tokens + generated.output_tokens,
    }
