"""OpenAI's Responses. Sources: OpenAI API reference, openai 3.57.0, recorded streams, checked 2026-11-28."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar

from providers.adapters.counting import openai_tokens
from providers.adapters.dialects.base import Dialect, Stream, is_escaped
from providers.adapters.dialects.openai import FINISHES
from providers.adapters.dialects.request import Body, Request, is_stream, limit_in, model_in
from providers.adapters.error_body import ErrorBody, error_in
from providers.adapters.exchange import Finish
from providers.adapters.reading import last_object, member, request_id_of, rows, text_of
from usage.tokens import Doubt, Report

# The events that end a stream, each with the whole response in it.
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
ADDED = "response.output_item.added"
ADDED_BYTES = ADDED.encode()
# The tools that OpenAI runs itself and charges for by their use.
CHARGED = frozenset({"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"})
KEPT = ("id", "model", "status", "service_tier", "usage", "incomplete_details", "error", "store")
MOST_ITEMS = 1_000  # of one response whose ids are noted
_TYPE = re.compile(rb'"(response\.(?:completed|incomplete|failed|cancelled))"')


class OpenAIResponses(Dialect):
    finishes: ClassVar[Mapping[str, Finish]] = FINISHES

    def request(self, body: bytes, path: str = "") -> Request:
        """The usage of a stream needs no asking."""
        content = Body(body)
        return Request(
            model=(model := model_in(content)).value,
            is_stream=is_stream(content),
            most_output_tokens=limit_in(content, "max_output_tokens"),
            body=content,
            models=(model,),
        )

    def report_of(self, content: Mapping[str, Any]) -> Report:
        counted = openai_tokens(content.get("usage"))
        is_charged = any(text_of(item.get("type")) in CHARGED for item in rows(content.get("output")))
        reason = member(content, "incomplete_details", "reason")
        return Report(
            usage=counted.usage,
            served_model=text_of(content.get("model")),
            service_tier=text_of(content.get("service_tier"), 40),
            finish_reason=text_of(reason, 40) or text_of(content.get("status"), 40),
            request_id=request_id_of(content.get("id")),
            doubt=counted.doubt or (Doubt.EXTRAS if is_charged else None),
        )

    def stored_ids(self, content: Mapping[str, Any]) -> list[str]:
        if content.get("store") is False:
            return []
        items = islice(rows(content.get("output")), MOST_ITEMS)
        named = (content.get("id"), *(item.get("id") for item in items))
        return [each for each in named if isinstance(each, str) and each]

    def stream(self, *, withholds_usage: bool = False) -> OpenAIResponsesStream:
        return OpenAIResponsesStream(self)


class OpenAIResponsesStream(Stream):
    """
    Everything that counts stands in the response that the last event holds; ids of items before it, too, as that may be
    too long to be held.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._begun: list[dict[str, Any]] = []

    @property
    def stored_ids(self) -> list[str]:
        items = [*rows(self.told.get("output")), *self._begun]
        return list(dict.fromkeys(self.dialect.stored_ids({**self.told, "output": items})))

    def may_tell(self, raw: bytes) -> bool:
        return (
            not self.told
            or ADDED_BYTES in raw
            or b'"response.completed"' in raw
            or b'"response.incomplete"' in raw
            or b'"response.failed"' in raw
            or b'"response.cancelled"' in raw
            or b"error" in raw
            or is_escaped(raw)
        )

    def read(self, content: dict[str, Any]) -> bool:
        kind, response = text_of(content.get("type")), content.get("response")
        if kind == "error" and self.error is None:
            self.error = error_in(content)
        if isinstance(response, dict) and (kind in ENDS or not self.is_complete):
            self.told |= {name: response[name] for name in KEPT if response.get(name) is not None}
            if output := [_named(item) for item in rows(response.get("output"))]:
                self.told["output"] = output
            if self.error is None:
                self.error = self._error_of(response)
        elif kind == ADDED and isinstance(item := content.get("item"), dict) and len(self._begun) < MOST_ITEMS:
            self._begun.append(_named(item))
        self.is_complete = self.is_complete or kind in ENDS
        return False

    def _error_of(self, response: dict[str, Any]) -> ErrorBody | None:
        if response.get("status") != "failed":
            return self.dialect.error_of(response)
        return error_in({"error": response.get("error") or {"code": "failed"}})

    def read_part(self, head: bytes, tail: bytes) -> None:
        """A response too long to be held: its type stands at the front, its usage near the end."""
        if kind := _TYPE.search(head):
            self.is_complete = True
            self.told["status"] = kind[1].decode().removeprefix("response.")
            if usage := last_object(tail, b"usage"):
                self.told["usage"] = usage


def _named(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item.get(name) for name in ("id", "type")}


OPENAI_RESPONSES = OpenAIResponses()
