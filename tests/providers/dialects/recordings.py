"""Answers of each dialect, written by hand: 10 tokens in, 5 out."""

from __future__ import annotations

import json
from typing import Any

from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.responses import OPENAI_RESPONSES
from tests.providers.dialects.feeding import named, sse
from usage.tokens import TokenUsage

TOKENS = TokenUsage(uncached_input=10, output=5)


def chunk(text: str = "", finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-6", "choices": [choice], **more}


COUNTED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
USAGE_CHUNK = chunk(choices=[], usage=COUNTED)
CHAT = [chunk("Hel", usage=None), chunk("lo", usage=None), chunk("", "stop", usage=None), USAGE_CHUNK, "[DONE]"]


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }
    return {"id": "resp_1", "model": "gpt-6", "status": status, "error": None, "output": [], "usage": usage, **more}


def responses(end: str, **more: Any) -> bytes:
    return named(
        {"type": "response.created", "response": response("in_progress", usage=None)},
        {"type": "response.output_text.delta", "delta": "Hello"},
        {"type": f"response.{end}", "response": response(end, **more)},
    )


def messages(start: dict[str, Any], *deltas: dict[str, Any] | None, stops: bool = True) -> bytes:
    return named(
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude-5", "usage": start}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "message_stop"}},
        *({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": delta} for delta in deltas),
        *([{"type": "message_stop"}] if stops else []),
    )


STARTED = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "cache_read_input_tokens": 7,
    "output_tokens": 1,
    "service_tier": "priority",
}


def element(text: str, written: int = 0, finish: str = "", **more: Any) -> dict[str, Any]:
    content = {"parts": [{"text": text}], "role": "model"}
    counts = {"promptTokenCount": 10, "candidatesTokenCount": written, "totalTokenCount": 10 + written}
    return {
        "candidates": [{"content": content, "finishReason": finish} if finish else {"content": content}],
        "usageMetadata": counts if written else {"promptTokenCount": 10, "totalTokenCount": 10},
        "modelVersion": "gemini-4",
        "responseId": "r1",
        **more,
    }


ELEMENTS = [element("Hel"), element('lo, ]}" \\', 3), element("world", 5, "STOP")]


def array(*elements: dict[str, Any], end: str = "\n]") -> bytes:
    return ("[" + "\n,\r\n".join(json.dumps(row, indent=1) for row in elements) + end).encode()


BODIES: dict[Dialect, bytes] = {
    OPENAI_CHAT: sse(*CHAT),
    OPENAI_RESPONSES: responses("completed"),
    ANTHROPIC_MESSAGES: messages(STARTED, {"output_tokens": 5}),
    GEMINI: sse(*ELEMENTS),
}
