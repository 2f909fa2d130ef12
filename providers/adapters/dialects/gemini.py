"""
Gemini's generateContent and its stream, as events (`alt=sse`) or as one JSON array. Sources: Gemini API reference,
google-genai 3.6.1, recorded streams, checked 2026-11-28.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote

from providers.adapters.counting import GOOGLE_COUNTS, google_tokens
from providers.adapters.dialects.base import BYTE_ORDER_MARK, Dialect, Stream, is_escaped
from providers.adapters.dialects.events import ElementCutter, element_in, events_in, fields_of
from providers.adapters.dialects.request import BadBody, Body, Member, Request, limit_in
from providers.adapters.exchange import Finish
from providers.adapters.reading import count_or_none, last_object, member, request_id_of, rows, text_of
from usage.tokens import Doubt, Report

# Gemini API reference, FinishReason. What is about the text is a refusal; the rest says nothing that we can use.
FINISHES = {
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
            "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
        ),
        Finish.REFUSED,
    ),
}  # fmt: skip
STREAM = "streamGenerateContent"
KEPT = ("responseId", "modelVersion", "promptFeedback")
MARKS = (b"finishReason", b"promptFeedback", b"groundingMetadata", b"error")

_COUNTS = re.compile(rb'"(?:promptTokenCount|candidatesTokenCount)"\s*:\s*\d')
# A model may be named with a slash, which Google's own client leaves as it is: "models/google/gemini-4".
_PATH = re.compile(r"(?:\A|/)models/(?P<model>[^:?]+):(?P<method>[A-Za-z]+)(?:\?(?P<query>.*))?\Z")
_FINISH = re.compile(rb'"finishReason"\s*:\s*"([A-Z_]{1,40})"')


@dataclass(frozen=True, slots=True)
class GeminiRequest(Request):
    method: str = ""
    is_sse: bool = False

    def path(self, *, model: str) -> str:
        """Of the query only `alt=sse` is kept: a client's key can stand there."""
        name = quote(model.removeprefix("models/"), safe="")
        return f"models/{name}:{self.method}{'?alt=sse' if self.is_sse else ''}"


class Gemini(Dialect):
    """The model stands in the path; where a body names it as well, it is exchanged there too."""

    finishes: ClassVar[Mapping[str, Finish]] = FINISHES
    usage_name: ClassVar[str] = "usageMetadata"

    def request(self, body: bytes, path: str = "") -> GeminiRequest:
        """`path` is that of the method, with its query. The usage of a stream needs no asking."""
        content = Body(body)
        asked = _PATH.search(path)
        if asked is None:
            raise BadBody("missing", "model")
        settings = content.value("generationConfig", "generation_config")
        settings = settings if isinstance(settings, dict) else {}
        return GeminiRequest(
            model=unquote(asked["model"]),
            is_stream=asked["method"] == STREAM,
            most_output_tokens=limit_in(settings, "maxOutputTokens", "max_output_tokens"),
            answers=limit_in(settings, "candidateCount", "candidate_count") or 1,
            body=content,
            models=_models_in(content),
            method=asked["method"],
            is_sse="sse" in parse_qs(asked["query"] or "").get("alt", ()),
        )

    def report_of(self, content: Mapping[str, Any]) -> Report:
        blocked = member(content, "promptFeedback", "blockReason")
        usage = content.get("usageMetadata")
        counted = google_tokens(usage)
        searched = member(content, "candidates", 0, "groundingMetadata", "webSearchQueries")
        tier = member(usage, "serviceTier") or member(usage, "trafficType")  # the latter where Vertex answers
        return Report(
            usage=counted.usage,
            served_model=text_of(content.get("modelVersion")),
            service_tier=text_of(tier, 40),
            finish_reason=text_of(member(content, "candidates", 0, "finishReason") or blocked, 40),
            request_id=request_id_of(content.get("responseId")),
            doubt=counted.doubt or (Doubt.EXTRAS if searched else None),
        )

    def whole(self, content: object) -> dict[str, Any] | None:
        """The elements of a streamed answer put together; the last that counts tokens counts them all."""
        if not isinstance(content, list) or len(content) < 2:
            return super().whole(content)
        stream = self.stream()
        parts: list[Any] = []
        for row in rows(content):
            stream.read(row)
            parts += rows(member(row, "candidates", 0, "content", "parts"))
            if row.get("error"):
                stream.told.setdefault("error", row["error"])
        candidate = {**(member(stream.answer, "candidates", 0) or {}), "content": {"parts": parts}}
        return {**stream.answer, "candidates": [candidate]} if parts else stream.answer

    def stream(self, *, withholds_usage: bool = False) -> GeminiStream:
        return GeminiStream(self)


