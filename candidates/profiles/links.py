"""
Profile links: which address names exactly one person, and the one spelling by which addresses are compared.

A LinkedIn profile comes first. Else a GitHub or GitLab account, else an entry of `basics.profiles` whose
address ends with its own `username`. A home page, a company page or the front page of a network names nobody,
and neither does what people leave standing in a template (`/in/yourusername`, the example of JSON Resume).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from candidates.profiles.placeholders import is_placeholder

MAX_LINK_CHARACTERS = 400

_CODE_HOSTS = frozenset({"github.com", "gitlab.com"})
# Reserved for examples (RFC 2606).
_EXAMPLE_HOST = re.compile(r"(.+\.)?example\.(com|net|org)")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+")


def web_link(address: object) -> str:
    """`address` if it is a complete http(s) address that is safe to put into `href`, else ""."""
    if not isinstance(address, str):
        return ""
    address = address.strip()
    if not address.isprintable() or " " in address:
        return ""
    parts = _split(address)
    return address if parts and re.match(r"https?://", address, re.IGNORECASE) else ""


def normalize_link(address: object) -> str:
    """
    The one spelling of a LinkedIn, GitHub or GitLab profile address; "" for any other.

    Scheme, www or country subdomain, letter case, query, fragment, closing slash and what follows the person
    do not count: `http://de.linkedin.com/in/Jane-Doe/en?trk=x` is `https://linkedin.com/in/jane-doe`.
    """
    parts = _split(address)
    if not parts:
        return ""
    host, segments = parts
    if host == "linkedin.com" or host.endswith(".linkedin.com"):
        if len(segments) >= 2 and segments[0] == "in" and not is_placeholder(segments[1]):
            return _join("linkedin.com", segments[:2])
        if len(segments) >= 3 and segments[0] == "pub" and not is_placeholder(segments[1]):
            return _join("linkedin.com", segments[:5])
    elif host in _CODE_HOSTS and len(segments) == 1 and not is_placeholder(segments[0]):
        return _join(host, segments)
    return ""


def profile_link(basics: dict[str, Any]) -> str:
    """The normalized link that identifies the person whom JSON Resume's `basics` describes, or ""."""
    accounts = list(_accounts(basics))
    links = [normalize_link(url) for _, _, url in accounts] + [normalize_link(basics.get("url"))]
    links += [
        normalize_link(f"https://linkedin.com/in/{username}")
        for network, username, _ in accounts
        if network == "linkedin" and username
    ]
    for link in links:
        if link.startswith("https://linkedin.com/"):
            return link
    links += [_link_ending_with_username(url, username) for _, username, url in accounts]
    return next((link for link in links if link), "")


def names_somebody(link: str) -> bool:
    """Whether a normalized link is one by which people are matched; older rows may hold a template's example."""
    parts = _split(link)
    return bool(parts and parts[1] and not is_placeholder(parts[1][-1]) and not _EXAMPLE_HOST.fullmatch(parts[0]))


def _accounts(basics: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(network, user name, address) of each usable entry of `basics.profiles`."""
    entries = basics.get("profiles")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            network, username, url = (entry.get(key) for key in ("network", "username", "url"))
            yield (
                network.strip().lower() if isinstance(network, str) else "",
                username.strip().lstrip("@").lower() if isinstance(username, str) else "",
                url if isinstance(url, str) else "",
            )


def _link_ending_with_username(url: str, username: str) -> str:
    parts = _split(url)
    if not parts or len(username) < 2 or is_placeholder(username):
        return ""
    host, segments = parts
    if _EXAMPLE_HOST.fullmatch(host):
        return ""
    return _join(host, segments) if segments and segments[-1].lstrip("@") == username else ""


def _split(address: object) -> tuple[str, list[str]] | None:
    """Host (lower case, no www) and path segments (decoded, lower case) of a web address, or None."""
    if not isinstance(address, str):
        return None
    address = address.strip()
    if not _SCHEME.match(address):
        address = f"https://{address.lstrip('/')}"
    try:
        parts = urlsplit(address)
        host = _host(parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return None
    segments = [_decoded(segment) for segment in parts.path.split("/") if segment.strip()]
    return (host, segments) if all(segments) else None


def _host(name: str) -> str:
    """A host as people read it: full-width letters as plain ones, punycode (xn--…) as what it stands for."""
    name = unicodedata.normalize("NFKC", name).lower().rstrip(".")
    if "xn--" not in name:
        return name
    try:
        return name.encode("ascii").decode("idna")
    except UnicodeError:  # letters of other scripts, or no punycode after all
        return name


def _decoded(segment: str) -> str:
    """A path segment as people read it, or "" where it holds what no name holds."""
    text = unicodedata.normalize("NFC", unquote(segment, errors="replace")).strip().lower()
    return "" if not text.isprintable() or set(text) & set(' /\\?#"<>\ufffd') else text


def _join(host: str, segments: list[str]) -> str:
    link = f"https://{host}/{'/'.join(segments)}"
    return link if len(link) <= MAX_LINK_CHARACTERS else ""
