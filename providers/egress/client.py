"""
The one way out: every call to a provider leaves through here.

One wall-clock deadline over connecting, headers and body, no redirects, no compression, and a byte budget counted on
the stream; `connections` decides on addresses. Whatever fails becomes a ProviderError whose text and chain hold nothing
of the key. An address that is refused reads, and takes as long, as one where nobody answers.

Model calls leave by aiohttp itself, which carries twice as many as httpx over it (measured); `short_calls` leave by
httpx.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx
from yarl import URL

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.adapters.error_body import LARGEST_ERROR_BODY
from providers.adapters.reasons import Reason, reason
from providers.egress.addresses import PUBLIC, Reach
from providers.egress.connections import Departure, Egress
from providers.egress.deadline import Deadline
from providers.egress.echoes import Echoes, StreamedEchoes

Part = TypeVar("Part")
logger = logging.getLogger(__name__)

LARGEST_BODY = 8 * 1024 * 1024  # of which Python's text takes up to four times as much
LARGEST_REQUEST = 10 * 1024 * 1024
# No connection to a server that an organization named fails faster, whatever the reason.
FASTEST_FAILURE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer, by whichever library: `read` gives the next bytes, b"" at the end."""

    status: int
    headers: dict[str, str]  # by names in small letters
    read: Callable[[], Awaitable[bytes]]
    close: Callable[[], Awaitable[None]]


# Sends a call with the given headers and returns once the head of its answer is there.
Opener = Callable[[Egress, Reach, HttpCall, Mapping[str, str]], Awaitable[Head]]


@dataclass(frozen=True, slots=True)
class Limits:
    """
    `timeout_seconds` is wall clock over everything, `idle_seconds` the longest wait for the next bytes, `max_bytes` the
    longest body of the answer, `most_sent_bytes` that of the call; of an error's body at most 64 KiB are read.
    """

    timeout_seconds: float
    max_bytes: int = LARGEST_BODY
    idle_seconds: float | None = None
    most_sent_bytes: int = LARGEST_REQUEST


class Attempt:
    """What all that happens in one call has in common: where it goes, how long it may take, what its failures mean."""

    def __init__(self, call: HttpCall, limits: Limits, reach: Reach) -> None:
        self.limits = limits
        self.reach = reach
        self.started = time.monotonic()
        self.deadline = Deadline(limits.timeout_seconds, limits.idle_seconds)
        self.departure = Departure.of_next_call()
        self.host = "The provider"
        with suppress(ValueError):  # what is wrong with an address shows when it is called
            self.host = urlsplit(call.url).hostname or self.host

    async def within(self, work: Callable[[], Awaitable[Part]]) -> Part | ProviderError:
        """What `work` gives, or what went wrong: returned, as an error raised here would carry frames and a chain."""
        try:
            return await self.deadline.within(work)
        except Exception as error:
            return self._failure(error)

    async def no_faster(self) -> None:
        """How fast a call to a server that an organization named fails tells nothing of our network."""
        if self.reach.is_custom:
            floor = min(FASTEST_FAILURE_SECONDS, self.limits.timeout_seconds)
            await asyncio.sleep(max(0.0, floor - (time.monotonic() - self.started)))

    def _failure(self, error: Exception) -> ProviderError:
        kind = ErrorKind.UNREACHABLE
        if isinstance(error, (aiohttp.ClientError, httpx.TransportError)):
            logger.info("No connection to %s: %s", self.host, type(error).__name__)
            why = self._no_connection()
        elif isinstance(error, TimeoutError):
            why = reason("no_answer", host=self.host, seconds=f"{self._waited():g}")
        elif isinstance(error, OSError):
            logger.info("No connection to %s: %s", self.host, type(error).__name__)
            why = self._no_connection()
        else:  # whatever it is, its text may hold a header
            logger.error("A call to %s could not be made: %s", self.host, type(error).__name__)
            kind = ErrorKind.UNEXPECTED
            why = reason("could_not_be_made", host=self.host)
        return ProviderError(kind, why, may_have_run=self.departure.has_left)

    def _waited(self) -> float:
        idle, whole = self.limits.idle_seconds, self.limits.timeout_seconds
        is_over = time.monotonic() - self.started >= whole
        return round(whole if is_over or idle is None else idle, 1)

    def _no_connection(self) -> Reason:
        if self.reach.is_custom:
            return reason("no_connection.custom", host=self.host)
        return reason("no_connection.proxy" if self.reach.proxy else "no_connection", host=self.host)


