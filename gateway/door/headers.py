"""
Which headers go on to a provider, and which come back.

Both lists are open: what we do not know passes. Kept back are what proves who calls (us or the provider), what belongs
to one connection, and what names the account behind the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.door.endpoints import Wire
from gateway.door.errors import DoorError
from usage.amounts import usd_exactly
from usage.audience import sees_usd
from usage.pricing import Price

Headers = Iterable[tuple[bytes, bytes]]

# Of one connection, RFC 9110, 7.6.1, and what a proxy on the way adds.
_OF_THE_CONNECTION = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "content-encoding", "expect", "accept-encoding",
        "forwarded", "via",
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-ip", "max-forwards",
    }
)  # fmt: skip
CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_NOT_UPSTREAM = _OF_THE_CONNECTION.union(
    CREDENTIALS,
    {
        "cookie", "cookie2", "origin", "referer", "openai-organization", "openai-project", "anthropic-organization-id",
        "x-goog-user-project", "traceparent", "tracestate", "baggage",
    },
)  # fmt: skip
_NOT_DOWNSTREAM = _OF_THE_CONNECTION | {
    "set-cookie", "set-cookie2", "server", "date", "alt-svc", "strict-transport-security", "nel", "report-to",
    "openai-organization", "openai-project", "anthropic-organization-id", "x-powered-by", "content-encoding",
    "server-timing", "www-authenticate", "location", "refresh", "clear-site-data", "service-worker-allowed",
    "x-content-type-options", "x-litellm-model-api-base",
}  # fmt: skip
# Before the names of what LiteLLM hands on of its own provider's headers.
_HANDED_ON = "llm_provider-"
_NOT_DOWNSTREAM_PREFIXES = ("cf-", "x-envoy-", "x-amz", "x-goog-", "access-control-", "x-keyfare-")
OURS = "x-keyfare-"
LARGEST = 64 * 1024
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
COST_HEADER = "x-keyfare-cost-usd"
ANTHROPIC_VERSION = "2023-06-01"
# Of every answer. Doors and pages are one origin to a browser, and a form can post to a door: what a provider answers
# is never a page of ours, whatever type it says it has.
NO_PAGE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)


def read(raw: Headers) -> dict[str, str]:
    """By names in small letters; of several with one name, their values joined as one list."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), _text(value)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _text(value: bytes) -> str:
    """What clients write beyond ASCII is UTF-8, as they go on to a provider; of older ones Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def is_codex(headers: Mapping[str, str]) -> bool:
    return headers.get("originator", "").startswith("codex")


def refuse_too_large(raw: Headers) -> None:
    """Raises DoorError."""
    if sum(len(name) + len(value) for name, value in raw) > LARGEST:
        raise DoorError(431, "headers_too_large", f"The headers of a request may have {LARGEST // 1024} KB.")


def upstream(headers: Mapping[str, str], wire: Wire) -> dict[str, str]:
    """What goes on to the provider of a request's headers."""
    named = {part.strip().lower() for part in headers.get("connection", "").split(",")}
    sent = {
        name: value
        for name, value in headers.items()
        if name not in _NOT_UPSTREAM and name not in named and not name.startswith(OURS)
    }
    sent["content-type"] = "application/json"
    if wire is Wire.ANTHROPIC:
        sent.setdefault("anthropic-version", ANTHROPIC_VERSION)
    return sent


def downstream(headers: Mapping[str, str], *, hides_usd: bool = False) -> list[tuple[bytes, bytes]]:
    """What comes back to the caller of an answer's headers; LiteLLM tells in some what the call and its key cost."""
    return [
        (name.encode("latin-1", "replace"), _one_line(value).encode(errors="surrogateescape"))
        for name, value in headers.items()
        if not _is_kept_back(name.removeprefix(_HANDED_ON), hides_usd)
    ]


def _is_kept_back(name: str, hides_usd: bool) -> bool:
    if name in _NOT_DOWNSTREAM or name.startswith(_NOT_DOWNSTREAM_PREFIXES):
        return True
    return hides_usd and ("cost" in name or "spend" in name)


def cost_header(mode: str, cost: Price) -> dict[str, str]:
    """What a call cost; nothing where nobody knows, or its organization is not to see it."""
    if cost.cost_nanousd is None or not sees_usd(mode):
        return {}
    return {COST_HEADER: usd_exactly(cost.cost_nanousd)}


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Ours. What a provider said stands in some of them: no end of a line may, which would begin another header."""
    return [
        (name.encode("latin-1"), _one_line(value).encode(errors="surrogateescape")) for name, value in headers.items()
    ]


def _one_line(value: str) -> str:
    return value if value.isprintable() else _CONTROLS.sub("?", value)


def token_in(headers: Mapping[str, str], query: Mapping[str, str], wire: Wire) -> str:
    """The caller's token, wherever its client puts it; "" where there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    for name in CREDENTIALS[1:]:
        if value := headers.get(name, "").strip():
            return value
    return query.get("key", "") if wire is Wire.GEMINI else ""
