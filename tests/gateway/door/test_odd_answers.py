"""A provider that speaks HTTP as nobody should: whoever calls gets an answer all the same."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from organizations.tenancy import EVERY, scope
from tests.gateway.callers import usable_key
from tests.gateway.door.conftest import RunningDoor, make_agent, served_door, token_for
from tests.gateway.door.upstream import chat_answer
from usage.models import UsageEvent

ANSWER = chat_answer()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
WHOLE = b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class Server:
    """Says `answer` on every connection, once it was asked something, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                asked = b""
                while not asked.endswith(b"}"):
                    asked += connection.recv(65536)
                connection.sendall(self.answer)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listening.close()


@pytest.fixture
def door(transactional_db, settings, acme, alice, server) -> Iterator[RunningDoor]:
    settings.KEYFARE_PROVIDER_ORIGINS = {"openai": server.address}
    with scope(EVERY, "a test"):
        make_agent(acme, "openai-agent", usable_key(acme), "gpt-4.1-mini")
    running = RunningDoor(acme, alice, token_for(acme, alice))
    with served_door() as running.address:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 000 X\r\n" + WHOLE,
        b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 600 X\r\n" + WHOLE,
        b"HTTP/1.1 999 X\r\n" + WHOLE,
        b"HTTP/1.1 20 X\r\n" + WHOLE,
        HEAD + b"x-a: a\x00b\r\n" + WHOLE,
        HEAD + b"x-a: a\rset-cookie: b\r\n" + WHOLE,
        HEAD + b"content-length: 3\r\n" + WHOLE,
        HEAD + b"transfer-encoding: chunked\r\n" + WHOLE,
        HEAD + b"x-a: " + b"a" * 200_000 + b"\r\n" + WHOLE,
        HEAD + b"".join(b"x-%d: a\r\n" % number for number in range(20_000)) + WHOLE,
        b"\x00\xff" * 100,
        ANSWER,
        b"",
    ],
)
def test_what_is_no_answer_is_an_error_of_the_providers(door, server, answer, stream, short_waits) -> None:
    server.answer = answer
    told = door.chat(stream=stream)
    assert told.status_code in (502, 504)
    assert told.json()["error"]["message"]
    assert {event.status for event in door.events} == {UsageEvent.Status.FAILED}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (b"x-a: a\x01\tb", b"a??b"),
        (b"x-a: a\xff", b"a\xff"),
        ("x-a: ü€".encode(), "ü€".encode()),
        (b"x-a: a\r\n folded", b"a folded"),
    ],
)
def test_odd_headers_pass_as_far_as_they_can(door, server, header, shown, stream) -> None:
    server.answer = HEAD + header + b"\r\n" + WHOLE
    answer = door.chat(stream=stream)
    assert answer.status_code == 200
    assert dict(answer.headers.raw)[b"x-a"] == shown
    assert door.event.status == UsageEvent.Status.ANSWERED
