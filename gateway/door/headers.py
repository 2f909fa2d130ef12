"""
Which headers go on to a provider, and which come back.

Both lists are open: what we do not know passes. Kept back are what proves who calls (us or the provider), what belongs
to one connection, and what names the account behind the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.door.endpoints import Wire
from usage.amounts import usd_exactly
from usage.audience import sees_usd
from usage.pricing import Price

Headers = Iterable[tuple[bytes, bytes]]

# Of one connection, RFC 9110, 7.6.1, and what a proxy on the way adds.
_OF_THE_CONNECTION = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "expect", "accept-encoding", "forwarded", "via",
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
    "server-timing", "www-authenticate",
}  # fmt: skip
_NOT_DOWNSTREAM_PREFIXES = ("cf-", "x-envoy-", "x-amz", "x-goog-", "access-control-", "x-keyfare-")
OURS = "x-keyfare-"
COST_HEADER = "x-keyfare-cost-usd"
ANTHROPIC_VERSION = "2023-06-01"


def read(raw: Headers) -> dict[str, str]:
    """By names in small letters; of several with one name, their values joined as one list."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


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


def downstream(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """What comes back to the caller of an answer's headers."""
    return [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in headers.items()
        if name not in _NOT_DOWNSTREAM and not name.startswith(_NOT_DOWNSTREAM_PREFIXES)
    ]


def cost_header(mode: str, cost: Price) -> dict[str, str]:
    """What a call cost; nothing where nobody knows, or its organization is not to see it."""
    if cost.cost_nanousd is None or not sees_usd(mode):
        return {}
    return {COST_HEADER: usd_exactly(cost.cost_nanousd)}


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]


def token_in(headers: Mapping[str, str], query: Mapping[str, str], wire: Wire) -> str:
    """The caller's token, wherever its client puts it; "" where there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    for name in CREDENTIALS[1:]:
        if value := headers.get(name, "").strip():
            return value
    return query.get("key", "") if wire is Wire.GEMINI else ""
