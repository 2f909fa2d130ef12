"""Servers that answer by pointing elsewhere: nobody goes there, and the key goes nowhere but where it was meant to."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from providers.adapters.base import ChatRequest, ErrorKind, HttpAnswer, Message, ProviderError
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS
from providers.keys import asking
from providers.keys.private_endpoints import allow_private_endpoint
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import resolve
from routing.services import save_routing
from tests.builders import NOW, run_call
from tests.providers.test_validation import validated

KEY = "sk-canary-0123456789abcdef"
STATUSES = (301, 302, 303, 307, 308)
# {target} is a server that must not be called, {self} the one that answers.
LOCATIONS = {
    "loopback": "http://{target}/v1/models",
    "loopback over TLS": "https://{target}/v1/models",
    "loopback by name": "http://localhost:{target_port}/v1/models",
    "loopback, odd spelling": "http://2130706433:{target_port}/v1/models",
    "loopback, IPv6": "http://[::ffff:127.0.0.1]:{target_port}/v1/models",
    "metadata": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "metadata of another cloud": "http://[fd00:ec2::254]/latest/meta-data/",
    "metadata by name": "http://metadata.google.internal/computeMetadata/v1/",
    "private": "https://10.0.0.1/v1/models",
    "public": "https://93.184.216.34/v1/models",
    "itself": "http://{self}/v1/models",
    "itself, relative": "/v1/models",
    "no scheme": "//{target}/v1/models",
    "file": "file:///etc/passwd",
    "gopher": "gopher://{target}/_GET%20/",
    "ftp": "ftp://{target}/",
    "javascript": "javascript:alert(1)",
    "data": "data:application/json,{{}}",
    "unix socket": "unix:///var/run/docker.sock",
    "user name": "http://api.openai.com@{target}/v1/models",
    "back slash": "http:\\\\{target}\\v1",
    "line end inside": "http://{target}/%0d%0aX-Evil:%201",
    "empty": "",
    "blank": "   ",
    "broken": "http://[",
    "huge port": "http://127.0.0.1:99999/",
    "not ASCII": "http://127。0。0。1:{target_port}/ÿ",
    "long": "http://{target}/" + "a" * 7000,
    "two of them": "http://{target}/a\r\nLocation: http://{target}/b",
    "refresh": "http://{target}/a\r\nRefresh: 0; url=http://{target}/b",
    "another service": 'http://{target}/a\r\nAlt-Svc: h2="{target}"; ma=99\r\nLink: <http://{target}/>; rel=preload',
}


class Pointing(socketserver.StreamRequestHandler):
    server: Redirector

    def handle(self) -> None:
        self.server.requests.append(self._request())
        time.sleep(self.server.delay)
        head = f"HTTP/1.1 {self.server.status} Moved\r\nLocation: {self.server.location}\r\n"
        head += f"Content-Length: {len(self.server.body)}\r\nConnection: close\r\n\r\n"
        with suppress(ConnectionError):  # who asked has given up
            self.wfile.write(head.encode() + self.server.body)

    def _request(self) -> bytes:
        head = b""
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            head += line
        return head


class Redirector(socketserver.ThreadingTCPServer):
    """Answers every request as told, and remembers their heads."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pointing)
        self.requests: list[bytes] = []
        self.status, self.location, self.body = 200, "", b""
        self.delay = 0.0
        self.port: int = self.server_address[1]


@contextmanager
def running() -> Iterator[Redirector]:
    with Redirector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Redirector]:
    with running() as redirector:
        yield redirector


@pytest.fixture
def target() -> Iterator[Redirector]:
    with running() as listening:
        yield listening


@pytest.fixture
def connections(monkeypatch) -> list[tuple[object, ...]]:
    """Every address that this process tells a socket to connect to."""
    made: list[tuple[object, ...]] = []
    connect = socket.socket.connect

    def spy(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            made.append(tuple(address[:2]))
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", spy)
    return made


def openai_at(server, acme, settings) -> ProviderKey:
    settings.KEYFARE_PROVIDER_ORIGINS = {"openai": f"http://127.0.0.1:{server.port}/v1"}
    return save_provider_key(organization=acme, provider="openai", secret=Secret(KEY), actor=None, now=NOW)


def private_server_at(server, acme, settings) -> ProviderKey:
    allow_private_endpoint(organization=acme, host="127.0.0.1", port=server.port, network="127.0.0.1/32", actor=None)
    return save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret(KEY),
        base_url=f"http://127.0.0.1:{server.port}/v1",
        actor=None,
        now=NOW,
    )


