"""Google's generateContent, as the simulator speaks it."""

from __future__ import annotations

from typing import Any, ClassVar

from simulator.streams import Event, Streamed, compact, pieces, sse
from simulator.wires.base import (
    Headers,
    KeyState,
    Reply,
    Wire,
    generate,
    is_positive,
    next_id,
    text_in,
)


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
            return self.not_found(
                f"models/{model} is not found for API version v1beta, or is not supported for "
                "generateContent. Call ModelService.ListModels to see the list of available models and "
                "their supported methods."
            )
        if not isinstance(contents, list) or not contents or not all(isinstance(row, dict) for row in contents):
            return self.bad_request("* GenerateContentRequest.contents: contents is not specified")
        settings = content.get("generationConfig")
        limit = settings.get("maxOutputTokens", 65_536) if isinstance(settings, dict) else 65_536
        if not is_positive(limit):
            return self.bad_request("max_output_tokens must be positive.")
        system = content.get("systemInstruction")
        texts = [(row.get("role", "user") == "user", text_in(row.get("parts"))) for row in contents]
        generated = generate(text_in(system.get("parts")) if isinstance(system, dict) else "", texts, limit)
        return Reply(
            200,
            {
                "candidates": [
                    {
                        "content": {"parts": [{"text": generated.text}], "role": "model"},
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

    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """As events for those who ask for them (`alt=sse`), else as one array. Every event counts what came so far."""
        candidate, usage = whole["candidates"][0], whole.get("usageMetadata")
        texts = pieces(candidate["content"]["parts"][0]["text"])
        elements = []
        for number, text in enumerate(texts, start=1):
            told: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
            if number == len(texts):
                told["finishReason"] = candidate["finishReason"]
            element = {**whole, "candidates": [told]}
            if usage:
                written = usage["candidatesTokenCount"] * number // len(texts)
                total = usage["promptTokenCount"] + written
                element["usageMetadata"] = {**usage, "candidatesTokenCount": written, "totalTokenCount": total}
            elements.append(element)
        error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
        if content.get("alt") == "sse":
            raws = [sse(element).replace(b"\n", b"\r\n") for element in elements]
            return Streamed([*(Event(raw) for raw in raws[:-1]), Event(raws[-1], reports=True)], sse(error))
        raws = [compact(element).encode() for element in elements]
        parts = [(b",\r\n" if number else b"[") + raw for number, raw in enumerate(raws)]
        events = [*(Event(raw) for raw in parts[:-1]), Event(parts[-1], reports=len(parts) > 1), Event(b"\n]")]
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
