"""What providers and the servers in front of them send when they refuse: one tolerant parser for all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from providers.adapters.reading import read_json

LONGEST_WAIT_SECONDS = 86_400.0
LARGEST_ERROR_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """
    A provider's description of an error, whatever its shape.

    `message` is lower-case text to be matched, never to be shown: it can hold a part of the key. `code` is
    text even where the provider sends a number. `details` is the provider's own object or list of them.
    """

    message: str = ""
    type: str = ""
    code: str = ""
    status: str = ""
    param: str = ""
    details: Any = None
    metadata: Any = None
    request_id: object = ""

    @property
    def is_empty(self) -> bool:
        return not any((self.message, self.type, self.code, self.status, self.details))

    @property
    def code_as_status(self) -> int | None:
        """The code, where it is an HTTP status."""
        return int(self.code) if len(self.code) == 3 and self.code.isascii() and self.code.isdigit() else None

    @property
    def reasons(self) -> frozenset[str]:
        """The machine-readable reasons of Google's ErrorInfo details."""
        return frozenset(str(detail["reason"]) for detail in self._detail_rows if "reason" in detail)

    @property
    def quotas(self) -> frozenset[str]:
        """The ids of the quotas that Google's QuotaFailure details name."""
        violations = (detail.get("violations") for detail in self._detail_rows)
        rows = (row for listed in violations if isinstance(listed, list) for row in listed if isinstance(row, dict))
        return frozenset(str(row["quotaId"]) for row in rows if "quotaId" in row)

    @property
    def retry_after_seconds(self) -> float | None:
        """The wait that Google names in a RetryInfo detail (it sends no Retry-After header)."""
        for detail in self._detail_rows:
            delay = detail.get("retryDelay")
            if isinstance(delay, str) and delay.endswith("s"):
                return _seconds(delay[:-1])
        return None

    @property
    def _detail_rows(self) -> list[dict[str, Any]]:
        return [row for row in self.details if isinstance(row, dict)] if isinstance(self.details, list) else []


def parse_error_body(body: bytes) -> ErrorBody:
    """Read an error body. Never raises; what is no JSON, or says nothing, gives an empty ErrorBody."""
    return error_in(read_json(body))


def error_in(content: object) -> ErrorBody:
    """
    The error that parsed JSON describes, an empty ErrorBody if it describes none.

    `error` may be an object, text or in a list, and called `errors` or `fault`; `detail` text or a list; `code` text, a
    number or null; `message` is `Message`, `msg` or `faultstring` at some; the whole may be wrapped in a list of one
    (provider API documentation, checked 2026-11-27).
    """
    content = _first(content)
    if isinstance(content, str):
        return ErrorBody(message=content.lower())
    if not isinstance(content, dict):
        return ErrorBody()
    error = next((found for name in ("error", "errors", "fault") if (found := _first(content.get(name)))), None)
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        message = content.get("message")
        # Mistral's stands under "message".
        detail = _first(message.get("detail") if isinstance(message, dict) else content.get("detail"))
        if isinstance(detail, dict):
            where = detail.get("loc")
            said = detail.get("msg") or detail.get("message") or "detail"
            detail = f"{said} ({detail.get('type')}: {where[-1]})" if isinstance(where, list) and where else said
        error = {**content, "message": detail} if isinstance(detail, str) else content
    said = next((text for name in ("message", "Message", "msg", "faultstring") if (text := _text(error.get(name)))), "")
    return ErrorBody(
        message=said.lower(),
        type=_text(error.get("type") or error.get("error_type")),
        code=_text(error.get("code")),
        status=_text(error.get("status")),
        param=_text(error.get("param")),
        details=error.get("details"),
        metadata=error.get("metadata"),
        request_id=content.get("request_id") or "",
    )


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """
    Seconds until a retry is welcome, from `retry-after-ms` or `retry-after` (seconds, a fraction or an HTTP
    date).

    A date counts from the answer's own `date` where there is one. None if there is no such header or no sense
    in it; at least 0, at most a day.
    """
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    start = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - start).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)


def _first(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def _text(value: object) -> str:
    if isinstance(value, (bool, Decimal)) or value is None:
        return ""
    return str(value) if isinstance(value, (str, int)) else ""


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
