"""Anthropic's Messages, and a server that is compatible with them (vLLM's manners), as the simulator speaks them."""

from __future__ import annotations

from typing import Any, ClassVar

from simulator.answers import tokens_in
from simulator.streams import Event, Streamed, compact, named, pieces
from simulator.tools import Tools, schemas_in
from simulator.wires.base import (
    Generated,
    Headers,
    KeyState,
    Reply,
    Wire,
    bearer,
    conversation,
    generate,
    is_positive,
    next_id,
    text_in,
)

KINDS = {503: "api_error", 504: "timeout_error", 529: "overloaded_error"}


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

    def failure(self, status: int) -> Reply:
        kind = KINDS.get(status, "api_error")
        return self.error(status, kind, "Overloaded" if kind == "overloaded_error" else "Internal server error")

    def spent(self) -> Reply:
        """A limit of the organization's own: its 429 names no time to wait."""
        said = "This request would exceed the spend limit of your organization."
        error = {
            "type": "rate_limit_error",
            "message": said,
            "details": {"error_code": "enforced_spend_limit_reached"},
        }
        return Reply(429, {"type": "error", "error": error, "request_id": next_id("req_")})

    def bad_request(self, message: str) -> Reply:
        return self.error(400, "invalid_request_error", message)

    def not_found(self, message: str) -> Reply:
        return self.error(404, "not_found_error", message)

    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        limit = content.get("max_tokens")
        if not isinstance(limit, int) or not is_positive(limit):
            return self.bad_request("max_tokens: Field required")
        if refused := self.refuses(content, headers):
            return refused
        generated = generate(
            text_in(content.get("system")),
            texts_in(content),
            limit,
            tools=tools_in(content),
            schema=schema_in(content),
        )
        reason = "tool_use" if generated.call else "max_tokens" if generated.is_cut else "end_turn"
        return Reply(
            200,
            {
                "id": next_id("msg_"),
                "type": "message",
                "role": "assistant",
                "model": content["model"],
                "content": [block_of(generated)],
                "stop_reason": reason,
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

    def count(self, content: dict[str, Any], headers: Headers) -> Reply:
        if refused := self.refuses(content, headers):
            return refused
        told = text_in(content.get("system")) + "".join(text for _, text in texts_in(content))
        return Reply(200, {"input_tokens": tokens_in(len(told))})

    def refuses(self, content: dict[str, Any], headers: Headers) -> Reply | None:
        model, messages = content.get("model"), content.get("messages")
        if b"anthropic-version" not in headers:
            return self.bad_request("anthropic-version: header is required")
        if not isinstance(model, str):
            return self.bad_request("model: Field required")
        if not isinstance(messages, list) or not messages or not all(isinstance(row, dict) for row in messages):
            return self.bad_request("messages: at least one message is required")
        return None if model in self.models else self.not_found(f"model: {model}")

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The input is counted at the start, the output at the end."""
        usage = whole.get("usage")
        begun = {**usage, "output_tokens": min(1, usage["output_tokens"])} if usage else None
        start = {**whole, "content": [], "stop_reason": None, "usage": begun}
        block = whole["content"][0]
        if block["type"] == "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        else:
            empty = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(compact(block["input"]))]
        ends: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}}
        if usage:
            ends["usage"] = {"output_tokens": usage["output_tokens"]}
        before: tuple[dict[str, Any], ...] = (
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "ping"},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
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
                "lifecycle": "deprecated" if model.retires_at else "active",
                "retires_at": model.retires_at or None,
            }
            for model in self.models.values()
        ]
        return Reply(200, {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]})


class OpenRouterMessagesWire(AnthropicWire):
    """Anthropic's protocol at OpenRouter, for the models of all makers."""

    slug: ClassVar[str] = "openrouter"
    request_id_header: ClassVar[str] = "x-generation-id"

    def key(self, headers: Headers) -> str:
        return bearer(headers)


class AnthropicCompatibleWire(AnthropicWire):
    """It reads the key from one header only, and lists its models as OpenAI does."""

    slug: ClassVar[str] = "anthropic_compatible"

    def key(self, headers: Headers) -> str:
        return bearer(headers)

    def refusal(self, state: KeyState, key: str) -> Reply:
        return Reply(401, {"error": "Unauthorized"}) if state is KeyState.INVALID else super().refusal(state, key)

    def listing(self) -> Reply:
        rows = [
            {"id": model.id, "object": "model", "owned_by": "vllm", "max_model_len": model.context_tokens}
            for model in self.models.values()
        ]
        return Reply(200, {"object": "list", "data": rows})


def block_of(generated: Generated) -> dict[str, Any]:
    if generated.call:
        name, arguments = generated.call
        return {"type": "tool_use", "id": next_id("toolu_"), "name": name, "input": arguments}
    return {"type": "text", "text": generated.text}


def texts_in(content: dict[str, Any]) -> list[tuple[bool, str]]:
    return [(row.get("role") == "user", text_in(row.get("content"))) for row in conversation(content["messages"])]


def tools_in(content: dict[str, Any]) -> Tools:
    """Tools of the server's own have no schema, and are not called."""
    choice = content.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else "auto"
    return Tools(
        schemas_in(content.get("tools"), "input_schema"),
        must_call=kind in ("any", "tool"),
        may_call=kind != "none",
        named=str(choice.get("name")) if isinstance(choice, dict) and kind == "tool" else "",
    )


def schema_in(content: dict[str, Any]) -> object:
    """What the answer has to fit, None if that was not asked for; older clients say so elsewhere."""
    settings = content.get("output_config")
    shape = (settings.get("format") if isinstance(settings, dict) else None) or content.get("output_format")
    return shape.get("schema") if isinstance(shape, dict) else None
