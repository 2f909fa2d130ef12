"""
OpenAI's chat completions, as many speak them. Sources: OpenAI API reference, recorded streams of ten providers, checked
2026-11-28.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.adapters.counting import openai_tokens
from providers.adapters.dialects.base import Dialect, Stream, is_escaped
from providers.adapters.dialects.request import Body, Edit, Request, is_stream, limit_in, model_in
from providers.adapters.error_body import ErrorBody, error_in
from providers.adapters.exchange import Finish
from providers.adapters.reading import count_of, last_object, member, request_id_of, rows, text_of
from usage.tokens import Report

# Of all who speak this protocol, in small letters: Mistral's model_length, and what OpenRouter passes on as native.
FINISHES = {
    **dict.fromkeys(("stop", "eos", "end_turn", "stop_sequence", "completed"), Finish.STOP),
    **dict.fromkeys(
        ("length", "model_length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"), Finish.LENGTH
    ),
    **dict.fromkeys(
        (
            "content_filter", "content_filtered", "refusal", "safety", "recitation", "blocklist", "prohibited_content",
            "spii", "guardrail_intervened", "sensitive", "content-filter",
        ),
        Finish.REFUSED,
    ),
}  # fmt: skip
ASKING = '{"include_usage":true}'


class OpenAIChat(Dialect):
    finishes: ClassVar[Mapping[str, Finish]] = FINISHES

    def request(self, body: bytes, path: str = "") -> Request:
        content = Body(body)
        streams = is_stream(content)
        asks = member(content.value("stream_options"), "include_usage") is True
        return Request(
            model=(model := model_in(content)).value,
            is_stream=streams,
            most_output_tokens=limit_in(content, "max_completion_tokens", "max_tokens"),
            answers=limit_in(content, "n") or 1,
            asks_for_usage=asks,
            body=content,
            models=(model,),
            usage_edit=_asking(content) if streams and not asks else None,
        )

    def report_of(self, content: Mapping[str, Any]) -> Report:
        usage = usage_in(content)
        counted = openai_tokens(usage)
        return Report(
            usage=counted.usage,
            served_model=text_of(content.get("model")),
            service_tier=text_of(content.get("service_tier") or member(usage, "service_tier"), 40),
            finish_reason=finish_word(content),
            request_id=request_id_of(content.get("id")),
            doubt=counted.doubt,
        )

    def finish_of(self, report: Report) -> Finish:
        return FINISHES.get(report.finish_reason.lower(), Finish.OTHER)

    def error_of(self, content: Mapping[str, Any]) -> ErrorBody | None:
        """Groq keeps it in a drawer; what OpenRouter passes on has it in the choice, or says so and no more."""
        for told in (content, content.get("x_groq")):
            if member(told, "error"):
                return error_in(told)
        if member(content, "choices", 0, "finish_reason") != "error":
            return None
        return error_in({"error": member(content, "choices", 0, "error") or {"code": "error"}})

    def stream(self, *, withholds_usage: bool = False) -> OpenAIChatStream:
        return OpenAIChatStream(self, withholds_usage=withholds_usage)


def _asking(content: Body) -> Edit | None:
    """How the body comes to ask for the usage; None where what stands there is for the server to refuse."""
    options = content.get("stream_options")
    if options is None:
        return content.added("stream_options", ASKING)
    if options.value is None:
        return Edit(options.start, options.end, ASKING)
    if not isinstance(options.value, dict):
        return None
    members = content.members_at(options.start)
    if asked := dict(members).get("include_usage"):
        return Edit(asked.start, asked.end, "true")
    return Edit(options.start + 1, options.start + 1, '"include_usage":true' + ("," if members else ""))


class OpenAIChatStream(Stream):
    """
    Usage is the last that is reported: most report it once, in a chunk of its own at the end, some with each chunk,
    counting on. It is never added up.

    Complete with `[DONE]`, or where a server does not say that, with a reason to stop and the tokens.
    """

    def __init__(self, dialect: Dialect, *, withholds_usage: bool = False) -> None:
        super().__init__(dialect)
        self._withholds_usage = withholds_usage
        self._is_known = False  # who answers

    def may_tell(self, raw: bytes) -> bool:
        return (
            not self._is_known
            or _tells(raw, b'"usage"')
            or _tells(raw, b'_reason"')
            or b"error" in raw
            or b"[DONE]" in raw
            or is_escaped(raw)
        )

    def read(self, content: dict[str, Any]) -> bool:
        for name in ("id", "model", "service_tier"):
            if content.get(name):
                self.told[name] = content[name]
        self._is_known = "id" in self.told and "model" in self.told
        choices = content.get("choices")
        if finish_word(content) and count_of(member(choices, 0, "index")) == 0:
            self.told["choices"] = [{**choice, "delta": None, "message": None} for choice in rows(choices)][:1]
        usage = usage_in(content)
        counted = openai_tokens(usage).usage
        if counted and (counted.total or "usage" not in self.told):
            self.told["usage"] = usage
        if "usage" in self.told and "choices" in self.told:
            self.is_complete = True
        return self._withholds_usage and counted is not None and choices == [] and not content.get("error")

    def read_part(self, head: bytes, tail: bytes) -> None:
        usage = last_object(tail, b"usage")
        if openai_tokens(usage).usage:
            self.told["usage"] = usage


def _tells(raw: bytes, name: bytes) -> bool:
    """Whether a member of this name, or whose name ends so, is there and not null."""
    found = raw.count(name)
    return found > 0 and found != raw.count(name + b":null") and found != raw.count(name + b": null")


def usage_in(content: Mapping[str, Any]) -> Any:
    """Groq keeps it in a drawer of its own, Moonshot in the choice."""
    places = (content.get("usage"), member(content, "x_groq", "usage"), member(content, "choices", 0, "usage"))
    return next(filter(None, places), None)


def finish_word(content: object) -> str:
    """
    Why the answer ended, in the provider's word; the native one where that says more (OpenRouter normalizes, Ollama's
    and vLLM's own fields have other names).
    """
    choice = member(content, "choices", 0)
    told = (
        member(choice, "finish_reason"),
        member(choice, "native_finish_reason"),
        member(choice, "stop_reason"),
        member(content, "done_reason"),
    )
    words = [text_of(word, 40) for word in told if word]
    telling = (word for word in words if FINISHES.get(word.lower()) in (Finish.LENGTH, Finish.REFUSED))
    return next(telling, next(filter(None, words), ""))


OPENAI_CHAT = OpenAIChat()
