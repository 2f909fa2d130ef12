"""
Servers that organizations run or name themselves: Ollama, and whatever else speaks OpenAI's, Anthropic's or Gemini's
protocol.

Nothing of such a server is trusted to be as documented: vLLM, llama.cpp, llama-cpp-python, LiteLLM, Together, Groq,
DeepSeek and others differ in lists and errors (read and partly run, 2026-11-21 and 2026-11-28).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from providers.adapters.anthropic import AnthropicAdapter
from providers.adapters.base import (
    Adapter,
    ErrorKind,
    HttpAnswer,
    HttpCall,
    ListedModel,
    NoModelList,
    ProviderError,
    Verdict,
    get_call,
)
from providers.adapters.error_body import ErrorBody
from providers.adapters.google import GoogleAdapter
from providers.adapters.openai import OpenAIAdapter
from providers.adapters.reading import member, positive_or_none, read_json, text_of
from providers.adapters.reasons import Reason, reason
from usage.tokens import Report

if TYPE_CHECKING:
    from providers.adapters.secret import Secret

CLOUD = re.compile(r"\bsigned in to ollama\b|\brequires a subscription\b")
CONTEXT_FIELDS = (
    "max_model_len", "context_window", "context_length", "max_context_length", "max_input_tokens", "inputTokenLimit",
)  # fmt: skip
# What ends a base URL that says which version of Gemini's API it is, Vertex's own among them.
VERSION = re.compile(r"/v\d+(?:alpha|beta)?\d*(?:/publishers/[^/]+)?$")


class NamedServer(Adapter):
    """What all such servers have in common, whatever protocol they speak."""

    provider_name: ClassVar[str] = "The server"
    key_page: ClassVar[str] = ""
    may_be_open: ClassVar[bool] = True
    may_list_nothing: ClassVar[bool] = True
    # What is said where no API or no list of models is at the base URL.
    no_api: ClassVar[Reason]
    no_list: ClassVar[Reason] = reason("server.lists_no_models")

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        """`data` of OpenAI's and Anthropic's list, `models` where there is only that, or a bare array."""
        models = (self.listed_model(row) for row in self.model_rows(answer, "data", "models") if self.can_chat(row))
        return list({model.id: model for model in models if model.id}.values())

    def can_chat(self, row: dict[str, Any]) -> bool:
        """Whether a model is one to chat with, as far as the list tells."""
        return True

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        model_id = text_of(row.get("id")) or text_of(row.get("model")) or text_of(row.get("name"))
        contexts = (positive_or_none(row.get(name)) for name in CONTEXT_FIELDS)
        return ListedModel(
            id=model_id,
            name=text_of(row.get("display_name")) or text_of(row.get("displayName")) or model_id,
            context_tokens=next((context for context in contexts if context), None),
        )

    def invalid(self) -> Verdict:
        return Verdict(ErrorKind.INVALID, reason("server.invalid"))

    def account_closed(self) -> Verdict:
        return Verdict(ErrorKind.INVALID, reason("server.account_closed"))

    def limited(self) -> Verdict:
        return Verdict(ErrorKind.LIMITED, reason("server.limited"))

    def no_credit(self) -> Verdict:
        return Verdict(ErrorKind.NO_CREDIT, reason("server.no_credit"))

    def server_verdict(self, answer: HttpAnswer, error: ErrorBody) -> Verdict | None:
        """What an error means on any of these servers, None where that is for the protocol to say."""
        if "litellm.authenticationerror" in error.message or "litellm.permissiondeniederror" in error.message:
            return self._refused_behind_it()
        if "unexpected endpoint or method" in error.message:  # LM Studio, with HTTP 200
            return self.wrong_base_url()
        status = self.status_of(answer, error)
        if verdict := self.common_verdict(status, answer, error):
            return verdict
        if status == 401:
            return self.invalid()
        if status in (404, 405):
            is_about_model = error.param == "model" or "model" in error.message
            return self.model_not_found() if is_about_model else self.wrong_base_url()
        return None

    def verdict_without_body(self, answer: HttpAnswer) -> Verdict:
        return self.wrong_base_url() if answer.status in (404, 405) else super().verdict_without_body(answer)

    def unexpected(self, answer: HttpAnswer, report: Report | None = None) -> ProviderError:
        """Most often a web page, where an API should be, as the base URL lacks its path: no model worked on that."""
        verdict = self.wrong_base_url()
        return ProviderError(
            verdict.kind,
            verdict.reason,
            http_status=answer.status,
            report=report or Report(request_id=self.request_id(answer)),
            may_have_run=200 <= answer.status < 300 and not _is_web_page(answer),
        )

    def no_model_list(self, answer: HttpAnswer) -> NoModelList:
        return NoModelList(ErrorKind.UNEXPECTED, self.no_list, http_status=answer.status)

    def wrong_base_url(self) -> Verdict:
        return Verdict(ErrorKind.UNEXPECTED, self.no_api)

    def _refused_behind_it(self) -> Verdict:
        return Verdict(ErrorKind.UNEXPECTED, reason("server.upstream"))


class CompatibleAdapter(NamedServer, OpenAIAdapter):
    no_api: ClassVar[Reason] = reason("server.wrong_base_url")
    no_list: ClassVar[Reason] = reason("server.no_model_list")
    output_limit_field: ClassVar[str] = "max_tokens"

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        """Nothing where no key was given."""
        return {"authorization": f"Bearer {key}"} if (key := secret.reveal()) else {}

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        return self.server_verdict(answer, error) or super().classify(answer, error)


class AnthropicCompatibleAdapter(NamedServer, AnthropicAdapter):
    """Named as for Anthropic's own clients, which put /v1 behind the base URL."""

    no_api: ClassVar[Reason] = reason("server.wrong_base_url.anthropic")

    def root(self, base_url: str) -> str:
        return f"{base_url}/v1"

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        """
        Both headers that Anthropic's clients know, as Claude Code sends both: vLLM up to 0.26 reads only the second
        (its issue 51572), DeepSeek documents only the first, LiteLLM and llama.cpp take either.
        """
        return {"x-api-key": key, "authorization": f"Bearer {key}"} if (key := secret.reveal()) else {}

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        return self.server_verdict(answer, error) or super().classify(answer, error)


