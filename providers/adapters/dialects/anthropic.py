"""Anthropic's Messages. Sources: Anthropic API reference, anthropic 2.14.0, recorded streams, checked 2026-11-28."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.adapters.counting import anthropic_tokens
from providers.adapters.dialects.base import Dialect, Stream, is_escaped
from providers.adapters.dialects.request import Body, Request, is_stream, limit_in, model_in
from providers.adapters.exchange import Finish
from providers.adapters.reading import member, request_id_of, text_of
from usage.tokens import Report

FINISHES = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "refusal": Finish.REFUSED,
}
# Tier, speed and region at the standard price.
USUAL_TERMS = frozenset({"", "standard", "global", "not_available"})


class AnthropicMessages(Dialect):
    """Also the counting of tokens, whose body is the same without a limit."""

    finishes: ClassVar[Mapping[str, Finish]] = FINISHES

    def request(self, body: bytes, path: str = "") -> Request:
        """The usage of a stream needs no asking."""
        content = Body(body)
        return Request(
            model=(model := model_in(content)).value,
            is_stream=is_stream(content),
            most_output_tokens=limit_in(content, "max_tokens"),
            body=content,
            models=(model,),
        )

    def report_of(self, content: Mapping[str, Any]) -> Report:
        usage = content.get("usage")
        counted = anthropic_tokens(usage)
        terms = [text_of(member(usage, name), 40) for name in ("service_tier", "speed", "inference_geo")]
        return Report(
            usage=counted.usage,
            served_model=text_of(content.get("model")),
            # Speed and region change the price as the tier does.
            service_tier=" ".join(term for term in terms if term not in USUAL_TERMS) or terms[0],
            finish_reason=text_of(content.get("stop_reason"), 40),
            request_id=request_id_of(content.get("id")),
            doubt=counted.doubt,
        )

    def stream(self, *, withholds_usage: bool = False) -> AnthropicStream:
        return AnthropicStream(self)


class AnthropicStream(Stream):
    """
    The first event counts the input and begins to count the output, a later one counts on: a count that comes again is
    the same count, grown, and replaces the one before. Some servers repeat a count as zero, which is none.
    """

    def may_tell(self, raw: bytes) -> bool:
        return b"message_" in raw or b"error" in raw or is_escaped(raw)

    def read(self, content: dict[str, Any]) -> bool:
        match content.get("type"):
            case "message_start":
                message = content.get("message")
                self._take(message, ("id", "model", "stop_reason"))
                self._count(member(message, "usage"))
            case "message_delta":
                self._take(content.get("delta"), ("stop_reason",))
                self._count(content.get("usage"))
            case "message_stop":
                self.is_complete = True
        return False

    def _take(self, source: object, names: tuple[str, ...]) -> None:
        self.told |= {name: value for name in names if (value := member(source, name))}

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict):
            self.told["usage"] = _counted_on(self.told.get("usage", {}), usage)

    def read_part(self, head: bytes, tail: bytes) -> None:
        """What is long is what the model wrote."""


def _counted_on(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    counted = dict(known)
    for name, value in more.items():
        before = known.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            counted[name] = {**before, **{part: count for part, count in value.items() if count or part not in before}}
        elif value or before is None:
            counted[name] = value
    return counted


ANTHROPIC_MESSAGES = AnthropicMessages()
