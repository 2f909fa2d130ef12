"""
What every wire protocol has in common: how calls are described, and how answers are read.

An adapter is stateless and does no input or output: it describes the HTTP call and reads the HTTP answer, and
egress carries both. What a provider writes in an error decides its kind and is never shown or stored: it can
hold a part of the key (provider API documentation, checked 2026-11-21).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from providers.adapters import meanings
from providers.adapters.dialects.base import Dialect, Stream
from providers.adapters.error_body import ErrorBody, error_in, parse_error_body, parse_retry_after
from providers.adapters.exchange import ChatRequest as ChatRequest
from providers.adapters.exchange import ChatResult as ChatResult
from providers.adapters.exchange import Finish as Finish
from providers.adapters.exchange import HttpAnswer as HttpAnswer
from providers.adapters.exchange import HttpCall as HttpCall
from providers.adapters.exchange import ListedModel as ListedModel
from providers.adapters.exchange import Message as Message
from providers.adapters.exchange import NoModelList as NoModelList
from providers.adapters.exchange import ProviderError as ProviderError
from providers.adapters.quirks import OptionalFields, Quirk, with_quirks
from providers.adapters.reading import read_json, request_id_of, rows
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from providers.adapters.verdicts import ErrorKind as ErrorKind
from providers.adapters.verdicts import Verdict as Verdict
from providers.adapters.verdicts import Verdicts
from usage.tokens import Report


class Adapter(Verdicts, ABC):
    """
    One wire protocol, as one provider speaks it.

    The `…_call` methods describe a call, the `parse_…` methods read its answer and raise ProviderError for
    anything but a success; an error inside HTTP 200 is an error.
    """

    dialect: ClassVar[Dialect]
    # What the gateway may forward to it, and clients are offered snippets for: names of `gateway.door.endpoints`.
    speaks: ClassVar[frozenset[str]] = frozenset()
    takes_stream_options: ClassVar[bool] = True
    output_limit_field: ClassVar[str] = ""  # what a chat in OpenAI's protocol calls its output limit
    request_id_header: ClassVar[str] = "x-request-id"
    may_be_open: ClassVar[bool] = False  # to callers with any key or none
    # Whether it may well have models, and answer for them, where its list of them is empty or no list at all.
    may_list_nothing: ClassVar[bool] = False
    optional_fields: ClassVar[OptionalFields]

    @abstractmethod
    def credential_headers(self, secret: Secret) -> dict[str, str]:
        """The headers that carry the key. The only place of an adapter that sees it."""

    def root(self, base_url: str) -> str:
        """Where the paths of the wire begin, of a base URL as people give it."""
        return base_url

    def door_call(self, base_url: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpCall:
        """A call as a client of the gateway made it, to `path` of the wire."""
        return HttpCall("POST", f"{self.root(base_url)}{path}", dict(headers), body)

    @abstractmethod
    def chat_call(self, base_url: str, request: ChatRequest, quirks: Iterable[Quirk] = ()) -> HttpCall:
        """The question, without what `quirks` say that the server refuses."""

    @abstractmethod
    def options(self, request: ChatRequest) -> dict[str, Any]:
        """What is optional in the question, by its names on the wire."""

    def options_taken(self, request: ChatRequest, quirks: Iterable[Quirk]) -> dict[str, Any]:
        return with_quirks(self.options(request), quirks)

    def output_limit(self, request: ChatRequest, quirks: Iterable[Quirk]) -> int | None:
        """The limit that is sent, in tokens; None where none is."""
        taken = self.options_taken(request, quirks)
        return next((taken[field] for field in self.optional_fields.limit_fields if field in taken), None)

    def refused_option(self, answer: HttpAnswer, request: ChatRequest, quirks: Iterable[Quirk]) -> Quirk | None:
        """Which optional field of the question `answer` refuses, None if it is about something else."""
        error = parse_error_body(answer.body)
        status = error.code_as_status if answer.status == 200 else answer.status
        if status not in (400, 422):
            return None
        return self.optional_fields.refused(error, self.options_taken(request, quirks))

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

    def status_of(self, answer: HttpAnswer, error: ErrorBody) -> int:
        """The HTTP status of an error; of one inside a success, the status that it stands for."""
        return (error.code_as_status or 500) if answer.status == 200 else answer.status

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
        verdict = self.verdict_without_body(answer) if error.is_empty else self.classify(answer, error)
        return ProviderError(
            verdict.kind,
            verdict.reason,
            http_status=answer.status,
            retry_after_seconds=retry_after(answer, error),
            report=report or self._report_of_error(answer, error),
            may_have_run=has_begun or _may_have_run(answer.status, verdict.kind, has_body=not error.is_empty),
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
        if not answer.body.strip():
            raise self.empty(answer)
        content = self.dialect.whole(read_json(answer.body))
        if content is None:
            raise self.unexpected(answer)
        if content.get("error"):
            raise self.failure(answer, error=error_in(content), report=self.report_of(answer, content))
        return content

    def report_of(self, answer: HttpAnswer, content: Mapping[str, Any], dialect: Dialect | None = None) -> Report:
        """What the answer `content` says of itself, as far as it does, in another `dialect` than that of chats."""
        report = (dialect or self.dialect).report_of(content)
        told = self.request_id(answer)
        return replace(report, request_id=told) if told else report

    def report_of_stream(self, answer: HttpAnswer, stream: Stream) -> Report:
        """The same of a stream, of whose `answer` the status and headers count."""
        report = self.report_of(answer, stream.answer, stream.dialect)
        return report if report.doubt or report.cost_nanousd is not None else replace(report, doubt=stream.report.doubt)

    def model_rows(self, answer: HttpAnswer, *names: str) -> list[dict[str, Any]]:
        """
        The first MOST_MODELS rows of a list of models, which stands under one of `names`.

        Raises NoModelList where a server is there without one, ProviderError where that says more.
        """
        if answer.status in (404, 405, 410, 501):
            raise self.no_model_list(answer)
        try:
            content = self._list_or_object(answer)
        except ProviderError as error:
            if self.may_list_nothing and answer.status == 200 and error.kind is ErrorKind.UNEXPECTED:
                raise self.no_model_list(answer) from None
            raise
        listed = next((content[name] for name in names if isinstance(content.get(name), list)), None)
        if listed is None:
            raise self.no_model_list(answer) if self.may_list_nothing else self.unexpected(answer)
        return list(islice(rows(listed), MOST_MODELS))

    def _list_or_object(self, answer: HttpAnswer) -> dict[str, Any]:
        """A bare array, which some servers list their models in, stands under "data" as in OpenAI's list."""
        if self.may_list_nothing and answer.status == 200 and answer.body.lstrip()[:1] == b"[":
            bare = read_json(answer.body)
            if isinstance(bare, list) and not any("error" in row for row in rows(bare[:1])):
                return {"data": bare}
        return self.read(answer)

    def no_model_list(self, answer: HttpAnswer) -> NoModelList:
        return NoModelList(
            ErrorKind.UNEXPECTED,
            reason("no_model_list", provider=self.provider_name),
            http_status=answer.status,
        )

    def empty_model_list(self) -> NoModelList:
        """Asked for where a server `may_list_nothing`: others prove the key by answering at all."""
        return NoModelList(ErrorKind.UNEXPECTED, reason("empty_model_list", provider=self.provider_name))

    def empty(self, answer: HttpAnswer, report: Report | None = None) -> ProviderError:
        return ProviderError(
            ErrorKind.UNEXPECTED,
            reason("empty", provider=self.provider_name),
            http_status=answer.status,
            report=report or Report(request_id=self.request_id(answer)),
            may_have_run=True,
            is_empty=True,
        )

    def unexpected(self, answer: HttpAnswer, report: Report | None = None) -> ProviderError:
        return ProviderError(
            ErrorKind.UNEXPECTED,
            reason("unexpected", provider=self.provider_name),
            http_status=answer.status,
            report=report or Report(request_id=self.request_id(answer)),
            may_have_run=200 <= answer.status < 300,
        )

    def request_id(self, answer: HttpAnswer, fallback: object = "") -> str:
        """The provider's own id of the call, "" if it gave none that looks like one."""
        return request_id_of(answer.headers.get(self.request_id_header)) or request_id_of(fallback)

    def common_verdict(self, status: int, answer: HttpAnswer, error: ErrorBody) -> Verdict | None:
        """
        What an error means whoever wrote it, None where that is for the provider's own words to say.

        What a provider only refuses one request for comes before what breaks a key. Inside a success the words count
        whatever the status: there is none to go by, or one that was made up.
        """

        def fits(*statuses: int) -> bool:
            return status in statuses or answer.status == 200

        if meanings.names_no_such_model(error) or (fits(400, 403, 404) and meanings.means_no_such_model(error)):
            return self.model_not_found()
        if fits(413, 429) and meanings.means_too_long_for_key(error):
            return self.too_long_for_key()
        if meanings.means_budget_of_a_model(error):
            return self.quota_used_up(reason("renewed.by_budget"))
        if fits(400, 401, 402, 403, 412, 429) and meanings.means_no_credit(error):
            return self.no_credit()
        if fits(400, 401, 403):
            if meanings.means_closed_account(error):
                return self.account_closed()
            if meanings.means_bad_key(error):
                return self.invalid()
        wait = retry_after(answer, error)
        if (status == 429 and meanings.means_long_quota(error, wait)) or meanings.means_volume_used_up(error):
            return self.quota_used_up(meanings.renewal_of(error, wait))
        if fits(400, 413, 422, 500) and meanings.means_too_long(error):
            return self.too_long()
        return None

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

    def verdict_without_body(self, answer: HttpAnswer) -> Verdict:
        """An empty or HTML body: something between us and the provider answered, so no word about the key."""
        if answer.status in (402, 429):
            return self.verdict_by_status(answer.status)
        if answer.status >= 500 or answer.status == 408:
            return Verdict(ErrorKind.UNREACHABLE, reason("in_front", provider=self.provider_name))
        return self.unknown_error()


# Refused before any model worked on it, whatever the status of the answer that says so.
REFUSALS = frozenset(
    {
        ErrorKind.INVALID,
        ErrorKind.LIMITED,
        ErrorKind.NO_CREDIT,
        ErrorKind.QUOTA_USED_UP,
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


MOST_MODELS = 5_000  # that are read of a list


def retry_after(answer: HttpAnswer, error: ErrorBody) -> float | None:
    """Seconds until a retry is welcome, as the answer's headers or its body say."""
    in_headers = parse_retry_after(answer.headers)
    return error.retry_after_seconds if in_headers is None else in_headers


def json_call(url: str, content: object, headers: dict[str, str] | None = None) -> HttpCall:
    """A POST of `content` as JSON."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return HttpCall("POST", url, {"content-type": "application/json", **(headers or {})}, body)


def get_call(url: str, headers: dict[str, str] | None = None) -> HttpCall:
    return HttpCall("GET", url, {"accept": "application/json", **(headers or {})}, None)
