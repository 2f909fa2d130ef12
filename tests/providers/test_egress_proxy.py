"""The operator's forward proxy: what leaves through it, what does not, and that it sees no key."""

from __future__ import annotations

import asyncio
import base64
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.adapters.base import ErrorKind, HttpCall, ProviderError
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS
from providers.custody.system_checks import egress_proxy
from providers.egress import connections, short_calls
from providers.egress.addresses import Reach
from providers.egress.short_calls import send_now
from providers.keys.destinations import BaseUrlRefused, destination_of, normalized_base_url
from providers.keys.private_endpoints import allow_private_endpoint
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from tests.builders import NOW, SERVERS
from tests.providers.test_egress import free_port, reply
from tests.providers.test_validation import validated

KEY = "sk-canary-0123456789abcdef"
OPENAI = "api.openai.com"
MODELS = b'{"object":"list","data":[{"id":"gpt-4.1-mini","object":"model"}]}'
NOT_THROUGH = "through a proxy, which is for the built-in providers only"


@dataclass
class Network:
    """
    A provider with a certificate, and a proxy before it that knows where CONNECT leads; both on loopback.

    `heads` are what the provider was asked, `seen` every byte that the proxy saw from us, `answer` what the proxy
    says to CONNECT.
    """

    answer: bytes = reply("HTTP/1.1 200 Connection established")
    heads: list[bytes] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    proxy_port: int = 0
    provider_port: int = 0

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def connect_head(self) -> bytes:
        return bytes(self.seen).partition(b"\r\n\r\n")[0]

    async def serve_provider(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply("HTTP/1.1 200 OK", f"Content-Length: {len(MODELS)}", "Connection: close", body=MODELS))
        await writer.drain()
        writer.close()

    async def serve_proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen += await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        if not self.answer.startswith(b"HTTP/1.1 200"):
            if self.answer:
                writer.close()
            return
        from_provider, to_provider = await asyncio.open_connection("127.0.0.1", self.provider_port)
        await asyncio.gather(self._pass_on(reader, to_provider, self.seen), self._pass_on(from_provider, writer))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray | None = None
    ) -> None:
        try:
            while content := await reader.read(65536):
                if seen is not None:
                    seen += content
                writer.write(content)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def run(self, certificates: ssl.SSLContext, ready: Future[None], ended: asyncio.Event) -> None:
        provider = await asyncio.start_server(self.serve_provider, "127.0.0.1", 0, ssl=certificates)
        proxy = await asyncio.start_server(self.serve_proxy, "127.0.0.1", 0)
        self.provider_port = provider.sockets[0].getsockname()[1]
        self.proxy_port = proxy.sockets[0].getsockname()[1]
        ready.set_result(None)
        await ended.wait()


