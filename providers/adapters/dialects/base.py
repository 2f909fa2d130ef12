"""What every dialect has in common: reading whole answers, and following a stream without holding it up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from providers.adapters.dialects.events import (
    MOST_EVENT_BYTES,
    Cutter,
    EventCutter,
    Kind,
    events_in,
    fields_of,
)
from providers.adapters.dialects.request import Request
from providers.adapters.error_body import ErrorBody, error_in
from providers.adapters.exchange import Finish
from providers.adapters.reading import last_object, read_json
from usage.tokens import Doubt, Report, TokenUsage

# What is kept of an event that is too long to be held: enough to tell what it is, and how many tokens it reports.
HEAD_BYTES = 4 * 1024
TAIL_BYTES = 64 * 1024

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a whole answer says of itself; `error` is None where it is none."""

    report: Report
    finish: Finish
    error: ErrorBody | None


class Dialect(ABC):
    """One language. It knows no provider: what a provider makes of it (keys, errors, prices) is its adapter's."""

    finishes: ClassVar[Mapping[str, Finish]] = {}
    usage_name: ClassVar[str] = "usage"  # of the object that counts the tokens

    @abstractmethod
    def request(self, body: bytes, path: str = "") -> Request:
        """What `body`, sent to `path` (with its query), asks for. Raises BadBody where that cannot be told."""

    @abstractmethod
    def report_of(self, content: Mapping[str, Any]) -> Report:
        """What a parsed answer says of itself, as far as it does."""

    @abstractmethod
    def stream(self, *, withholds_usage: bool = False) -> Stream:
        """To follow one streamed answer. `withholds_usage`: we asked for it in the client's place, so it gets none."""

    def stored_ids(self, content: Mapping[str, Any]) -> list[str]:
        """By which a later request may name a parsed answer and parts of it, as far as the provider keeps it."""
        return []

    def finish_of(self, report: Report) -> Finish:
        return self.finishes.get(report.finish_reason, Finish.OTHER)

    def whole(self, content: object) -> dict[str, Any] | None:
        """The object that an answer is, None if it is none; errors come wrapped in a list, too."""
        if isinstance(content, list) and len(content) == 1:
            content = content[0]
        return content if isinstance(content, dict) else None

    def error_of(self, content: Mapping[str, Any]) -> ErrorBody | None:
        """The error inside an answer that began as a success."""
        return error_in(content) if content.get("error") else None

    def content_of(self, body: bytes) -> dict[str, Any]:
        """The object that a whole answer is; of one that cannot be parsed what counts its tokens. Never raises."""
        content = self.whole(read_json(body))
        return {self.usage_name: last_object(body, self.usage_name.encode())} if content is None else content

    def answer(self, body: bytes) -> Answer:
        """Reads a whole answer of any size. Never raises."""
        content = self.content_of(body)
        report = self.report_of(content)
        return Answer(report, self.finish_of(report), self.error_of(content))


