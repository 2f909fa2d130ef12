"""
What every wire protocol has in common: the values that go in and out of an adapter, and how answers are read.

An adapter is stateless and does no input or output: it describes the HTTP call and reads the HTTP answer, and
egress carries both. What a provider writes in an error decides its kind and is never shown or stored: it can
hold a part of the key (provider API documentation, checked 2026-11-21).
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from providers.adapters.error_body import ErrorBody, parse_error_body, parse_retry_after
from providers.adapters.reading import read_json
from usage.tokens import NOTHING_SAID, Report

if TYPE_CHECKING:
    from providers.custody import Secret


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model, in no provider's dialect. `max_output_tokens` includes reasoning."""

    model: str
    system: str
    messages: tuple[Message, ...]
    max_output_tokens: int = 4096
    json_output: bool = True


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A call ready to leave, but for its credentials: those are added where it leaves."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
    """A model in a provider's list. Prices are nano-USD per million tokens, None where the list has none."""

    id: str
    name: str
    context_tokens: int | None = None
    input_nanousd_per_mtok: int | None = None
    output_nanousd_per_mtok: int | None = None


class ErrorKind(StrEnum):
    """
    What a failed call means for the one who made it. Only INVALID says that the key itself is broken.

    NEEDS_REENTRY is ours: the stored key did not open, so that nothing was asked.
    """

    INVALID = "invalid"
    LIMITED = "limited"
    NO_CREDIT = "no_credit"
    NEEDS_REENTRY = "needs_reentry"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNREACHABLE = "unreachable"
    MODEL_NOT_FOUND = "model_not_found"
    BAD_REQUEST = "bad_request"
    UNEXPECTED = "unexpected"

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may succeed later with nothing changed."""
        return self in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED, ErrorKind.UNREACHABLE)


class ProviderError(Exception):
    """
    A call that brought no answer.

    `sentence` (also `str()`) is ours, says what to do next and holds nothing the provider wrote.
    `retry_after_seconds` is as the provider asked; `report` is what the answer says of itself all the same.
    `may_have_run` where the call left and no answer that tells its cost came back: a model may have worked on it.
    """

    def __init__(
        self,
        kind: ErrorKind,
        sentence: str,
        *,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        report: Report = NOTHING_SAID,
        may_have_run: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.report = report
        self.may_have_run = may_have_run


Verdict = tuple[ErrorKind, str]


class Adapter(ABC):
    """
    One wire protocol, as one provider speaks it.

    The `…_call` methods describe a call, the `parse_…` methods read its answer and raise ProviderError for
    anything but a success; an error inside HTTP 200 is an error.
    """

    provider_name: ClassVar[str]
    key_page: ClassVar[str]
    request_id_header: ClassVar[str] = "x-request-id"
    may_be_open: ClassVar[bool] = False  # to callers with any key or none

    @abstractmethod
    def credential_headers(self, secret: Secret) -> dict[str, str]:
        """The headers that carry the key. The only place of an adapter that sees it."""

    @abstractmethod
    def chat_call(self, base_url: str, request: ChatRequest) -> HttpCall: ...

    @abstractmethod
    def parse_chat(self, answer: HttpAnswer) -> ChatResult: ...

    @abstractmethod
    def models_call(self, base_url: str) -> HttpCall: ...

    @abstractmethod
    def parse_models(self, answer: HttpAnswer) -> list[ListedModel]: ...

    def validation_call(self, base_url: str) -> HttpCall:
        """The free call that proves a key. For most providers it is the list of models."""
        return self.models_call(base_url)

    def parse_validation(self, answer: HttpAnswer) -> dict[str, Any]:
        """What the provider tells of the key's limits, ready for JSON; {} where it tells nothing."""
        self.parse_models(answer)
        return {}

    @abstractmethod
    def classify(self, answer: HttpAnswer, error: ErrorBody) -> Verdict:
        """What this provider means by an error that it described in `error`."""

    def failure(
        self,
        answer: HttpAnswer,
        *,
        error: ErrorBody | None = None,
        report: Report | None = None,
        has_begun: bool = False,
    ) -> ProviderError:
        """
        The error that `answer` is. A redirect is none that we know, whatever it says and wherever it points.

        `has_begun`: the answer shows that the model was at work when it failed.
        """
        if 300 <= answer.status < 400:
            return self.unexpected(answer)
        error = error or parse_error_body(answer.body)
        kind, sentence = self._verdict_without_body(answer) if error.is_empty else self.classify(answer, error)
        retry_after = parse_retry_after(answer.headers)
        return ProviderError(
            kind,
            sentence,
            http_status=answer.status,
            retry_after_seconds=error.retry_after_seconds if retry_after is None else retry_after,
            report=report or self._report_of_error(answer, error),
            may_have_run=has_begun or _may_have_run(answer.status, kind, has_body=not error.is_empty),
        )

    def _report_of_error(self, answer: HttpAnswer, error: ErrorBody) -> Report:
        """What an error says of itself: some hold the tokens, or what they cost."""
        content = read_json(answer.body)
        report = self.report_of(answer, content) if isinstance(content, dict) else Report()
        return replace(report, request_id=self.request_id(answer, error.request_id) or report.request_id)

    def read(self, answer: HttpAnswer) -> dict[str, Any]:
        """The JSON object of a successful answer; raises ProviderError for every other answer."""
        if not 200 <= answer.status < 300:
            raise self.failure(answer)
        content = read_json(answer.body)
        if isinstance(content, list) and content:  # Google wraps errors so
            content = content[0]
        if not isinstance(content, dict):
            raise self.unexpected(answer)
        if content.get("error"):
            raise self.failure(answer, report=self.report_of(answer, content))
        return content

    def report_of(self, answer: HttpAnswer, content: Mapping[str, Any]) -> Report:
        """What the answer `content` says of itself, as far as it does."""
        return Report(request_id=self.request_id(answer))

    def unexpected(self, answer: HttpAnswer, report: Report | None = None) -> ProviderError:
        return ProviderError(
            ErrorKind.UNEXPECTED,
            f"{self.provider_name} answered in a form we do not know. Try again; if it stays so, tell "
            "whoever runs this installation.",
            http_status=answer.status,
            report=report or Report(request_id=self.request_id(answer)),
            may_have_run=200 <= answer.status < 300,
        )

    def request_id(self, answer: HttpAnswer, fallback: object = "") -> str:
        """The provider's own id of the call, "" if it gave none that looks like one."""
        for value in (answer.headers.get(self.request_id_header), fallback):
            if isinstance(value, str) and REQUEST_ID.fullmatch(value):
                return value
        return ""

    # Sentences that several providers share ---------------------------------------------------------

    def invalid(self) -> Verdict:
        return (
            ErrorKind.INVALID,
            f"{self.provider_name} does not accept this key. Check that it was pasted whole, or make a new "
            f"one at {self.key_page} and replace it here.",
        )

    def limited(self) -> Verdict:
        return (
            ErrorKind.LIMITED,
            f"{self.provider_name} knows this key, but refused it this request. Look at the key's "
            f"permissions at {self.key_page}.",
        )

    def no_credit(self) -> Verdict:
        return (
            ErrorKind.NO_CREDIT,
            f"The {self.provider_name} account behind this key has no credit left or has reached its "
            "spending limit. Top it up or raise the limit there, then validate the key again.",
        )

    def rate_limited(self) -> Verdict:
        return (
            ErrorKind.RATE_LIMITED,
            f"{self.provider_name} limits how much this key may do at a time, and that is used up. "
            "Wait a minute, then try again.",
        )

    def overloaded(self) -> Verdict:
        return (
            ErrorKind.OVERLOADED,
            f"{self.provider_name} is overloaded or has a fault. Nothing is wrong with the key; try again in a while.",
        )

    def model_not_found(self) -> Verdict:
        return (
            ErrorKind.MODEL_NOT_FOUND,
            f"{self.provider_name} does not offer this model to this key. Choose another model for the action.",
        )

    def bad_request(self) -> Verdict:
        return (
            ErrorKind.BAD_REQUEST,
            f"{self.provider_name} could not work with this request. Another model may; choose one for the action.",
        )

    def too_long(self) -> Verdict:
        return (
            ErrorKind.BAD_REQUEST,
            "The text is longer than this model can take. Shorten the profile or the briefing, or choose a "
            "model with a larger context.",
        )

    def content_refused(self) -> Verdict:
        return (
            ErrorKind.BAD_REQUEST,
            f"{self.provider_name} refused the text because of its content rules. "
            "Look at the text, or choose another model for the action.",
        )

    def unknown_error(self) -> Verdict:
        return (
            ErrorKind.UNEXPECTED,
            f"{self.provider_name} refused the call for a reason we do not know. Try again; if it stays so, "
            "tell whoever runs this installation.",
        )

    def verdict_by_status(self, status: int) -> Verdict:
        """What an HTTP status means where the body adds nothing to it."""
        match status:
            case 401:
                return self.invalid()
            case 402:
                return self.no_credit()
            case 403:
                return self.limited()
            case 413:
                return self.too_long()
            case 400 | 422:
                return self.bad_request()
            case 429:
                return self.rate_limited()
            case 408 | 425:
                return self.overloaded()
        return self.overloaded() if 500 <= status < 600 else self.unknown_error()

    def _verdict_without_body(self, answer: HttpAnswer) -> Verdict:
        """An empty or HTML body: something between us and the provider answered, so no word about the key."""
        if answer.status in (402, 429):
            return self.verdict_by_status(answer.status)
        if answer.status >= 500 or answer.status == 408:
            return (
                ErrorKind.UNREACHABLE,
                f"{self.provider_name} could not be reached: something in front of it answered. Try again in a while.",
            )
        return self.unknown_error()


