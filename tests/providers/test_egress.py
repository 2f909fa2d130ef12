"""Egress against servers that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.egress.addresses import ANYWHERE
from providers.egress.client import send
from providers.egress.connections import open_client
from providers.egress.short_calls import by_httpx, send_now

BASE_DIR = Path(__file__).resolve().parents[2]
CANARY = "sk-canary-0123456789abcdef"
CREDENTIALS = {"authorization": f"Bearer {CANARY}", "x-api-key": CANARY}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True, params=["aiohttp", "httpx"])
def either_way_out(request, monkeypatch):
    """All that is promised of calls holds for those by httpx, too."""
    if request.param == "httpx":
        monkeypatch.setattr("providers.egress.client.by_aiohttp", by_httpx)


def reply(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join((*lines, "", "")).encode() + body


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """A raw server on loopback that reads one request's head and does as told."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def exchange(serve: Serve, *, timeout_seconds: float = 5, max_bytes: int = 1_000_000) -> HttpAnswer:
    async def run() -> HttpAnswer:
        async with server(serve) as address, open_client() as client:
            return await send(
                client,
                HttpCall("POST", f"{address}/v1/chat", {"content-type": "application/json"}, b"{}"),
                credential_headers=CREDENTIALS,
                timeout_seconds=timeout_seconds,
                reach=ANYWHERE,
                max_bytes=max_bytes,
            )

    return asyncio.run(run())


def answering(content: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        await writer.drain()

    return serve


def refused(serve: Serve, **limits: float) -> ProviderError:
    with pytest.raises(ProviderError) as error:
        exchange(serve, **limits)  # type: ignore[arg-type]  # max_bytes is whole in all calls
    return error.value


def holds_no_secret(error: ProviderError) -> bool:
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    return (
        error.__cause__ is None
        and error.__context__ is None
        and CANARY not in f"{error} {error!r} {error.__dict__} {error.sentence}"
        and CANARY not in "".join(traceback.format_exception(error))
        # This test's own frames know the canary; the ones of egress must not.
        and not any(CANARY in str(frame.locals) for frame in frames.stack if "/providers/egress/" in frame.filename)
    )


def test_a_whole_answer_comes_back_with_lower_case_headers():
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply("HTTP/1.1 200 OK", "X-Request-ID: req_1", "Content-Length: 2", body=b"{}"))

    answer = exchange(serve)

    assert (answer.status, answer.body, answer.headers["x-request-id"]) == (200, b"{}", "req_1")
    head = seen[0].decode().lower()
    assert head.startswith("post /v1/chat http/1.1")
    assert "accept-encoding: identity" in head
    assert f"authorization: bearer {CANARY}" in head
    assert "user-agent: keyfare" in head


def test_headers_in_other_letters_than_utf8_are_read_all_the_same():
    odd = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Odd: caf\xe9 \xff " + CANARY.encode() + b"\r\n\r\n{}"

    answer = exchange(answering(odd))

    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["x-odd"].startswith("caf")
    assert CANARY not in answer.headers["x-odd"]
    assert answer.headers["x-odd"].encode()


def test_a_body_that_drips_is_cut_at_the_deadline():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply("HTTP/1.1 200 OK", "Content-Length: 1000"))
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    started = time.monotonic()
    error = refused(serve, timeout_seconds=0.3)

    assert time.monotonic() - started < 2
    assert error.kind is ErrorKind.UNREACHABLE
    assert "0.3 seconds" in error.sentence
    assert holds_no_secret(error)


def test_headers_that_drip_are_cut_at_the_deadline():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in reply("HTTP/1.1 200 OK", f"X-Filler: {'x' * 1000}"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    assert refused(serve, timeout_seconds=0.3).kind is ErrorKind.UNREACHABLE


def test_a_server_that_never_answers_is_given_up():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert refused(serve, timeout_seconds=0.2).kind is ErrorKind.UNREACHABLE


def test_bytes_beyond_the_budget_are_refused_even_without_a_length():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply("HTTP/1.1 200 OK", "Connection: close"))
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    error = refused(serve, max_bytes=50_000)

    assert error.kind is ErrorKind.UNEXPECTED
    assert "50000 bytes" in error.sentence
    assert holds_no_secret(error)


def test_an_answer_of_just_the_budget_is_taken():
    assert len(exchange(answering(reply("HTTP/1.1 200 OK", "Content-Length: 9", body=b"x" * 9)), max_bytes=9).body) == 9


def test_of_a_long_error_only_the_beginning_is_read():
    body = b"x" * 200_000
    answer = exchange(answering(reply("HTTP/1.1 500 Oops", f"Content-Length: {len(body)}", body=body)))

    assert answer.status == 500
    assert len(answer.body) == 64 * 1024


def test_a_redirect_is_not_followed():
    followed = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        followed.append(await reader.readuntil(b"\r\n\r\n"))

    async def run() -> HttpAnswer:
        async with server(elsewhere) as other:
            moved = answering(reply("HTTP/1.1 307 Moved", f"Location: {other}/", "Content-Length: 0"))
            async with server(moved) as address, open_client() as client:
                return await send(
                    client,
                    HttpCall("GET", address, {}, None),
                    credential_headers=CREDENTIALS,
                    timeout_seconds=5,
                    reach=ANYWHERE,
                )

    assert asyncio.run(run()).status == 307
    assert not followed


