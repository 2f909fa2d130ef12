"""Base URLs that try to reach what they must not: refused when saved, and no connection when they are called."""

from __future__ import annotations

import asyncio
import socket
import time

import httpx
import pytest
from yarl import URL

from organizations.models import AuditEvent
from providers.adapters.base import ErrorKind, HttpCall, ProviderError
from providers.adapters.secret import Secret
from providers.catalog import origin_of
from providers.custody import sealing
from providers.egress import client as egress
from providers.egress.addresses import ANYWHERE, Reach
from providers.egress.connections import AddressRefused, WholeAnswerResolver, open_client, open_socket
from providers.egress.short_calls import send_now
from providers.keys.destinations import BaseUrlRefused, destination_of, normalized_base_url, server_address
from providers.keys.private_endpoints import EndpointRefused, allow_private_endpoint, withdraw_private_endpoint
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import save_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, ProviderKey
from tests.builders import NOW, SERVERS

CUSTOM = Reach(ports=frozenset({443, 8443}), is_custom=True)
PUBLIC_ADDRESS = "93.184.216.34"

REFUSED_WHEN_SAVED = [
    # no https
    "http://llm.example.com/v1",
    "http://127.0.0.1:9001/v1",
    "ftp://llm.example.com/v1",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "unix:///var/run/docker.sock",
    "javascript:alert(1)",
    "//llm.example.com/v1",
    "llm.example.com/v1",
    "",
    "https://",
    "https:///v1",
    "https:/llm.example.com/v1",
    # loopback and private, plainly
    "https://127.0.0.1/v1",
    "https://10.0.0.1/v1",
    "https://172.16.0.1/v1",
    "https://192.168.1.1/v1",
    "https://169.254.169.254/latest/meta-data",
    "https://100.100.100.200/v1",
    "https://192.0.0.192/v1",
    "https://0.0.0.0/v1",
    "https://255.255.255.255/v1",
    "https://localhost/v1",
    "https://LOCALHOST./v1",
    "https://metadata.google.internal/v1",
    "https://printer.local/v1",
    "https://intranet/v1",
    # spelt oddly
    "https://2130706433/v1",
    "https://0x7f000001/v1",
    "https://0x7f.1/v1",
    "https://017700000001/v1",
    "https://0177.0.0.1/v1",
    "https://127.1/v1",
    "https://127.0.1/v1",
    "https://127.0.0.1./v1",
    "https://0/v1",
    "https://127。0。0。1/v1",
    "https://①②⑦.⓪.⓪.①/v1",
    "https://１２７.0.0.1/v1",
    "https://%31%32%37.0.0.1/v1",
    "https://127.0.0.1%2f.example.com/v1",
    "https://999.1.1.1/v1",
    "https://lo\u00adcalhost/v1",
    # IPv6
    "https://[::1]/v1",
    "https://[::]/v1",
    "https://[::ffff:127.0.0.1]/v1",
    "https://[::ffff:7f00:1]/v1",
    "https://[::127.0.0.1]/v1",
    "https://[0:0:0:0:0:0:0:1]/v1",
    "https://[64:ff9b::7f00:1]/v1",
    "https://[64:ff9b:1::a00:1]/v1",
    "https://[2002:7f00:1::]/v1",
    "https://[fe80::1%25eth0]/v1",
    "https://[fd00:ec2::254]/v1",
    "https://[fec0::1]/v1",
    "https://[2001:db8::1]/v1",
    "https://[::1/v1",
    "https://::1/v1",
    # user names, and two parsers that disagree
    "https://llm.example.com@127.0.0.1/v1",
    "https://user:password@llm.example.com/v1",
    "https://127.0.0.1\\@llm.example.com/v1",
    "https://llm.example.com\\.127.0.0.1/v1",
    "https://llm.example.com#@127.0.0.1/v1",
    "https://llm.example.com?@127.0.0.1/v1",
    "https://llm.example.com;127.0.0.1/v1",
    "https://llm.example.com /v1",
    "https://llm.example\n.com/v1",
    "https://llm.example.com/v1\r\nHost: 127.0.0.1",
    "https://llm.example.com\x00.127.0.0.1/v1",
    "https://llm.example.com/../../v1",
    "https://llm.example.com/v1?key=1",
    "https://llm.example.com/v1#fragment",
    # ports
    "https://llm.example.com:22/v1",
    "https://llm.example.com:6379/v1",
    "https://llm.example.com:80/v1",
    "https://llm.example.com:0/v1",
    "https://llm.example.com:65536/v1",
    "https://llm.example.com:443:22/v1",
    "https://llm.example.com:-1/v1",
    "https://llm.example.com:４４３/v1",
    # names that IDNA does not know
    "https://xn--a/v1",
    "https://-bad-.example.com/v1",
    f"https://{'a' * 64}.example.com/v1",
    f"https://llm.example.com/{'a' * 200}",
]
# Honest names as far as they can be told: what they resolve to decides.
RESOLVES_BADLY = {
    "127.0.0.1.nip.example.com": ["127.0.0.1"],
    "private.example.com": ["10.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "carrier.example.com": ["100.64.0.1"],
    "mixed.example.com": [PUBLIC_ADDRESS, "10.0.0.1"],
    "mixed-first.example.com": ["127.0.0.1", PUBLIC_ADDRESS],
    "mixed-families.example.com": [PUBLIC_ADDRESS, "::1"],
    "six.example.com": ["::1"],
    "mapped.example.com": ["::ffff:10.0.0.1"],
    "nat64.example.com": ["64:ff9b::a00:1"],
    "sixtofour.example.com": ["2002:7f00:1::"],
    "unique-local.example.com": ["fd12:3456::1"],
    "multicast.example.com": ["224.0.0.1"],
    "unspecified.example.com": ["0.0.0.0"],  # noqa: S104
    "nobody.example.com": [],
}
RESOLVED = [f"https://{host}/v1" for host in RESOLVES_BADLY]


@pytest.fixture
def names() -> dict[str, list[str]]:
    """What names resolve to; a test may add to it, also between two calls."""
    return dict(RESOLVES_BADLY)


@pytest.fixture
def connections(monkeypatch, names) -> list[object]:
    """Every address to which a socket of this process was told to connect. None of them is really made."""
    attempts: list[object] = []

    def connect(self: socket.socket, address: object) -> None:
        attempts.append(address)
        raise ConnectionRefusedError("no traffic in this test")

    resolve = socket.getaddrinfo

    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
        name = host.decode() if isinstance(host, bytes) else host
        if name in names:
            found = [row for address in names[name] for row in resolve(address, port, family, type, proto)]
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return found
        # Whatever the system's resolver takes for an address, but no lookup outside this machine.
        return resolve(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(egress, "FASTEST_FAILURE_SECONDS", 0)
    return attempts


def key_at(acme, base_url: str) -> ProviderKey:
    """A key whose base URL came past the check that saving makes."""
    key = save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret("sk-canary-0123456789abcdef"),
        base_url="https://llm.example.com/v1",
        actor=None,
        now=NOW,
    )
    key.base_url = base_url[:200]
    key.origin = origin_of(key.provider, key.base_url)
    sealing.seal(key, Secret("sk-canary-0123456789abcdef"))
    key.save()
    return key


def validate(key: ProviderKey) -> ProviderKey:
    validation = KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=NOW
    )
    validate_key(validation_id=validation.pk, now=NOW)
    return ProviderKey.objects.get(pk=key.pk)


