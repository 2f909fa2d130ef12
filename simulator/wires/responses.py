"""OpenAI's Responses, as the simulator speaks them."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from simulator.stored import Stored
from simulator.streams import Event, Streamed, compact, named, pieces
from simulator.tools import Tools, schemas_in
from simulator.wires.base import Generated, Headers, Reply, conversation, generate, is_positive, next_id, text_in
from simulator.wires.compatible import CompatibleWire
from simulator.wires.openai import OpenAIWire
from simulator.wires.openrouter import OpenRouterWire

PREVIOUS = "previous_response_id"
# What a response repeats of its request, and what it says where nothing was asked.
REPEATED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    PREVIOUS: None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}


class ResponsesWire(OpenAIWire):
    keeps: ClassVar[bool] = True  # what it is not asked to forget

    def __init__(self) -> None:
        self._stored = Stored()

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
        key = self.key(headers)
        texts: list[tuple[bool, str]] = []
        if previous := content.get(PREVIOUS):
            if (found := self._stored.find(key, previous)) is None:
                return _unknown(400, f"Previous response with id '{previous}' not found.", PREVIOUS)
            texts += found
        for row in conversation(rows):
            if is_reference(row):
                if (found := self._stored.find(key, row["id"])) is None:
                    return _unknown(404, f"Item with id '{row['id']}' not found.", "input")
                texts += found
            else:
                texts.append((row.get("role") == "user", text_in(row.get("content") or row.get("output"))))
        generated = generate(
            text_in(content.get("instructions")), texts, limit, tools=tools_in(content), schema=schema_in(content)
        )
        store = self.keeps and content.get("store") is not False
        repeated = {name: content.get(name) or usual for name, usual in REPEATED.items()}
        response = {**repeated, "store": store, **self.response(model, generated)}
        if store:
            answered = (False, generated.text)
            self._stored.keep(key, [response["id"]], [*texts, answered])
            self._stored.keep(key, [item["id"] for item in response["output"]], [answered])
        return Reply(200, response)

    def response(self, model: str, generated: Generated) -> dict[str, Any]:
        return {
            "id": next_id("resp_"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "incomplete" if generated.is_cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if generated.is_cut else None,
            "model": model,
            "output": [self.item(generated)],
            "service_tier": "default",
            "usage": {
                "input_tokens": generated.input_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": generated.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": generated.input_tokens + generated.output_tokens,
            },
        }

    def item(self, generated: Generated) -> dict[str, Any]:
        if generated.call:
            called = {"name": generated.call.name, "arguments": compact(generated.call.arguments)}
            head = {"id": next_id("fc_"), "type": "function_call", "status": "completed"}
            return {**head, "call_id": next_id("call_"), **called}
        part = {"type": "output_text", "text": generated.text, "annotations": [], "logprobs": []}
        return {
            "id": next_id("msg_"),
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The last event holds the whole response."""
        item = whole["output"][0]
        begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        told: list[dict[str, Any]] = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            *(_call_events(item) if item["type"] == "function_call" else _text_events(item)),
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": f"response.{whole['status']}", "response": whole},
        ]
        raws = [named({**event, "sequence_number": number}) for number, event in enumerate(told)]
        error = {"code": "server_error", "message": "The model failed to generate a response."}
        failed = {"type": "response.failed", "response": {**begun, "status": "failed", "error": error}}
        return Streamed([*(Event(raw) for raw in raws[:-1]), Event(raws[-1], reports=True)], named(failed))


class CompatibleResponsesWire(ResponsesWire, CompatibleWire):
    """As vLLM and others answer them."""


class OpenRouterResponsesWire(ResponsesWire, OpenRouterWire):
    """As OpenRouter answers them, with what they cost; it keeps none."""

    keeps: ClassVar[bool] = False

    def response(self, model: str, generated: Generated) -> dict[str, Any]:
        whole = super().response(model, generated)
        cost = self.usage(model, generated)["cost"]
        return {**whole, "usage": {**whole["usage"], "cost": cost, "is_byok": False}}


def is_reference(row: dict[str, Any]) -> bool:
    """To an item that was stored. Reasoning is one, too, unless it comes along encrypted."""
    if not row.get("id"):
        return False
    if row.get("type") == "reasoning":
        return not row.get("encrypted_content")
    return row.get("type") in (None, "item_reference") and not row.get("role")


def _unknown(status: int, message: str, param: str) -> Reply:
    code = "previous_response_not_found" if param == PREVIOUS else None
    return Reply(status, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})


def _text_events(item: dict[str, Any]) -> list[dict[str, Any]]:
    part = item["content"][0]
    empty = {**part, "text": ""}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **place, "part": empty},
        *(
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in pieces(part["text"])
        ),
        {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _call_events(item: dict[str, Any]) -> list[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": 0}
    begun = {**item, "status": "in_progress", "arguments": ""}
    ends = {"name": item["name"], "arguments": item["arguments"]}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        *(
            {"type": "response.function_call_arguments.delta", **place, "delta": piece}
            for piece in pieces(item["arguments"])
        ),
        {"type": "response.function_call_arguments.done", **place, **ends},
    ]


def tools_in(content: dict[str, Any]) -> Tools:
    """Other kinds than functions are not called."""
    choice = content.get("tool_choice")
    name = str(choice.get("name") or "") if isinstance(choice, dict) else ""
    return Tools(
        schemas_in(content.get("tools"), "parameters"),
        must_call=choice == "required" or bool(name),
        may_call=choice != "none",
        named=name,
    )


def schema_in(content: dict[str, Any]) -> object:
    text = content.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    return shape.get("schema") if isinstance(shape, dict) and shape.get("type") == "json_schema" else None