def _models_in(content: Body) -> tuple[Member, ...]:
    """Where the body names the model: of itself, of the parts of a batch, of the request whose tokens are counted."""
    found = [content.get("model")]
    for name in ("generateContentRequest", "generate_content_request"):
        inner = content.get(name)
        if inner and isinstance(inner.value, dict):
            found.append(dict(content.members_at(inner.start)).get("model"))
    batch = content.get("requests")
    if batch and isinstance(batch.value, list):
        for element in content.elements_at(batch.start):
            if isinstance(element.value, dict):
                found.append(dict(content.members_at(element.start)).get("model"))
    return tuple(model for model in found if model and isinstance(model.value, str))


class GeminiStream(Stream):
    """
    Each event counts all tokens so far, so the last count is the whole. Complete with a reason to finish, or to block
    the prompt, or with the end of the array.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._has_begun = False
        self._elements: ElementCutter | None = None  # where the answer is no stream of events
        self._aside = b""  # the last event that counted tokens, and told nothing else

    def feed(self, data: bytes) -> list[bytes]:
        before: list[bytes] = []
        if not self._has_begun:
            text = data.lstrip(BYTE_ORDER_MARK + b" \t\r\n")
            if not text:
                return [data] if data else []
            self._has_begun = True
            if text[:1] in b"[{":
                self._cutter = self._elements = ElementCutter()
            before, data = [data[: len(data) - len(text)]] if text != data else [], text
        chunks = super().feed(data)
        if self._elements and self._elements.has_ended:
            self.is_complete = True
        return before + chunks

    def _whole(self, raw: bytes) -> bytes:
        if self._elements is None:
            return super()._whole(raw)
        if (element := element_in(raw)) and self.may_tell(element):
            self.read_data(element)
        return raw

    @property
    def answer(self) -> dict[str, Any]:
        if aside := self._aside:
            self._aside = b""
            elements = [aside] if self._elements else [fields_of(event)[1] for event in events_in(aside)]
            for element in elements:
                self.read_data(element_in(element))
        return self.told

    def may_tell(self, raw: bytes) -> bool:
        """Nearly every event counts tokens, which is of interest only in the last one: until then it is put aside."""
        if "modelVersion" not in self.told or any(mark in raw for mark in MARKS) or is_escaped(raw):
            return True
        if _COUNTS.search(raw):
            self._aside = raw
        return False

    def read(self, content: dict[str, Any]) -> bool:
        for name in KEPT:
            if content.get(name):
                self.told[name] = content[name]
        usage = content.get("usageMetadata")
        if any(count_or_none(member(usage, name)) is not None for name in GOOGLE_COUNTS):
            self.told["usageMetadata"] = usage
            self._aside = b""
        candidate = member(content, "candidates", 0)
        told = {name: found for name in ("finishReason", "groundingMetadata") if (found := member(candidate, name))}
        if told:
            self.told["candidates"] = [{**(member(self.told, "candidates", 0) or {}), **told}]
        if member(candidate, "finishReason") or member(content, "promptFeedback", "blockReason"):
            self.is_complete = True
        return False

    def read_part(self, head: bytes, tail: bytes) -> None:
        """An event with a picture in it is long; what it says of itself stands after that."""
        told: dict[str, Any] = {}
        if usage := last_object(tail, b"usageMetadata"):
            told["usageMetadata"] = usage
        if finish := _FINISH.findall(tail):
            told["candidates"] = [{"finishReason": finish[-1].decode()}]
        self.read(told)


GEMINI = Gemini()