def test_a_compressed_answer_is_refused():
    content = reply("HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 3", body=b"abc")
    error = refused(answering(content))

    assert error.kind is ErrorKind.UNEXPECTED
    assert holds_no_secret(error)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        reply("HTTP/1.1 200 OK", "Content-Length: 100", body=b"only this"),
        reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"zz\r\n"),
    ],
    ids=["closed", "no HTTP", "cut off", "broken chunks"],
)
def test_a_broken_answer_is_unreachable(content):
    error = refused(answering(content))

    assert error.kind is ErrorKind.UNREACHABLE
    assert error.kind.is_temporary
    assert holds_no_secret(error)


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1/key", "http://no-such-host.invalid/v1/key"])
def test_nobody_there_is_unreachable(url):
    with pytest.raises(ProviderError) as error:
        send_now(
            HttpCall("GET", url.format(port=free_port()), {}, None),
            credential_headers=CREDENTIALS,
            timeout_seconds=5,
            reach=ANYWHERE,
        )

    assert error.value.kind is ErrorKind.UNREACHABLE
    assert error.value.sentence.startswith(("127.0.0.1 ", "no-such-host.invalid "))
    assert holds_no_secret(error.value)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "…", "\0"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(line_end):
    with pytest.raises(ProviderError) as error:
        send_now(
            HttpCall("GET", f"http://127.0.0.1:{free_port()}", {}, None),
            credential_headers={"x-api-key": CANARY + line_end},
            timeout_seconds=5,
            reach=ANYWHERE,
        )

    assert error.value.kind is ErrorKind.UNEXPECTED
    assert holds_no_secret(error.value)


def test_failures_are_logged_without_the_key(caplog):
    caplog.set_level("DEBUG")

    refused(answering(b""))
    with pytest.raises(ProviderError):
        send_now(
            HttpCall("GET", "nonsense://", {}, None), credential_headers=CREDENTIALS, timeout_seconds=5, reach=ANYWHERE
        )

    assert "127.0.0.1" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_in_the_environment_is_ignored(monkeypatch, name):
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert exchange(answering(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"{}"))).status == 200


CALL = """
import sys
from providers.adapters.base import HttpCall
from providers.egress.addresses import ANYWHERE
from providers.egress.short_calls import by_httpx, send_now

answer = send_now(HttpCall("GET", sys.argv[1], {}, None), credential_headers={}, timeout_seconds=10, reach=ANYWHERE)
print(answer.status)
"""


def test_nothing_in_the_environment_adds_a_proxy_or_a_password(tmp_path):
    """In a process of its own, as an operator's shell would start it."""
    asked: list[bytes] = []
    through: list[bytes] = []
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login keyfare password let-me-in\ndefault login keyfare password let-me-in\n")
    netrc.chmod(0o600)

    def serving(heads: list[bytes]) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"{}"))

        return serve

    async def run() -> bytes:
        async with server(serving(asked)) as address, server(serving(through)) as proxy:
            names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY")
            environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
            environment |= dict.fromkeys(names, proxy) | {name.lower(): proxy for name in names}
            environment |= {"NETRC": str(netrc), "HOME": str(tmp_path)}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CALL, address, cwd=BASE_DIR, env=environment, stdout=asyncio.subprocess.PIPE
            )
            return (await process.communicate())[0]

    (tmp_path / ".netrc").write_text(netrc.read_text())
    said = asyncio.run(run())

    assert said.strip() == b"200"
    assert (len(asked), through) == (1, [])
    assert b"uthorization" not in asked[0]


def test_cookies_are_not_carried_from_one_call_to_the_next():
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply("HTTP/1.1 200 OK", "Set-Cookie: who=you; Path=/", "Content-Length: 0"))
            await writer.drain()

    async def run() -> None:
        async with server(serve) as address, open_client() as client:
            for _ in range(2):
                call = HttpCall("GET", address, {}, None)
                await send(client, call, credential_headers=CREDENTIALS, timeout_seconds=5, reach=ANYWHERE)

    asyncio.run(run())

    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


def test_a_hundred_calls_are_in_flight_together():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        writer.write(reply("HTTP/1.1 200 OK", "Content-Length: 0"))
        await writer.drain()

    async def run() -> float:
        async with server(serve) as address, open_client() as client:
            call = HttpCall("GET", address, {}, None)
            started = time.monotonic()
            await asyncio.gather(
                *(send(client, call, credential_headers={}, timeout_seconds=20, reach=ANYWHERE) for _ in range(100))
            )
            return time.monotonic() - started

    assert asyncio.run(run()) < 5


def test_the_synchronous_door_works_inside_a_running_loop(simulator):
    call = HttpCall("GET", f"{simulator.address}/openrouter/api/v1/models", {}, None)

    async def run() -> int:
        return send_now(call, credential_headers={}, timeout_seconds=5, reach=ANYWHERE).status

    assert asyncio.run(run()) == 200
    assert send_now(call, credential_headers={}, timeout_seconds=5, reach=ANYWHERE).status == 200


def test_a_cancelled_call_stays_cancelled():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run() -> None:
        async with server(serve) as address, open_client() as client:
            call = HttpCall("GET", address, {}, None)
            task = asyncio.create_task(send(client, call, credential_headers={}, timeout_seconds=20, reach=ANYWHERE))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