# Refused before any model worked on it, whatever the status of the answer that says so.
REFUSALS = frozenset(
    {
        ErrorKind.INVALID,
        ErrorKind.LIMITED,
        ErrorKind.NO_CREDIT,
        ErrorKind.RATE_LIMITED,
        ErrorKind.MODEL_NOT_FOUND,
        ErrorKind.BAD_REQUEST,
    }
)
# Somebody lost patience or the connection while somebody further back may have been at work. With a body the provider
# itself says so; without one it was something in front of it, which also answers 500 and 502 for what broke behind it.
GAVE_UP = frozenset({408, 499, 504, 524})
BROKE_BEHIND = GAVE_UP | {500, 502, 520}


def _may_have_run(status: int, kind: ErrorKind, *, has_body: bool) -> bool:
    """Whether a model may have worked on a call that failed so, and its provider bill it."""
    if 200 <= status < 300:
        return kind not in REFUSALS
    return status in (GAVE_UP if has_body else BROKE_BEHIND)


REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


def json_call(url: str, content: object, headers: dict[str, str] | None = None) -> HttpCall:
    """A POST of `content` as JSON."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return HttpCall("POST", url, {"content-type": "application/json", **(headers or {})}, body)


def get_call(url: str, headers: dict[str, str] | None = None) -> HttpCall:
    return HttpCall("GET", url, {"accept": "application/json", **(headers or {})}, None)
