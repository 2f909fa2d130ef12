"""
What the doors answer: one address for every client, whichever wire it speaks.

The base URL that clients are given is that of the installation, with or without `/v1` or `/v1beta`: what their SDKs
put before the path is left out, and so are slashes too many where they put it together. Sources: gateway reference of
the clients, run 2026-11 (openai 3.57, anthropic 2.14, google-genai 3.6, Claude Code 2.1, Codex 0.171).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote

from gateway import gen_ai_names
from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.embeddings import OPENAI_EMBEDDINGS
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.request import Request
from providers.adapters.dialects.responses import OPENAI_RESPONSES

_OURS = re.compile(r"(?:/+v1|/+v1beta)+(?:/|\Z)")
_VERSIONS = re.compile(r"(?:/+v1|/+v1beta)+(?=/|\Z)")
_GEMINI = re.compile(r"/models/(?P<model>[^/]+(?:/[^/]+)*):(?P<method>[A-Za-z]+)")
_MODEL = re.compile(r"/models/(?P<model>[^:]+)")
_RECEIPT = re.compile(r"/receipts/(?P<call>[^/]+)")
PROBES = frozenset({"/api/hello"})


class Wire(Enum):
    """Whose form requests, answers and errors have."""

    OPENAI = auto()
    ANTHROPIC = auto()
    GEMINI = auto()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where a model is called. `name` is what a provider has to speak to serve it; `path` stands after the provider's own
    base URL, "" where the request tells it. `only_counts`: tokens are counted, for nothing, and no model works.
    `operation` is what OpenTelemetry calls it.
    """

    name: str
    wire: Wire
    dialect: Dialect
    path: str = ""
    only_counts: bool = False
    operation: str = gen_ai_names.CHAT

    def path_of(self, request: Request, model: str) -> str:
        """Where `request` is sent for `model`."""
        return self.path or f"/{request.path(model=model)}"


CHAT = Endpoint("chat completions", Wire.OPENAI, OPENAI_CHAT, "/chat/completions")
RESPONSES = Endpoint("responses", Wire.OPENAI, OPENAI_RESPONSES, "/responses")
EMBEDDINGS = Endpoint("embeddings", Wire.OPENAI, OPENAI_EMBEDDINGS, "/embeddings", operation=gen_ai_names.EMBEDDINGS)
MESSAGES = Endpoint("messages", Wire.ANTHROPIC, ANTHROPIC_MESSAGES, "/messages")
COUNT_TOKENS = Endpoint("messages", Wire.ANTHROPIC, ANTHROPIC_MESSAGES, "/messages/count_tokens", only_counts=True)
GENERATE = Endpoint("generateContent", Wire.GEMINI, GEMINI, operation=gen_ai_names.GENERATE_CONTENT)
EMBED_GEMINI = Endpoint("generateContent", Wire.GEMINI, GEMINI, operation=gen_ai_names.EMBEDDINGS)
COUNT_GEMINI = Endpoint("generateContent", Wire.GEMINI, GEMINI, only_counts=True)
GEMINI_METHODS = {
    "generateContent": GENERATE,
    "streamGenerateContent": GENERATE,
    "countTokens": COUNT_GEMINI,
    "embedContent": EMBED_GEMINI,
    "batchEmbedContents": EMBED_GEMINI,
}
CALLS = {endpoint.path: endpoint for endpoint in (CHAT, RESPONSES, EMBEDDINGS, MESSAGES, COUNT_TOKENS)}


@dataclass(frozen=True, slots=True)
class Models:
    """The list of what the caller can call, or one of it."""

    model: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one call was, and what it cost."""

    call: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether anybody is there."""


Asked = Endpoint | Models | Receipt | Probe


def is_ours(method: str, path: str) -> bool:
    """Whether the doors answer this, and not the pages."""
    return _OURS.match(path) is not None or (method == "HEAD" and path in PROBES)


def asked_for(method: str, path: str) -> Asked | None:
    """What a request is for; None where there is nothing of that name."""
    if method == "HEAD":
        return Probe()
    path = "/" + _VERSIONS.sub("", path, count=1).strip("/")
    if method == "POST":
        if endpoint := CALLS.get(path):
            return endpoint
        named = _GEMINI.fullmatch(path)
        return GEMINI_METHODS.get(named["method"]) if named else None
    if method != "GET":
        return None
    if path == "/models":
        return Models()
    if named := _MODEL.fullmatch(path):
        return Models(unquote(named["model"]))
    if named := _RECEIPT.fullmatch(path):
        return Receipt(named["call"])
    return None


def wire_of(asked: Asked | None, path: str, headers: Mapping[str, str]) -> Wire:
    """The form of the answer, also of an error: by what is asked for, else by what only one wire's clients send."""
    if isinstance(asked, Endpoint):
        return asked.wire
    if "x-goog-api-key" in headers or path.startswith("/v1beta") or ":" in path:
        return Wire.GEMINI
    if "anthropic-version" in headers or path.startswith("/v1/messages"):
        return Wire.ANTHROPIC
    return Wire.OPENAI