class Answer:
    """
    An answer whose head is there. Its body is read once, within `async with`, which gives the connection back.

    The body of an error ends after 64 KiB.
    """

    def __init__(self, attempt: Attempt, head: Head, credential_headers: Mapping[str, str]) -> None:
        self.attempt = attempt
        self._head = head
        self._echoes = Echoes(credential_headers)
        self._received = 0
        self.first_byte_ms = round((time.monotonic() - attempt.started) * 1000)
        self.status = head.status
        self.headers = self._echoes.out_of_headers(head.headers)

    def __reduce__(self) -> NoReturn:
        raise TypeError("An answer knows the key of its call and cannot be pickled.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.attempt.deadline.end()
        await self._head.close()

    @property
    def is_error(self) -> bool:
        return self.status >= 300

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, with the call's key crossed out. Raises ProviderError as `send` does."""
        echoes = StreamedEchoes(self._echoes)
        while chunk := await self._next():
            if isinstance(chunk, ProviderError):
                await self.attempt.no_faster()
                raise chunk
            if clean := echoes.feed(chunk):
                yield clean
        if clean := echoes.end():
            yield clean

    async def whole(self) -> HttpAnswer | ProviderError:
        """The whole body at once; what went wrong is returned."""
        body = bytearray()
        while chunk := await self._next():
            if isinstance(chunk, ProviderError):
                return chunk
            body += chunk
        return HttpAnswer(self.status, self.headers, self._echoes.out_of(bytes(body)), self.first_byte_ms)

    async def _next(self) -> bytes | ProviderError:
        most = self.attempt.limits.max_bytes
        budget = min(most, LARGEST_ERROR_BODY) if self.is_error else most
        if self.is_error and self._received >= budget:
            return b""
        chunk = await self.attempt.within(self._head.read)
        if isinstance(chunk, ProviderError):
            return chunk
        self._received += len(chunk)
        if self._received <= budget:
            return chunk
        if self.is_error:
            return chunk[: budget - self._received]
        return ProviderError(
            ErrorKind.UNEXPECTED,
            reason("too_large", host=self.attempt.host, bytes=most),
            http_status=self.status,
            may_have_run=True,
        )


async def open_call(
    egress: Egress, call: HttpCall, *, credential_headers: Mapping[str, str], limits: Limits, reach: Reach = PUBLIC
) -> Answer:
    """
    Make one call and return once the head of its answer is there, whatever its status.

    `reach` is where the call may connect to. Raises ProviderError: UNREACHABLE if there was none in time, UNEXPECTED
    if it was compressed or could not be asked for.
    """
    outcome = await opened(by_aiohttp, egress, call, credential_headers, limits, reach)
    if isinstance(outcome, Answer):
        return outcome
    del credential_headers  # so that no traceback's frame holds the key
    raise outcome


async def send(
    egress: Egress,
    call: HttpCall,
    *,
    credential_headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int = LARGEST_BODY,
    reach: Reach = PUBLIC,
) -> HttpAnswer:
    """
    `open_call`, and read the whole answer. Raises ProviderError: UNREACHABLE if it did not come in time, UNEXPECTED if
    it was larger than `max_bytes`, compressed, or could not be asked for.
    """
    limits = Limits(timeout_seconds, max_bytes)
    outcome = await whole_answer(by_aiohttp, egress, call, credential_headers, limits, reach)
    if isinstance(outcome, HttpAnswer):
        return outcome
    del credential_headers
    raise outcome


async def whole_answer(
    opener: Opener,
    egress: Egress,
    call: HttpCall,
    credential_headers: Mapping[str, str],
    limits: Limits,
    reach: Reach,
) -> HttpAnswer | ProviderError:
    answer = await opened(opener, egress, call, credential_headers, limits, reach)
    if isinstance(answer, ProviderError):
        return answer
    async with answer:
        outcome = await answer.whole()
    if isinstance(outcome, ProviderError):
        await answer.attempt.no_faster()
    return outcome


async def opened(
    opener: Opener,
    egress: Egress,
    call: HttpCall,
    credential_headers: Mapping[str, str],
    limits: Limits,
    reach: Reach,
) -> Answer | ProviderError:
    attempt = Attempt(call, limits, reach)
    try:
        answer = await _opened(attempt, opener, egress, call, credential_headers)
    except BaseException:  # whoever waited for it was cancelled
        attempt.deadline.end()
        raise
    if isinstance(answer, ProviderError):
        attempt.deadline.end()
        await attempt.no_faster()
    return answer


async def _opened(
    attempt: Attempt, opener: Opener, egress: Egress, call: HttpCall, credential_headers: Mapping[str, str]
) -> Answer | ProviderError:
    if not all(value.isascii() and value.isprintable() for value in credential_headers.values()):
        return ProviderError(ErrorKind.UNEXPECTED, reason("odd_characters"))
    if call.body is not None and len(call.body) > attempt.limits.most_sent_bytes:
        return ProviderError(ErrorKind.BAD_REQUEST, reason("longer_than_any"))
    sent = {**call.headers, **credential_headers}
    head = await attempt.within(lambda: opener(egress, attempt.reach, call, sent))
    if isinstance(head, ProviderError):
        return head
    answer = Answer(attempt, head, credential_headers)
    if not 200 <= head.status < 600:
        await head.close()
        return ProviderError(
            ErrorKind.UNEXPECTED, reason("odd_status", host=attempt.host, status=head.status), may_have_run=True
        )
    if head.headers.get("content-encoding", "identity") not in ("", "identity") and not answer.is_error:
        await head.close()
        return ProviderError(
            ErrorKind.UNEXPECTED,
            reason("compressed", host=attempt.host),
            http_status=head.status,
            may_have_run=True,
        )
    return answer


async def by_aiohttp(egress: Egress, reach: Reach, call: HttpCall, headers: Mapping[str, str]) -> Head:
    response = await egress.session(reach).request(
        call.method, call.url, headers=headers, data=call.body, allow_redirects=False, **_through(reach.proxy)
    )

    async def close() -> None:
        response.release()

    return Head(response.status, _named(response.headers), response.content.readany, close)


def _through(proxy: str) -> dict[str, Any]:
    """The password of the proxy is for the proxy alone."""
    if not proxy:
        return {}
    url = URL(proxy)
    if url.user is None:
        return {"proxy": url}
    credentials = aiohttp.encode_basic_auth(url.user, url.password or "")
    return {"proxy": url.with_user(None), "proxy_headers": {"Proxy-Authorization": credentials}}


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        named[name] = f"{named[name]}, {value}" if name in named else value
    return named