def ask(base_url: str, reach: Reach = CUSTOM) -> ProviderError:
    with pytest.raises(ProviderError) as failed:
        send_now(
            HttpCall("GET", f"{base_url}/models", {}, None),
            credential_headers={"authorization": "Bearer sk-canary-0123456789abcdef"},
            timeout_seconds=5,
            reach=reach,
        )
    return failed.value


def test_there_are_enough_of_them():
    assert len({*REFUSED_WHEN_SAVED, *RESOLVED}) >= 60


@pytest.mark.parametrize("base_url", REFUSED_WHEN_SAVED)
def test_a_hostile_base_url_is_refused_when_it_is_saved(acme, connections, base_url):
    for provider in SERVERS:
        with pytest.raises(BaseUrlRefused) as refused:
            save_provider_key(
                organization=acme, provider=provider, secret=Secret(""), base_url=base_url, actor=None, now=NOW
            )
        assert str(refused.value).endswith(".")

    assert not ProviderKey.objects.exists()
    assert connections == []


# No column holds NUL, so that one cannot be there.
@pytest.mark.parametrize("base_url", [url for url in REFUSED_WHEN_SAVED + RESOLVED if "\x00" not in url])
def test_a_hostile_base_url_in_the_database_makes_no_connection(acme, connections, base_url):
    key = validate(key_at(acme, base_url))

    assert connections == []
    assert key.status in (ProviderKey.Status.UNREACHABLE, ProviderKey.Status.NEEDS_REENTRY)


@pytest.mark.parametrize("base_url", REFUSED_WHEN_SAVED + RESOLVED)
def test_egress_alone_makes_no_connection_to_a_hostile_url(connections, base_url):
    error = ask(base_url)

    # Names that are honest for all that egress can tell end nowhere: the spy's resolver does not know them.
    assert connections == []
    assert error.kind in (ErrorKind.UNREACHABLE, ErrorKind.UNEXPECTED)


