"""
Servers that organizations run or name themselves: Ollama, and whatever else speaks OpenAI's protocol.

Nothing of such a server is trusted to be as documented: vLLM, llama.cpp, llama-cpp-python, LiteLLM, Together, Groq
and others differ in lists and errors (read and partly run, 2026-11-21).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ListedModel, ProviderError, Verdict, get_call
from providers.adapters.error_body import ErrorBody
from providers.adapters.openai import OpenAIAdapter
from providers.adapters.reading import member, positive_or_none, read_json, rows, text_of

if TYPE_CHECKING:
    from providers.adapters.base import ChatRequest
    from providers.custody import Secret

MOST_MODELS = 5_000  # more is no list of models
CONTEXT_FIELDS = ("max_model_len", "context_window", "context_length", "max_context_length")


class CompatibleAdapter(OpenAIAdapter):
    provider_name: ClassVar[str] = "The server"
    key_page: ClassVar[str] = ""
    output_limit_field: ClassVar[str] = "max_tokens"
    may_be_open: ClassVar[bool] = True

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        """Nothing where no key was given."""
        return {"authorization": f"Bearer {key}"} if (key := secret.reveal()) else {}

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        """`data` of OpenAI's list, `models` where there is only that, or a bare array."""
        if answer.status in (404, 405):
            raise self._no_such_place(answer)
        content = read_json(answer.body)
        listed = content if answer.status == 200 and isinstance(content, list) else None
        if listed is None:
            content = self.read(answer)
            listed = content.get("data", content.get("models"))
        if not isinstance(listed, list):
            raise self.unexpected(answer)
        models = (self.listed_model(row) for row in rows(listed[:MOST_MODELS]))
        return list({model.id: model for model in models if model.id}.values())

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        model_id = text_of(row.get("id")) or text_of(row.get("model")) or text_of(row.get("name"))
        contexts = (positive_or_none(row.get(name)) for name in CONTEXT_FIELDS)
        return ListedModel(
            id=model_id,
            name=text_of(row.get("display_name")) or model_id,
            context_tokens=next((context for context in contexts if context), None),
        )

    def invalid(self) -> Verdict:
        return (
            ErrorKind.INVALID,
            "The server does not accept this key, or expects one. Ask who runs it for a key, and replace it here.",
        )

    def limited(self) -> Verdict:
        return (
            ErrorKind.LIMITED,
            "The server knows this key, but refused it this request. Ask who runs it what the key may do.",
        )

    def no_credit(self) -> Verdict:
        return (
            ErrorKind.NO_CREDIT,
            "The account behind this key has no credit left at this server. Top it up, then validate the key again.",
        )

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        if answer.status == 401:
            return self.invalid()
        if "exceed_context_size_error" in (error.type, error.code) or "context length" in error.message:
            return self.too_long()
        if answer.status == 404:
            return self.model_not_found()
        return super().classify(answer, error)

    def _no_such_place(self, answer: HttpAnswer) -> ProviderError:
        return ProviderError(
            ErrorKind.UNEXPECTED,
            "A server answers there, but lists no models at this base URL. Most base URLs end in /v1; check it.",
            http_status=answer.status,
        )


class OllamaAdapter(CompatibleAdapter):
    """Calls go over its OpenAI-compatible door, the list of models over its own. It gets no key, ever."""

    provider_name: ClassVar[str] = "Ollama"
    may_be_open: ClassVar[bool] = False

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        return {}

    def chat_call(self, base_url: str, request: ChatRequest) -> HttpCall:
        return super().chat_call(f"{base_url}/v1", request)

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{base_url}/api/tags")

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        listed = super().parse_models(answer)
        if not isinstance(member(read_json(answer.body), "models"), list):
            raise self._no_such_place(answer)
        return listed

    def invalid(self) -> Verdict:
        return (
            ErrorKind.INVALID,
            "This server asks for a key, which Ollama has none of: something guards it. Connect it on the card of "
            "OpenAI-compatible servers, with /v1 at the end of its base URL.",
        )

    def limited(self) -> Verdict:
        return self.invalid()

    def model_not_found(self) -> Verdict:
        return (
            ErrorKind.MODEL_NOT_FOUND,
            "This Ollama server does not have the model. Have it pulled there, or choose another model for the action.",
        )

    def _no_such_place(self, answer: HttpAnswer) -> ProviderError:
        return ProviderError(
            ErrorKind.UNEXPECTED,
            "A server answers there, but it is no Ollama server. Its base URL has no path: https://ollama.example.com.",
            http_status=answer.status,
        )