class GeminiCompatibleAdapter(NamedServer, GoogleAdapter):
    """Named as for Google's own clients, which put the version of the API behind the base URL, or with a version."""

    no_api: ClassVar[Reason] = reason("server.wrong_base_url.gemini")

    def root(self, base_url: str) -> str:
        return base_url if VERSION.search(base_url) else f"{base_url}/v1beta"

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        """One header, as Google's clients: a proxy may hand it on, and Google takes a Bearer for an access token."""
        return {"x-goog-api-key": key} if (key := secret.reveal()) else {}

    def can_chat(self, row: dict[str, Any]) -> bool:
        return "generateContent" in (row.get("supportedGenerationMethods") or ["generateContent"])

    def listed_model(self, row: dict[str, Any]) -> ListedModel:
        model = super().listed_model(row)
        own_id = model.id.removeprefix("models/")
        return replace(model, id=own_id, name=own_id if model.name == model.id else model.name)

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        if verdict := self.server_verdict(answer, error):
            return verdict
        return self.limited() if self.status_of(answer, error) == 403 else super().classify(answer, error)


class OllamaAdapter(CompatibleAdapter):
    """Calls go over its OpenAI-compatible door, the list of models over its own. It gets no key, ever."""

    provider_name: ClassVar[str] = "Ollama"
    no_api: ClassVar[Reason] = reason("ollama.wrong_base_url")
    no_list: ClassVar[Reason] = reason("ollama.no_model_list")
    may_be_open: ClassVar[bool] = False

    def credential_headers(self, secret: Secret) -> dict[str, str]:
        return {}

    def root(self, base_url: str) -> str:
        return f"{base_url}/v1"

    def models_call(self, base_url: str) -> HttpCall:
        return get_call(f"{base_url}/api/tags")

    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]:
        """Its own list only: with that of another server under the same path, chats would go astray."""
        listed = super().parse_models(answer)
        if not isinstance(member(read_json(answer.body), "models"), list):
            raise self.no_model_list(answer)
        return listed

    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        """Models that run in Ollama's cloud are refused by it, while the server and its own models are fine."""
        in_cloud = member(read_json(answer.body), "signin_url") or CLOUD.search(error.message)
        if answer.status in (401, 402, 403) and in_cloud:
            return Verdict(ErrorKind.LIMITED, reason("ollama.cloud"))
        return super().classify(answer, error)

    def invalid(self) -> Verdict:
        return Verdict(ErrorKind.INVALID, reason("ollama.guarded"))

    def limited(self) -> Verdict:
        return self.invalid()

    def model_not_found(self) -> Verdict:
        return Verdict(ErrorKind.MODEL_NOT_FOUND, reason("ollama.model_not_found"))

    def empty_model_list(self) -> NoModelList:
        return NoModelList(ErrorKind.UNEXPECTED, reason("ollama.no_model"))


def _is_web_page(answer: HttpAnswer) -> bool:
    return answer.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