@pytest.mark.parametrize("base_url", RESOLVED)
def test_what_is_blocked_reads_as_unreachable(connections, names, base_url):
    names["refusing.example.com"] = [PUBLIC_ADDRESS]
    refusing = ask("https://refusing.example.com/v1")

    blocked = ask(base_url)

    host = base_url.split("/")[2]
    assert blocked.sentence.replace(host, "HOST") == refusing.sentence.replace("refusing.example.com", "HOST")
    assert blocked.kind is refusing.kind is ErrorKind.UNREACHABLE
    assert [address[0] for address in connections] == [PUBLIC_ADDRESS]


def test_what_is_blocked_takes_as_long_as_what_refuses(connections, names, monkeypatch):
    monkeypatch.setattr(egress, "FASTEST_FAILURE_SECONDS", 0.5)
    names["refusing.example.com"] = [PUBLIC_ADDRESS]
    took = {}
    for host in ("refusing.example.com", "private.example.com", "nobody.example.com", "mixed.example.com"):
        started = time.monotonic()
        ask(f"https://{host}/v1")
        took[host] = time.monotonic() - started

    assert all(0.5 <= seconds < 0.9 for seconds in took.values()), took


def test_a_name_that_rebinds_is_judged_at_each_connection(connections, names):
    async def run() -> list[str]:
        sentences = []
        async with open_client() as client:
            for answer in (PUBLIC_ADDRESS, "127.0.0.1", PUBLIC_ADDRESS, "169.254.169.254"):
                names["rebinding.example.com"] = [answer]
                with pytest.raises(ProviderError) as failed:
                    await egress.send(
                        client,
                        HttpCall("GET", "https://rebinding.example.com/v1/models", {}, None),
                        credential_headers={},
                        timeout_seconds=5,
                        reach=CUSTOM,
                    )
                sentences.append(failed.value.sentence)
        return sentences

    assert len(set(asyncio.run(run()))) == 1
    assert connections == [(PUBLIC_ADDRESS, 443)] * 2


def test_the_socket_decides_even_where_the_resolver_lies(connections, monkeypatch):
    async def lie(self, host, port=0, family=socket.AF_INET):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr(WholeAnswerResolver, "resolve", lie)

    assert ask("https://lying.example.com/v1").kind is ErrorKind.UNREACHABLE
    assert connections == []


def test_no_connection_leaves_by_a_unix_socket():
    with pytest.raises(AddressRefused):
        open_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/var/run/docker.sock", 0)), reach=ANYWHERE)


def test_the_spy_sees_what_is_allowed(connections):
    ask("http://127.0.0.1:9/v1", ANYWHERE)

    assert connections == [("127.0.0.1", 9)]


def test_an_allowance_for_one_destination_opens_nothing_for_another(connections):
    async def run() -> None:
        async with open_client() as client:
            for reach in (ANYWHERE, CUSTOM):
                with pytest.raises(ProviderError):
                    await egress.send(
                        client,
                        HttpCall("GET", "http://127.0.0.1:443/", {}, None),
                        credential_headers={},
                        timeout_seconds=5,
                        reach=reach,
                    )
            assert client.session(ANYWHERE) is not client.session(CUSTOM)
            assert client.session(CUSTOM) is client.session(Reach(ports=CUSTOM.ports, is_custom=True))

    asyncio.run(run())

    assert connections == [("127.0.0.1", 443)]


# The one form of a base URL -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://llm.example.com/v1", "https://llm.example.com/v1"),
        ("  HTTPS://LLM.Example.com:443/v1///\n", "https://llm.example.com/v1"),
        ("https://llm.example.com.", "https://llm.example.com"),
        ("https://Bücher.example/v1", "https://xn--bcher-kva.example/v1"),
        ("https://１.1.1.1/v1", "https://1.1.1.1/v1"),
        ("https://[2606:4700:0:0::1111]/v1", "https://[2606:4700::1111]/v1"),
    ],
)
def test_a_base_url_is_kept_in_one_form(acme, typed, kept):
    assert normalized_base_url(organization=acme, provider="openai_compatible", base_url=typed) == kept
    assert server_address(kept).base_url == kept
    assert str(URL(kept)).rstrip("/") == str(httpx.URL(kept)).rstrip("/") == kept


def test_ollamas_base_url_loses_the_path_people_copy_along(acme):
    for typed in ("https://ollama.example.com/v1/", "https://ollama.example.com/"):
        assert normalized_base_url(organization=acme, provider="ollama", base_url=typed) == "https://ollama.example.com"


def test_another_port_needs_a_setting(acme, settings):
    settings.KEYFARE_CUSTOM_SERVER_PORTS = [443, 8443]

    typed = "https://llm.example.com:8443/v1"
    assert normalized_base_url(organization=acme, provider="openai_compatible", base_url=typed) == typed


