"""
The address that anomalies are posted to: judged as base URLs of keys are (providers/keys/destinations.py), and refused
in words of its own.
"""

from __future__ import annotations

from organizations.models import Organization
from providers.keys.destinations import LONGEST_BASE_URL, BaseUrlRefused, Destination, destination_named

EXAMPLE = "https://hooks.example.com/keyfare"
TOO_LONG = f"The address has at most {LONGEST_BASE_URL} characters."
NO_PORT = "A port is a number from 1 to 65535."
SENTENCES = {
    "too_long": TOO_LONG,
    "credentials": "Leave user name and password out of the address: each post is signed with the secret instead.",
    "query": "Leave out what begins with “?” or “#”: the address ends with its path.",
    "port": NO_PORT,
    "no_https": (
        "The address has to begin with https://. Only a server in a private network, which whoever runs this "
        "installation has allowed, is posted to without."
    ),
    "other_port": "Only port {ports} can be posted to.",
    "private": (
        "This address is not on the internet. A server in a private network has to be allowed by whoever runs this "
        "installation first."
    ),
    "proxy": (
        "This installation reaches the internet through a proxy, by which nothing is posted. Whoever runs it can allow "
        "servers in its own network."
    ),
    "name": "The name of the server is not valid. Copy the address again.",
    "address": "Write an IP address as four numbers from 0 to 255.",
}


class AddressRefused(Exception):
    """Nothing can be posted there; the text says what to do."""


def address_named(*, organization: Organization, url: str) -> Destination:
    """Raises AddressRefused."""
    try:
        return destination_named(organization=organization, url=url)
    except BaseUrlRefused as refused:
        code = refused.reason.code.removeprefix("base_url.")
        sentence = SENTENCES.get(code) or _what_is_wrong(url.strip())
        raise AddressRefused(sentence.format_map(refused.reason.parameters)) from None


def _what_is_wrong(url: str) -> str:
    """Of what does not look like an address at all."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("https", "http"):
        return f"Begin the address with https://, as in {EXAMPLE}."
    server = rest.partition("/")[0]
    host, colon, _ = server.rpartition("]")[2].partition(":")
    if not server or server.startswith(":"):
        return f"Name the server after https://, as in {EXAMPLE}."
    if colon and (host or server.startswith("[")):
        return NO_PORT
    return f"This is no address of a server. One looks like {EXAMPLE}."
