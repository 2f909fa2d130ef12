"""Anthropic's Messages, as the simulator speaks them."""

from __future__ import annotations

from typing import Any, ClassVar

from simulator.streams import Event, Streamed, named, pieces
from simulator.wires.base import (
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


class AnthropicWire(Wire):
    slug: ClassVar[str] = "anthropic"
    request_id_header: ClassVar[str] = "request-id"

    def key(self, headers: Headers) -> str:
        return headers.get(b"x-api-key", b"").decode("latin-1") or bearer(headers)

    def error(self, status: int, kind: str, message: str, **headers: str) -> Reply:
        content = {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": next_id("req_"),
        }
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    def refusal(self, state: KeyState, key: str) -> Reply:
        match state:
            case KeyState.NO_CREDIT:
                said = "Your credit balance is too low to access the Anthropic API."
                return self.error(400, "invalid_request_error", said)
            case KeyState.RATE_LIMITED:
                said = "This request would exceed your organization's rate limit of 50 requests per minute."
                return self.error(429, "rate_limit_error", said, retry_after="20")
            case KeyState.LIMITED:
                said = "Your API key does not have permission to use the specified resource."
                return self.error(403, "permission_error", said)
            case KeyState.OVERLOADED:
                return self.error(529, "overloaded_error", "Overloaded")
        said = "invalid x-api-key" if key else "x-api-key header is required"
        return self.error(401, "authentication_error", said)

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

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The input is counted at the start, the output at the end."""
        usage = whole.get("usage")
        start = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1} if usage else None}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        ends: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}}
        if usage:
            ends["usage"] = {"output_tokens": usage["output_tokens"]}
        texts = (
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces(whole["content"][0]["text"])
        )
        before: tuple[dict[str, Any], ...] = (
            {"type": "message_start", "message": start},
            block,
            {"type": "ping"},
            *texts,
        )
        events = [
            *(Event(named(event)) for event in before),
            Event(named({"type": "content_block_stop", "index": 0})),
            Event(named(ends), reports=bool(usage)),
            Event(named({"type": "message_stop"})),
        ]
        return Streamed(
            events, named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
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
        return Reply(200, {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]})
