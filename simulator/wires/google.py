"""Google's Gemini API, and a server that is compatible with it, as the simulator speaks them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from simulator.answers import tokens_in
from simulator.streams import Event, Streamed, compact, pieces, sse
from simulator.tools import Tools
from simulator.vectors import vector_of
from simulator.wires.base import (
    Generated,
    Headers,
    KeyState,
    Reply,
    Wire,
    generate,
    is_positive,
    next_id,
    text_in,
)

CAPITAL = re.compile(r"[A-Z]")
STATUSES = {500: "INTERNAL", 504: "DEADLINE_EXCEEDED"}


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
                return self.error(403, "PERMISSION_DENIED", "The caller does not have permission")
            case KeyState.OVERLOADED:
                return self.error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
        if not key:
            return self.error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        said = "API key not valid. Please pass a valid API key."
        return self.error(400, "INVALID_ARGUMENT", said, self.reason("API_KEY_INVALID"))

    def failure(self, status: int) -> Reply:
        return self.error(status, STATUSES.get(status, "UNAVAILABLE"), "An internal error has occurred. Please retry.")

    def spent(self) -> Reply:
        return self.error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.")

    @staticmethod
    def reason(reason: str) -> dict[str, Any]:
        return {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
        }

    def bad_request(self, message: str) -> Reply:
        return self.error(400, "INVALID_ARGUMENT", message)

    def not_found(self, message: str) -> Reply:
        return self.error(404, "NOT_FOUND", message)

    def chat(self, content: dict[str, Any], headers: Headers) -> Reply:
        """`content` is the body with the address's model added as "model"."""
        model, contents = content["model"], content.get("contents")
        if model not in self.models:
            return self.model_not_found(model, "generateContent")
        if not isinstance(contents, list) or not contents or not all(isinstance(row, dict) for row in contents):
            return self.bad_request("* GenerateContentRequest.contents: contents is not specified")
        settings = told(content, "generationConfig")
        limit = told(settings, "maxOutputTokens", 65_536)
        if not is_positive(limit):
            return self.bad_request("max_output_tokens must be positive.")
        system = told(content, "systemInstruction")
        texts = [(row.get("role", "user") == "user", text_in(row.get("parts"))) for row in contents]
        generated = generate(
            text_in(system.get("parts")) if isinstance(system, dict) else "",
            texts,
            limit,
            tools=tools_in(content),
            schema=schema_in(settings),
        )
        return Reply(
            200,
            {
                "candidates": [
                    {
                        "content": {"parts": [part_of(generated)], "role": "model"},
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

    def count(self, content: dict[str, Any], headers: Headers) -> Reply:
        """Of the contents, or of a whole request that is handed over."""
        model = content["model"]
        if model not in self.models:
            return self.model_not_found(model, "countTokens")
        handed_over = told(content, "generateContentRequest")
        contents = (handed_over if isinstance(handed_over, dict) else content).get("contents")
        if not isinstance(contents, list) or not all(isinstance(row, dict) for row in contents):
            return self.bad_request("* CountTokensRequest.contents: contents is not specified")
        tokens = tokens_in(sum(len(text_in(row.get("parts"))) for row in contents))
        details = [{"modality": "TEXT", "tokenCount": tokens}]
        return Reply(200, {"totalTokens": tokens, "promptTokensDetails": details})

    def embed(self, content: dict[str, Any], headers: Headers) -> Reply:
        """One content as one vector, or each of a list of requests."""
        model, several = content["model"], content.get("requests")
        if model not in self.embedding_models:
            return self.model_not_found(model, "embedContent")
        requests = several if isinstance(several, list) else [content]
        if not requests or not all(isinstance(row, dict) and isinstance(row.get("content"), dict) for row in requests):
            return self.bad_request("* EmbedContentRequest.content: contents is not specified")
        texts = [text_in(row["content"].get("parts")) for row in requests]
        sizes = [told(row, "outputDimensionality") for row in requests]
        vectors = [
            {"values": vector_of(text, size if is_positive(size) else None)}
            for text, size in zip(texts, sizes, strict=True)
        ]
        usage = {"promptTokenCount": tokens_in(sum(map(len, texts)))}
        embedded = {"embeddings": vectors} if several else {"embedding": vectors[0]}
        return Reply(200, {**embedded, "usageMetadata": usage})

    def model_not_found(self, model: str, method: str) -> Reply:
        return self.not_found(
            f"models/{model} is not found for API version v1beta, or is not supported for {method}. Call "
            "ModelService.ListModels to see the list of available models and their supported methods."
        )

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """As events for those who ask for them (`alt=sse`), else as one array. Every event counts what came so far."""
        candidate, usage = whole["candidates"][0], whole.get("usageMetadata")
        part = candidate["content"]["parts"][0]
        parts = [{"text": piece} for piece in pieces(part["text"])] if "text" in part else [part]
        if len(parts) == 1:
            parts.append({"text": ""})
        elements = []
        for number, part in enumerate(parts, start=1):
            chosen: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
            if number == len(parts):
                chosen["finishReason"] = candidate["finishReason"]
            element = {**whole, "candidates": [chosen]}
            if usage:
                written = usage["candidatesTokenCount"] * number // len(parts)
                total = usage["promptTokenCount"] + written
                element["usageMetadata"] = {**usage, "candidatesTokenCount": written, "totalTokenCount": total}
            elements.append(element)
        error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
        if content.get("alt") == "sse":
            raws = [sse(element).replace(b"\n", b"\r\n") for element in elements]
            return Streamed([*(Event(raw) for raw in raws[:-1]), Event(raws[-1], reports=True)], sse(error))
        raws = [compact(element).encode() for element in elements]
        raws = [(b",\r\n" if number else b"[") + raw for number, raw in enumerate(raws)]
        events = [*(Event(raw) for raw in raws[:-1]), Event(raws[-1], reports=True), Event(b"\n]")]
        return Streamed(events, b",\r\n" + compact(error).encode() + b"\n]", "application/json")

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


class GeminiCompatibleWire(GoogleWire):
    slug: ClassVar[str] = "gemini_compatible"


def part_of(generated: Generated) -> dict[str, Any]:
    if generated.call:
        return {"functionCall": {"name": generated.call.name, "args": generated.call.arguments}}
    return {"text": generated.text}


def tools_in(content: dict[str, Any]) -> Tools:
    rows = content.get("tools")
    lists = [told(row, "functionDeclarations") for row in rows] if isinstance(rows, list) else []
    declared = [tool for each in lists if isinstance(each, list) for tool in each]
    calling = told(told(content, "toolConfig"), "functionCallingConfig")
    allowed = told(calling, "allowedFunctionNames")
    mode = told(calling, "mode")
    return Tools(
        {
            str(tool["name"]): told(tool, "parameters") or told(tool, "parametersJsonSchema") or {}
            for tool in declared
            if isinstance(tool, dict) and "name" in tool
        },
        must_call=mode == "ANY",
        may_call=mode != "NONE",
        named=str(allowed[0]) if isinstance(allowed, list) and allowed else "",
    )


def schema_in(settings: object) -> object:
    """What the answer has to fit, None if that was not asked for; a schema is written in one of two ways."""
    return told(settings, "responseJsonSchema") or told(settings, "responseSchema")


def told(content: object, name: str, otherwise: Any = None) -> Any:
    """A field by its name or as it is called in snake case: Google takes both, and its own SDK mixes them."""
    if not isinstance(content, dict):
        return otherwise
    return content.get(name, content.get(CAPITAL.sub(lambda sign: f"_{sign[0].lower()}", name), otherwise))
