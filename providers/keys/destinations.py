"""
Where a key's calls go: base URLs that organizations name, and what they may reach.

One strict reading, no second parser: a base URL is taken apart by one pattern and written anew from its parts.
It is judged when it is saved and again before every call, as an endpoint may be withdrawn in between; the address
behind a name is judged at each connection attempt, in `providers.egress.client`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import idna
from django.conf import settings

from organizations.models import Organization
from providers.adapters.reasons import reason
from providers.catalog import PROVIDERS, effective_base_url
from providers.egress.addresses import ANYWHERE, Reach, is_public
from providers.models import PrivateEndpoint, ProviderKey

LONGEST_BASE_URL = 200
BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[^\s\x00-\x20\x7f/\\:@?#%\[\]<>\"'`{}|^,;]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~-]+)*)/*",
    re.IGNORECASE | re.ASCII,
)
NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
USUAL_PORT = {"http": 80, "https": 443}
# Names that never stand for a server on the internet.
LOCAL_NAMES = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "arpa",
    "test",
    "invalid",
)


class BaseUrlRefused(Exception):
    """A base URL that is none, or that this organization may not use; the text says what to do."""

    def __init__(self, code: str, **named: str | float) -> None:
        self.reason = reason(f"base_url.{code}", **named)
        super().__init__(self.reason.sentence)


@dataclass(frozen=True, slots=True)
class Destination:
    base_url: str
    reach: Reach


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The parts of a base URL in their one form: host in lower-case ASCII, IPv6 without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == USUAL_PORT[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def destination_of(key: ProviderKey) -> Destination:
    """Where calls with `key` go, and what they may connect to. Raises BaseUrlRefused."""
    if not key.base_url:
        base_url = effective_base_url(key.provider)
        if not base_url:
            raise BaseUrlRefused("missing")
        is_own = not settings.KEYFARE_PROVIDER_ORIGINS.get(key.provider)
        return Destination(base_url, Reach(proxy=settings.KEYFARE_EGRESS_PROXY) if is_own else ANYWHERE)
    return _custom(key.organization, key.provider, key.base_url)


def is_private(key: ProviderKey) -> bool:
    """Whether calls with `key` go to a server in a private network, which staff allowed its organization."""
    try:
        return bool(key.base_url and destination_of(key).reach.networks)
    except BaseUrlRefused:
        return False


def normalized_base_url(*, organization: Organization, provider: str, base_url: str) -> str:
    """
    The one form of the base URL that a person typed; "" for providers whose address is constant. Nothing typed is the
    server that the operator's environment names, if it names one.

    Raises BaseUrlRefused.
    """
    if not PROVIDERS[provider].takes_base_url:
        return ""
    return _custom(organization, provider, base_url or effective_base_url(provider)).base_url


def server_address(base_url: str) -> ServerAddress:
    """Raises BaseUrlRefused for whatever is not exactly a base URL; its host is not judged yet."""
    typed = base_url.strip()
    if len(typed) > LONGEST_BASE_URL:
        raise BaseUrlRefused("too_long", most=LONGEST_BASE_URL)
    if "@" in typed:
        raise BaseUrlRefused("credentials")
    if "?" in typed or "#" in typed:
        raise BaseUrlRefused("query")
    parts = BASE_URL.fullmatch(typed)
    if parts is None or any(step in (".", "..") for step in parts["path"].split("/")):
        raise BaseUrlRefused("no_url")
    scheme = parts["scheme"].lower()
    port = int(parts["port"] or USUAL_PORT[scheme])
    if not 1 <= port <= 65535:
        raise BaseUrlRefused("port")
    address = ServerAddress(scheme, _host(parts["host"]), port, parts["path"])
    if len(address.base_url) > LONGEST_BASE_URL:
        raise BaseUrlRefused("too_long", most=LONGEST_BASE_URL)
    return address


def normalized_host(host: str) -> str:
    """A host as base URLs hold it, IPv6 without brackets. Raises BaseUrlRefused."""
    return _host(f"[{host}]" if ":" in host and not host.startswith("[") else host)


def destination_named(*, organization: Organization, url: str) -> Destination:
    """Where a person says that something is to be posted, judged as base URLs are. Raises BaseUrlRefused."""
    return _judged(organization, server_address(url))


def _custom(organization: Organization, provider: str, base_url: str) -> Destination:
    address = server_address(base_url)
    suffix = PROVIDERS[provider].path_to_leave_out
    if suffix and address.path.endswith(suffix):
        address = ServerAddress(address.scheme, address.host, address.port, address.path.removesuffix(suffix))
    if address.base_url == effective_base_url(provider):  # the operator's environment names this very server
        return Destination(address.base_url, ANYWHERE)
    return _judged(organization, address)


def _judged(organization: Organization, address: ServerAddress) -> Destination:
    endpoint = (
        PrivateEndpoint.objects.for_organization(organization)
        .filter(host=address.host, port=address.port)
        .values_list("network", flat=True)
    )
    if networks := tuple(ip_network(network) for network in endpoint.order_by("pk")):
        return Destination(address.base_url, Reach(networks, frozenset({address.port}), is_custom=True))
    if address.scheme != "https":
        raise BaseUrlRefused("no_https")
    ports = frozenset(settings.KEYFARE_CUSTOM_SERVER_PORTS)
    if address.port not in ports:
        raise BaseUrlRefused("other_port", ports=" or ".join(str(port) for port in sorted(ports)))
    if _is_private(address.host):
        raise BaseUrlRefused("private")
    if settings.KEYFARE_EGRESS_PROXY:  # it would look the name up itself, so that no address could be judged here
        raise BaseUrlRefused("proxy")
    return Destination(address.base_url, Reach(ports=ports, is_custom=True))


def _host(written: str) -> str:
    """The host in its one spelling: an address in full, or a name in lower-case ASCII (IDNA 2008, UTS 46)."""
    try:
        if written.startswith("["):
            return str(ip_address(written.strip("[]")))
        # Dots of other scripts become plain ones only here, so a last one is cut off after that.
        name = idna.encode(written, uts46=True).decode().lower().rstrip(".")
    except (ValueError, UnicodeError):  # IDNAError is a UnicodeError
        raise BaseUrlRefused("name") from None
    if NUMBER.fullmatch(name.rpartition(".")[2]):  # an address, which resolvers also take as 127.1 or 0x7f000001
        try:
            return str(ip_address(name))
        except ValueError:
            raise BaseUrlRefused("address") from None
    return name


def _is_private(host: str) -> bool:
    """Whether the host's spelling alone shows that it is not on the internet."""
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return "." not in host or host.rpartition(".")[2] in LOCAL_NAMES