class Stream(ABC):
    """
    One streamed answer: bytes in, the same bytes out, and what they say of themselves.

    `answer` is what a whole answer would say, without what the model wrote: the provider's adapter reads it as one. It
    is put together in `told`. `error` is the first error in the stream. `is_complete`: the protocol's end was seen, so
    nothing is missing. Nothing that is fed raises; what cannot be read is handed on all the same.
    """

    def __init__(self, dialect: Dialect, cutter: Cutter | None = None) -> None:
        self.told: dict[str, Any] = {}
        self.error: ErrorBody | None = None
        self.is_complete = False
        self.dialect = dialect
        self._cutter = cutter or EventCutter(MOST_EVENT_BYTES)
        self._is_first = True
        self._head = self._tail = b""  # of an event that is too long to be held
        self._dropped_cr = False  # at the end of what was withheld, so that its LF may follow

    @property
    def answer(self) -> dict[str, Any]:
        return self.told

    @property
    def stored_ids(self) -> list[str]:
        return self.dialect.stored_ids(self.answer)

    @property
    def report(self) -> Report:
        """Tokens of an answer that was cut off are what is known of them, not the whole."""
        report = self.dialect.report_of(self.answer)
        if report.usage is None or report.doubt or self.is_complete:
            return report
        return replace(report, doubt=Doubt.UNCLEAR_TOKENS)

    @property
    def usage(self) -> TokenUsage | None:
        return self.report.usage

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in the provider's word; "" while it has not said."""
        return self.report.finish_reason

    @property
    def finish(self) -> Finish:
        return self.dialect.finish_of(self.report)

    @property
    def is_between_events(self) -> bool:
        """Whether a comment may be sent to the client here."""
        return self._cutter.is_between_events

    def feed(self, data: bytes) -> list[bytes]:
        """What may be handed on now that `data` has come: whole events, and parts of very long ones."""
        chunks: list[bytes] = []
        for kind, raw in self._cutter.feed(data):
            chunk = self._whole(raw) if kind is Kind.WHOLE else self._part(raw, is_last=kind is Kind.LAST_PART)
            if chunk:
                chunks.append(chunk)
        return chunks

    def close(self) -> list[bytes]:
        """
        What is left to be handed on when no more comes: an event without an end, or a whole answer, from a server that
        does not stream.
        """
        if not self._cutter.is_between_events:
            self._read_long()
        rest = self._cutter.rest()
        if not self.told and (content := self.dialect.whole(read_json(rest))):
            self.told, self.error, self.is_complete = content, self.dialect.error_of(content), True
            return [rest]
        chunk = self._whole(rest) if rest else b""
        return [chunk] if chunk else []

    def _part(self, raw: bytes, *, is_last: bool) -> bytes:
        self._head = self._head or raw[:HEAD_BYTES]
        self._tail = (self._tail + raw)[-TAIL_BYTES:]
        if is_last:
            self._read_long()
        return raw

    def _read_long(self) -> None:
        self.read_part(self._head, self._tail)
        self._head = self._tail = b""

    def _whole(self, raw: bytes) -> bytes:
        """The events in `raw` that may be handed on."""
        if self._is_first:
            self._is_first = False
            return self._read_events(raw, raw.removeprefix(BYTE_ORDER_MARK))
        if self._dropped_cr:
            raw = raw.removeprefix(b"\n")
            self._dropped_cr = False
        return self._read_events(raw, raw) if self.may_tell(raw) else raw

    def _read_events(self, raw: bytes, text: bytes) -> bytes:
        kept = [raw[: len(raw) - len(text)]]
        withheld = b""
        for event in events_in(text):
            if self.may_tell(event) and self._read_event(event):
                withheld = event
            else:
                kept.append(event)
        if not withheld:
            return raw
        self._dropped_cr = withheld.endswith(b"\r") and raw.endswith(withheld)
        return b"".join(kept)

    def _read_event(self, event: bytes) -> bool:
        name, data = fields_of(event)
        return bool(data) and self.read_data(data, name)

    def read_data(self, data: bytes, name: bytes = b"") -> bool:
        """Read what an event holds. Whether it is to be withheld."""
        if data.strip() == b"[DONE]":
            self.is_complete = True
            return False
        content = read_json(data)
        if not isinstance(content, dict):
            if content is None and data[:1] == b"{":
                self.read_part(data[:HEAD_BYTES], data[-TAIL_BYTES:])
            return False
        if self.error is None:
            self.error = error_in(content) if name == b"error" else self.dialect.error_of(content)
        return self.read(content)

    @abstractmethod
    def may_tell(self, raw: bytes) -> bool:
        """Whether events with these bytes may say anything of the answer but what the model wrote: a cheap test."""

    @abstractmethod
    def read(self, content: dict[str, Any]) -> bool:
        """Take in the content of one event. Whether it is to be withheld."""

    @abstractmethod
    def read_part(self, head: bytes, tail: bytes) -> None:
        """Take in what can be told of an event by its beginning and its end."""


def is_escaped(raw: bytes) -> bool:
    """Whether JSON in `raw` may spell the names of members by escapes, which nothing but a parser sees through."""
    return b"\\u00" in raw
