"""OpenAI's Responses, as the simulator speaks them."""

from __future__ import annotations

import time
from typing import Any

from simulator.streams import Event, Streamed, named, pieces
from simulator.wires.base import Generated, Headers, Reply, generate, is_positive, next_id, text_in
from simulator.wires.openai import OpenAIWire


class ResponsesWire(OpenAIWire):
    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        model, asked = content.get("model"), content.get("input")
        if not isinstance(model, str) or not model:
            return self.bad_request("Missing required parameter: 'model'.")
        if model not in self.models:
            return self.model_not_found(model)
        rows = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            return self.bad_request("Missing required parameter: 'input'.")
        limit = content.get("max_output_tokens") or 16_384
        if not is_positive(limit):
            return self.bad_request("Invalid 'max_output_tokens': integer above 0 expected.")
        texts = [(row.get("role") == "user", text_in(row.get("content"))) for row in rows]
        return Reply(200, self.response(model, generate(text_in(content.get("instructions")), texts, limit)))

    def response(self, model: str, generated: Generated) -> dict[str, Any]:
        part = {"type": "output_text", "text": generated.text, "annotations": [], "logprobs": []}
        message = {"id": next_id("msg_"), "type": "message", "status": "completed", "role": "assistant"}
        return {
            "id": next_id("resp_"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "incomplete" if generated.is_cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if generated.is_cut else None,
            "model": model,
            "output": [{**message, "content": [part]}],
            "service_tier": "default",
            "usage": {
                "input_tokens": generated.input_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": generated.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": generated.input_tokens + generated.output_tokens,
            },
        }

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The last event holds the whole response."""
        message = whole["output"][0]
        text = message["content"][0]["text"]
        begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
        item = {**message, "status": "in_progress", "content": []}
        told: list[dict[str, Any]] = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            *({"type": "response.output_text.delta", **place, "delta": piece} for piece in pieces(text)),
            {"type": "response.output_text.done", **place, "text": text},
            {"type": "response.output_item.done", "output_index": 0, "item": message},
            {"type": f"response.{whole['status']}", "response": whole},
        ]
        raws = [named({**event, "sequence_number": number}) for number, event in enumerate(told)]
        error = {"code": "server_error", "message": "The model failed to generate a response."}
        failed = {"type": "response.failed", "response": {**begun, "status": "failed", "error": error}}
        return Streamed([*(Event(raw) for raw in raws[:-1]), Event(raws[-1], reports=True)], named(failed))
