"""What goes wrong at a door, in the caller's own wire, and told apart from what a provider said."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.door.endpoints import Wire

# What says that an error is ours, and which.
ERROR_HEADER = "x-keyfare-error"
RETRY_BOOKS_AFTER_SECONDS = 5.0  # where the database cannot be asked

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class DoorError(Exception):
    """
    A call that we refuse or that fails on the way. `sentence` says what to do. `can_retry`: the same may well succeed
    in a while, after `retry_after_seconds` where that is known.
    """

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        can_retry: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence
        self.can_retry, self.retry_after_seconds = can_retry, retry_after_seconds
        self.marks: Mapping[str, str] = {}  # headers that name the call, where there was one

    @property
    def headers(self) -> Mapping[str, str]:
        headers = {ERROR_HEADER: self.code, "content-type": "application/json", **self.marks}
        if not self.can_retry:
            headers["x-should-retry"] = "false"
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(self._whole_seconds)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    @property
    def _whole_seconds(self) -> int:
        return max(1, round(self.retry_after_seconds or 0))

    def body(self, wire: Wire) -> bytes:
        # Halves of surrogate pairs, which no encoding has bytes for, stand as the escapes that they came in.
        return json.dumps(self._content(wire), ensure_ascii=False).encode(errors="backslashreplace")

    def event(self, wire: Wire) -> bytes:
        """The same inside a stream of events that has begun."""
        name = b"event: error\n" if wire is Wire.ANTHROPIC else b""
        return name + b"data: " + self.body(wire) + b"\n\n"

    def _content(self, wire: Wire) -> dict[str, object]:
        server = "api_error" if self.status >= 500 else "invalid_request_error"
        match wire:
            case Wire.OPENAI:
                kind = _OPENAI_TYPES.get(self.status, server)
                return {"error": {"message": self.sentence, "type": kind, "param": None, "code": self.code}}
            case Wire.ANTHROPIC:
                kind = _ANTHROPIC_TYPES.get(self.status, server)
                if self.status == 503 and not self.can_retry:
                    kind = server  # Claude Code tries again whatever is “overloaded”, and shows its own words for it
                return {"type": "error", "error": {"type": kind, "message": self.sentence}}
            case Wire.GEMINI:
                error: dict[str, object]
                status = _GEMINI_STATUSES.get(self.status, "INTERNAL")
                error = {"code": self.status, "message": self.sentence, "status": status}
                if self.retry_after_seconds is not None:  # Google's clients read it here, and no header
                    error["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{self._whole_seconds}s"}]
                return {"error": error}


def took_too_long() -> DoorError:
    return DoorError(504, "upstream_timeout", "The call took too long. It may have been billed.")


def server_ends() -> DoorError:
    return DoorError(
        503, "server_ends", "This server was made to end. If the provider was asked, it may have billed it."
    )


def redirected() -> DoorError:
    return DoorError(502, "upstream_redirect", "The provider answered with a redirect, which is not followed.")


def no_such_path(method: str, path: str) -> DoorError:
    shown = path[:80]
    return DoorError(
        404,
        "no_such_path",
        f"There is no {method} {shown} here. Models are called at /v1/chat/completions, /v1/responses, "
        "/v1/embeddings, /v1/messages and /v1beta/models/…:generateContent.",
    )