def certificate_for(name: str, directory: Path) -> Path:
    """A file with a certificate for `name`, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"{name}.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.fixture
def certified_name() -> str:
    return OPENAI


@pytest.fixture
def network(certified_name, monkeypatch, tmp_path) -> Iterator[Network]:
    """We trust the provider's certificate, as if an authority had signed it."""
    file = certificate_for(certified_name, tmp_path)
    presented = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    presented.load_cert_chain(file)
    trusted = ssl.create_default_context(cafile=str(file))
    monkeypatch.setattr(connections, "certificates", lambda: trusted)
    monkeypatch.setattr(short_calls, "certificates", lambda: trusted)
    whole, ready = Network(), Future[None]()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[whole.run(presented, ready, ended)])
    thread.start()
    ready.result(timeout=10)
    yield whole
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture
def looked_up(monkeypatch) -> list[str]:
    """The names that this process looked up itself; only addresses are found."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
        asked.append(host)
        return resolve(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def openai_key(acme) -> ProviderKey:
    return save_provider_key(organization=acme, provider="openai", secret=Secret(KEY), actor=None, now=NOW)


def ask(proxy: str, *, timeout_seconds: float = 5) -> ProviderError:
    with pytest.raises(ProviderError) as failed:
        send_now(
            HttpCall("GET", f"https://{OPENAI}/v1/models", {}, None),
            credential_headers={"authorization": f"Bearer {KEY}"},
            timeout_seconds=timeout_seconds,
            reach=Reach(proxy=proxy),
        )
    return failed.value


def test_a_built_in_provider_is_called_through_the_proxy_which_sees_no_key(acme, settings, network, looked_up):
    settings.KEYFARE_EGRESS_PROXY = network.proxy

    key = validated(openai_key(acme))

    assert key.status == ProviderKey.Status.CONNECTED
    assert network.connect_head.startswith(f"CONNECT {OPENAI}:443 HTTP/1.1\r\n".encode())
    assert f"Bearer {KEY}".encode() in network.heads[0]
    assert OPENAI not in looked_up
    assert len(network.seen) > 500  # it did pass on the rest
    assert KEY.encode() not in network.seen
    assert b"uthorization" not in network.connect_head


def test_the_password_of_the_proxy_is_for_the_proxy_alone(acme, settings, network):
    settings.KEYFARE_EGRESS_PROXY = network.proxy.replace("http://", "http://keyfare:let%20me%20out@")

    key = validated(openai_key(acme))

    expected = base64.b64encode(b"keyfare:let me out")
    assert key.status == ProviderKey.Status.CONNECTED
    assert b"Proxy-Authorization: Basic " + expected in network.connect_head
    assert b"roxy-" not in network.heads[0]
    assert "let" not in repr(destination_of(key))


@pytest.mark.parametrize("certified_name", ["evil.example.com", "openai.com", "127.0.0.1"])
def test_a_proxy_that_leads_elsewhere_gets_no_key(acme, settings, network):
    settings.KEYFARE_EGRESS_PROXY = network.proxy

    key = validated(openai_key(acme))

    assert key.status == ProviderKey.Status.UNREACHABLE
    assert network.heads == []
    assert KEY.encode() not in network.seen


@pytest.mark.parametrize(
    "answer",
    [
        reply("HTTP/1.1 407 Proxy Authentication Required", "Proxy-Authenticate: Basic", "Content-Length: 0"),
        reply("HTTP/1.1 403 Forbidden", "Content-Length: 6", body=b"denied"),
        reply("HTTP/1.1 302 Found", "Location: http://127.0.0.1/", "Content-Length: 0"),
        reply("HTTP/1.1 502 Bad Gateway", "Content-Length: 0"),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 4" + b"0" * 100_000,
        reply("HTTP/1.1 403 No", *("X-A: b" for _ in range(1000))),
        reply("HTTP/1.1 403 No", "Content-Length: 99999999999", body=bytes(1_000_000)),
    ],
    ids=["password", "forbidden", "redirect", "gateway", "no proxy", "long line", "many headers", "long body"],
)
def test_a_proxy_that_refuses_reads_as_unreachable(network, answer):
    network.answer = answer

    error = ask(network.proxy)

    assert error.kind is ErrorKind.UNREACHABLE
    assert error.sentence == reason("no_connection.proxy", host=OPENAI).sentence
    assert network.heads == []
    assert KEY.encode() not in network.seen


def test_a_proxy_that_says_nothing_is_given_up_at_the_deadline(network):
    network.answer = b""
    started = time.monotonic()

    assert ask(network.proxy, timeout_seconds=0.3).kind is ErrorKind.UNREACHABLE
    assert time.monotonic() - started < 1.3


def test_a_wrong_address_of_the_proxy_reads_as_unreachable_and_nothing_goes_around_it(acme, settings, looked_up):
    for address in (f"http://127.0.0.1:{free_port()}", "http://no-such-proxy.invalid:3128"):
        settings.KEYFARE_EGRESS_PROXY = address
        key = validated(openai_key(acme) if not ProviderKey.objects.exists() else ProviderKey.objects.get())

        assert key.status == ProviderKey.Status.UNREACHABLE
        assert key.state.detail == reason("no_connection.proxy", host=OPENAI).sentence
    assert OPENAI not in looked_up


def test_every_built_in_provider_is_called_over_tls_only():
    assert all(provider.takes_base_url or provider.base_url.startswith("https://") for provider in PROVIDERS.values())


@pytest.mark.parametrize("provider", SERVERS)
def test_a_custom_server_is_refused_with_a_sentence_where_calls_leave_through_a_proxy(
    acme, settings, network, looked_up, provider
):
    base_url = "https://llm.example.com"
    key = save_provider_key(
        organization=acme, provider=provider, secret=Secret(""), base_url=base_url, actor=None, now=NOW
    )
    settings.KEYFARE_EGRESS_PROXY = network.proxy

    with pytest.raises(BaseUrlRefused, match=NOT_THROUGH):
        normalized_base_url(organization=acme, provider=provider, base_url=base_url)
    key = validated(key)

    assert key.status == ProviderKey.Status.UNREACHABLE
    assert NOT_THROUGH in key.state.detail
    assert (looked_up, bytes(network.seen)) == ([], b"")


def test_private_servers_and_those_the_environment_names_are_called_directly(
    acme, settings, network, simulated_providers
):
    settings.KEYFARE_EGRESS_PROXY = network.proxy
    allow_private_endpoint(
        organization=acme, host="127.0.0.1", port=network.provider_port, network="127.0.0.0/8", actor=None
    )
    private = save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret(""),
        base_url=f"https://127.0.0.1:{network.provider_port}",
        actor=None,
        now=NOW,
    )
    validated(private)  # its certificate is for another name; that it was asked at all is what counts
    simulated = validated(
        save_provider_key(
            organization=acme, provider="openai", secret=Secret("sk-valid-0123456789abcdef"), actor=None, now=NOW
        )
    )

    assert not destination_of(private).reach.proxy
    assert not destination_of(simulated).reach.proxy
    assert simulated.last_check == ""
    assert simulated.status != ProviderKey.Status.UNREACHABLE
    assert bytes(network.seen) == b""


@pytest.mark.parametrize(
    "address", ["http://proxy:3128", "http://user:password@10.1.2.3:8080/", "http://[fd00::1]:3128", ""]
)
def test_an_address_of_a_proxy_is_taken(settings, address):
    settings.KEYFARE_EGRESS_PROXY = address

    assert egress_proxy() == []


@pytest.mark.parametrize(
    "address",
    [
        "proxy:3128",
        "http://proxy",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://proxy:0",
        "http://proxy:99999",
        "http://proxy:3128/path",
        "http://proxy:3128?x",
        "http://user@proxy:3128",
        "http://us er:pass@proxy:3128",
        "http://:3128",
        " http://proxy:3128",
        "http://proxy:3128\n",
    ],
)
def test_an_address_that_is_none_does_not_start(settings, address):
    settings.KEYFARE_EGRESS_PROXY = address

    (error,) = egress_proxy()

    assert error.id == "keyfare.E009"
    assert "pass@" not in f"{error.msg} {error.hint}"