def test_a_providers_own_address_cannot_be_changed(acme):
    key = save_provider_key(
        organization=acme,
        provider="mistral",
        secret=Secret("sk-canary-0123456789abcdef"),
        base_url="https://evil.example.com",
        actor=None,
        now=NOW,
    )

    assert (key.base_url, key.origin) == ("", "https://api.mistral.ai")
    assert destination_of(key).base_url == "https://api.mistral.ai/v1"


# Private endpoints ----------------------------------------------------------------------------------------


def endpoint(acme, host="ollama.corp.example.com", port=11434, network="10.1.2.0/24"):
    return allow_private_endpoint(organization=acme, host=host, port=port, network=network, actor=None)


def test_a_private_server_is_reached_once_staff_allowed_it(acme, globex, connections, names):
    names["ollama.corp.example.com"] = ["10.1.2.3"]
    base_url = "http://ollama.corp.example.com:11434"
    endpoint(acme, host="Ollama.Corp.Example.com.")

    key = save_provider_key(
        organization=acme, provider="ollama", secret=Secret(""), base_url=base_url, actor=None, now=NOW
    )
    validate(key)

    assert connections == [("10.1.2.3", 11434)]
    with pytest.raises(BaseUrlRefused):
        normalized_base_url(organization=globex, provider="ollama", base_url=base_url)
    for other in ("http://ollama.corp.example.com:22", "http://ollama.corp.example.com", "http://10.1.2.3:11434"):
        with pytest.raises(BaseUrlRefused):
            normalized_base_url(organization=acme, provider="ollama", base_url=other)


@pytest.mark.parametrize("answers", [["10.9.9.9"], ["127.0.0.1"], ["10.1.2.3", "10.9.9.9"], [PUBLIC_ADDRESS]])
def test_a_private_server_that_moves_out_of_its_network_is_not_reached(acme, connections, names, answers):
    endpoint(acme)
    names["ollama.corp.example.com"] = answers
    key = save_provider_key(
        organization=acme,
        provider="ollama",
        secret=Secret(""),
        base_url="http://ollama.corp.example.com:11434",
        actor=None,
        now=NOW,
    )

    assert validate(key).status == ProviderKey.Status.UNREACHABLE
    assert connections == []


def test_a_withdrawn_endpoint_is_not_reached_any_more(acme, alice, connections, names):
    names["ollama.corp.example.com"] = ["10.1.2.3"]
    allowed = endpoint(acme)
    key = save_provider_key(
        organization=acme,
        provider="ollama",
        secret=Secret(""),
        base_url="http://ollama.corp.example.com:11434",
        actor=None,
        now=NOW,
    )

    withdraw_private_endpoint(endpoint=allowed, actor=alice)

    assert validate(key).status == ProviderKey.Status.UNREACHABLE
    assert connections == []
    assert AuditEvent.objects.get(action="private_endpoint.withdrawn").actor == alice


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"host": "user@host"}, "host"),
        ({"host": "127.1"}, "host"),
        ({"network": "10.1.2.3/24"}, "network"),
        ({"network": "everywhere"}, "network"),
        ({"network": "169.254.169.254/32"}, "network"),
        ({"network": "fe80::/64"}, "network"),
        ({"host": "10.9.9.9"}, "network"),
    ],
)
def test_an_endpoint_that_makes_no_sense_is_refused(acme, facts, field):
    with pytest.raises(EndpointRefused) as refused:
        endpoint(acme, **facts)

    assert refused.value.field == field


def test_an_endpoint_is_allowed_once(acme):
    endpoint(acme)
    with pytest.raises(EndpointRefused):
        endpoint(acme)


# The seal -------------------------------------------------------------------------------------------------


def test_a_base_url_changed_under_a_stored_key_asks_for_the_key_again(acme, connections, names):
    names["evil.example.com"] = [PUBLIC_ADDRESS]
    key = save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret("sk-canary-0123456789abcdef"),
        base_url="https://llm.example.com/v1",
        actor=None,
        now=NOW,
    )
    for changed in ({"base_url": "https://evil.example.com/v1"}, {"origin": "https://evil.example.com"}):
        ProviderKey.objects.filter(pk=key.pk).update(**changed)
        key.refresh_from_db()
        assert validate(key).status == ProviderKey.Status.NEEDS_REENTRY

    assert connections == []


def test_replacing_the_base_url_takes_the_newly_entered_key_and_drops_the_old_one(acme):
    key = save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret("sk-canary-0123456789abcdef"),
        base_url="https://llm.example.com/v1",
        actor=None,
        now=NOW,
    )

    moved = replace_provider_key(
        key=key, secret=Secret(""), base_url="https://other.example.com/v1", actor=None, now=NOW
    )

    assert moved.origin == "https://other.example.com"
    assert sealing.sealed_key(moved).open().reveal() == ""