def ask_a_model(acme, key: ProviderKey) -> ProviderError:
    action = REQUIREMENT_GENERATION.slug
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.CONNECTED)
    save_routing(organization=acme, action=action, key=key, model="gpt-4.1-mini", actor=None)
    with pytest.raises(ProviderError) as failed:
        run_call(
            organization=acme,
            route=resolve(organization=acme, action=action),
            run_id=uuid.uuid4(),
            iteration=1,
            request=ChatRequest("gpt-4.1-mini", "Answer in JSON.", (Message("user", "Django"),)),
            now=NOW,
        )
    return failed.value


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
@pytest.mark.parametrize("connect", [openai_at, private_server_at], ids=["provider", "private server"])
def test_no_redirect_is_followed_and_all_read_like_any_other_strange_answer(
    acme, settings, server, target, connections, connect, location
):
    own, other = f"127.0.0.1:{server.port}", f"127.0.0.1:{target.port}"
    server.location = location.format(target=other, target_port=target.port, self=own)
    key = connect(server, acme, settings)
    strange = PROVIDERS[key.provider].adapter.unexpected(HttpAnswer(200, {}, b"")).sentence

    for status in STATUSES:
        server.status = status
        checked = validated(key)
        assert (checked.status, checked.state.detail) == (ProviderKey.Status.UNREACHABLE, strange)
    failed = ask_a_model(acme, key)

    assert (failed.kind, failed.sentence) == (ErrorKind.UNEXPECTED, strange)
    assert set(connections) == {("127.0.0.1", server.port)}
    assert len(server.requests) == len(connections) == len(STATUSES) + 1  # one for each call, none on top
    assert all(KEY.encode() in head for head in server.requests)
    assert target.requests == []


def test_the_spy_sees_a_call_to_the_target(acme, settings, target, connections):
    validated(openai_at(target, acme, settings))

    assert connections == [("127.0.0.1", target.port)]
    assert KEY.encode() in target.requests[0]


def test_all_calls_of_a_validation_together_end_by_its_deadline(acme, settings, server, monkeypatch):
    """The first is answered in time, the second would be if it had as much time as the first."""
    monkeypatch.setattr(asking, "VALIDATION_TIMEOUT_SECONDS", 1)
    settings.KEYFARE_PROVIDER_ORIGINS = {"openrouter": f"http://127.0.0.1:{server.port}"}
    server.status, server.body, server.delay = 200, b'{"data":{"label":"sk-or-v1-0123...cdef"}}', 0.7
    key = save_provider_key(organization=acme, provider="openrouter", secret=Secret(KEY), actor=None, now=NOW)
    started = time.monotonic()

    checked = validated(key)

    assert checked.status == ProviderKey.Status.UNREACHABLE
    assert "did not answer within" in checked.state.detail
    assert len(server.requests) == 2
    assert time.monotonic() - started < 1.35


@pytest.mark.parametrize("status", [300, *STATUSES, 304, 399])
@pytest.mark.parametrize("slug", PROVIDERS)
def test_what_a_redirect_says_of_the_key_is_not_believed(slug, status):
    adapter = PROVIDERS[slug].adapter
    body = b'{"error":{"message":"Incorrect API key provided","type":"authentication_error","code":"invalid_api_key"}}'
    strange = adapter.unexpected(HttpAnswer(200, {}, b"")).sentence

    for content in (body, b"", b"<html>", b'{"data":[{"id":"gpt-4.1"}]}'):
        for parse in (adapter.parse_chat, adapter.parse_models, adapter.parse_validation):
            with pytest.raises(ProviderError) as failed:
                parse(HttpAnswer(status, {"location": "http://127.0.0.1/"}, content))
            assert (failed.value.kind, failed.value.sentence) == (ErrorKind.UNEXPECTED, strange)
