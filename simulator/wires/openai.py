"""OpenAI's chat completions and embeddings, as the simulator speaks them."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from simulator.answers import tokens_in
from simulator.streams import Event, Streamed, compact, pieces, sse
from simulator.tools import Tools, schemas_in
from simulator.vectors import as_base64, vector_of
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

    def failure(self, status: int) -> Reply:
        if status in (503, 529):
            return Reply(status, self.refusal(KeyState.OVERLOADED, "").content)
        said = "The server had an error while processing your request. Sorry about that!"
        return self.error(status, said, "server_error", None)

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
        texts = [(row.get("role") == "user", text_in(row.get("content"))) for row in conversation(messages)]
        if refused := self.refuses(content, texts):
            return self.bad_request(refused)
        limit = content.get("max_completion_tokens") or content.get("max_tokens") or 16_384
        if not is_positive(limit):
            return self.bad_request("Invalid 'max_completion_tokens': integer above 0 expected.")
        generated = generate("", texts, limit, tools=tools_in(content), schema=schema_in(content))
        return Reply(200, self.completion(model, generated))

    def embed(self, content: dict[str, Any], headers: Headers) -> Reply:
        model, asked = content.get("model"), content.get("input")
        if model not in self.embedding_models:
            return self.model_not_found(str(model))
        inputs = asked if isinstance(asked, list) and not all(isinstance(each, int) for each in asked) else [asked]
        if not all(isinstance(each, (str, list)) and len(each) for each in inputs):
            return self.bad_request("'input' has to be text, or a list of them.")
        size = content.get("dimensions")
        vectors = [vector_of(str(each), size if is_positive(size) else None) for each in inputs]
        in_base64 = content.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": as_base64(vector) if in_base64 else vector}
            for index, vector in enumerate(vectors)
        ]
        # Token ids count as one each.
        tokens = sum(len(each) if isinstance(each, list) else tokens_in(len(str(each))) for each in inputs)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Reply(200, {"object": "list", "data": rows, "model": model, "usage": usage})

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
        """The answer bit by bit, then why it ended."""
        choice = whole["choices"][0]
        message = choice["message"]
        if calls := message.get("tool_calls"):
            begun = {"index": 0, **calls[0], "function": {**calls[0]["function"], "arguments": ""}}
            told = (
                {"index": 0, "function": {"arguments": piece}} for piece in pieces(calls[0]["function"]["arguments"])
            )
            deltas = [
                {"role": "assistant", "content": None, "tool_calls": [begun]},
                *({"tool_calls": [piece]} for piece in told),
            ]
        else:
            first, *more = pieces(message["content"])
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
        message: dict[str, Any] = {"role": "assistant", "content": generated.text, "refusal": None, "annotations": []}
        reason = "length" if generated.is_cut else "stop"
        if generated.call:
            function = {"name": generated.call.name, "arguments": compact(generated.call.arguments)}
            message["content"] = None
            message["tool_calls"] = [{"id": next_id("call_"), "type": "function", "function": function}]
            reason = "tool_calls"
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}

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


def tools_in(content: dict[str, Any]) -> Tools:
    choice = content.get("tool_choice")
    named = choice.get("function") if isinstance(choice, dict) else None
    name = str(named.get("name")) if isinstance(named, dict) else ""
    return Tools(
        schemas_in(content.get("tools"), "parameters", inside="function"),
        must_call=choice == "required" or bool(name),
        may_call=choice != "none",
        named=name,
    )


def schema_in(content: dict[str, Any]) -> object:
    """What the answer has to fit, None if that was not asked for."""
    shape = content.get("response_format")
    told = shape.get("json_schema") if isinstance(shape, dict) and shape.get("type") == "json_schema" else None
    return told.get("schema") if isinstance(told, dict) else None
