"""The values that go into an adapter and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Literal

from providers.adapters.reasons import Reason
from providers.adapters.verdicts import ErrorKind
from usage.input_parts import InputParts
from usage.tokens import NOTHING_SAID, Report


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """
    One question to a model, in no provider's dialect. `max_output_tokens` includes reasoning; `temperature` and
    `reasoning_effort` are left to the model where they are empty, and where its wire has no word for them.
    `retrieved_characters` of the first message are no question, but what it is about, such as a profile.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    max_output_tokens: int = 4096
    json_output: bool = True
    temperature: float | None = None
    reasoning_effort: str = ""
    is_limit_fixed: bool = False  # somebody chose the output limit, so it is not raised where it cuts an answer off
    retrieved_characters: int = 0

    @property
    def input_parts(self) -> InputParts:
        """In characters."""
        asked = [len(message.text) for message in self.messages]
        asked[0] -= self.retrieved_characters
        return InputParts(
            system=len(self.system), retrieved=self.retrieved_characters, history=sum(asked[:-1]), user=asked[-1]
        )


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A call ready to leave, but for its credentials: those are added where it leaves."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; the names of its headers are in lower case. `first_byte_ms`: until it began, if known."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    first_byte_ms: int | None = field(default=None, compare=False)


class Finish(StrEnum):
    """Why a model stopped, in one vocabulary for all wires."""

    STOP = "stop"
    LENGTH = "length"  # the output limit cut it off; thinking counts towards it
    REFUSED = "refused"  # the model, or a filter around it, would not answer
    OTHER = "other"  # a reason we do not know, or none


@dataclass(frozen=True, slots=True)
class ChatResult:
    """What a model answered. `text` is what it wrote until it stopped, thinking left out where the wire tells it."""

    text: str
    finish: Finish
    report: Report


@dataclass(frozen=True, slots=True)
class ListedModel:
    """
    A model in a provider's list. Prices are nano-USD per million tokens, None where the list has none; `ends_on` is the
    day on which it is announced to end.
    """

    id: str
    name: str
    context_tokens: int | None = None
    input_nanousd_per_mtok: int | None = None
    output_nanousd_per_mtok: int | None = None
    ends_on: date | None = None


class ProviderError(Exception):
    """
    A call that brought no answer.

    `reason` is ours and holds nothing the provider wrote; `sentence` (also `str()`) is what it says beside the work.
    `retry_after_seconds` is as the provider asked; `report` is what the answer says of itself all the same.
    `may_have_run` where the call left and no answer that tells its cost came back: a model may have worked on it.
    `is_empty` where it was a success in which nothing was answered.
    """

    def __init__(
        self,
        kind: ErrorKind,
        reason: Reason,
        *,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        report: Report = NOTHING_SAID,
        may_have_run: bool = False,
        is_empty: bool = False,
    ) -> None:
        super().__init__(reason.sentence)
        self.kind = kind
        self.reason = reason
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.report = report
        self.may_have_run = may_have_run
        self.is_empty = is_empty

    @property
    def sentence(self) -> str:
        return self.reason.sentence


class NoModelList(ProviderError):
    """A server is there, but gives no list of models: only an answered call can prove its key."""
