"""Servers that try to exhaust us: each is ended by a limit, costs little memory, and the next call still works."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.adapters.reading import MOST_JSON_VALUES, read_json
from providers.catalog import PROVIDERS
from providers.egress.addresses import ANYWHERE
from providers.egress.client import send
from providers.egress.connections import open_client
from tests.providers.test_egress import Serve, answering, either_way_out, reply, server

__all__ = ["either_way_out"]

MEGABYTE = 1024 * 1024
DEADLINE = 1.0


@contextmanager
def little_memory() -> Iterator[None]:
    """The most that this process takes meanwhile is less than 50 MB above what it took before (measured on Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        yield
        return
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < 50


def memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def endless(head: bytes, piece: bytes, pause: float = 0) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return serve


def bomb() -> bytes:
    zeros = gzip.compress(bytes(20 * MEGABYTE))
    return zeros * 10  # gzip members follow each other: 200 MB from 200 KB


PLAIN = b"HTTP/1.1 200 OK\r\n\r\n"
GIGABYTE = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"
HOSTILE: dict[str, Serve] = {
    "gzip bomb": answering(reply("HTTP/1.1 200 OK", "Content-Encoding: gzip", "Connection: close", body=bomb())),
    "gzip bomb in capitals": answering(
        reply("HTTP/1.1 200 OK", "CONTENT-ENCODING: GZIP", "Connection: close", body=bomb())
    ),
    "gzip bomb twice": answering(
        reply("HTTP/1.1 200 OK", "Content-Encoding: identity, gzip", "Connection: close", body=bomb())
    ),
    "a gigabyte": endless(GIGABYTE, bytes(MEGABYTE)),
    "endless": endless(PLAIN, bytes(MEGABYTE)),
    "endless chunks of a byte": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
    "one huge chunk": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", bytes(MEGABYTE)),
    "endless comments of a stream": endless(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b": still working\n" * 10_000
    ),
    "a body dripped": endless(GIGABYTE, b"x", 0.05),
    "headers dripped": endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05),
    "a header dripped": endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", 0.05),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000),
    "an endless header": endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 10_000),
    "an endless status line": endless(b"HTTP/1.1 200 ", b"O" * 10_000),
    "an endless chunk extension": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 10_000),
    "endless trailers": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n" * 1000),
    "endless hints": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
    "300 headers": answering(reply("HTTP/1.1 200 OK", *(f"X-{n}: y" for n in range(300)), "Content-Length: 0")),
    "a header of 9 KB": answering(reply("HTTP/1.1 200 OK", f"X-Long: {'x' * 9000}", "Content-Length: 0")),
    "silence": endless(b"", b"", 10),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_is_ended_and_the_next_call_works(name):
    async def run() -> tuple[ProviderError, float, HttpAnswer]:
        async with (
            server(HOSTILE[name]) as hostile,
            server(answering(reply("HTTP/1.1 200 OK", "Content-Length: 2", body=b"{}"))) as honest,
            open_client() as client,
        ):
            started = time.monotonic()
            with pytest.raises(ProviderError) as ended:
                await send(
                    client,
                    HttpCall("GET", hostile, {}, None),
                    credential_headers={},
                    timeout_seconds=DEADLINE,
                    max_bytes=MEGABYTE,
                    reach=ANYWHERE,
                )
            took = time.monotonic() - started
            call = HttpCall("GET", honest, {}, None)
            return (
                ended.value,
                took,
                await send(client, call, credential_headers={}, timeout_seconds=5, reach=ANYWHERE),
            )

    with little_memory():
        error, took, next_answer = asyncio.run(run())

    assert error.kind in (ErrorKind.UNREACHABLE, ErrorKind.UNEXPECTED)
    assert took < DEADLINE + 1
    assert next_answer.status == 200


@pytest.mark.parametrize("status", ["500 Oops", "401 Unauthorized", "302 Found"])
def test_a_bomb_in_an_error_is_not_unpacked(status):
    async def run() -> HttpAnswer:
        content = reply(f"HTTP/1.1 {status}", "Content-Encoding: gzip", "Connection: close", body=bomb())
        async with server(answering(content)) as hostile, open_client() as client:
            call = HttpCall("GET", hostile, {}, None)
            return await send(client, call, credential_headers={}, timeout_seconds=5, reach=ANYWHERE)

    with little_memory():
        answer = asyncio.run(run())

    assert len(answer.body) <= 64 * 1024
    for provider in PROVIDERS.values():
        with pytest.raises(ProviderError):
            provider.adapter.parse_models(answer)


COMMENTS = b": still working\n" * 100_000
ODD = {
    "100,000 comments of a stream": ("text/event-stream", COMMENTS + b"data: {}\n\n"),
    "a stream": ("text/event-stream", b'data: {"choices":[]}\n\ndata: [DONE]\n\n'),
    "a page": ("text/html", b"<html>" + b"<p>" * 100_000),
    "bytes": ("application/octet-stream", bytes(range(256)) * 4000),
    "nothing": ("", b""),
}


@pytest.mark.parametrize(("kind", "body"), ODD.values(), ids=ODD)
def test_an_answer_of_another_kind_is_one_we_do_not_know(kind, body):
    async def run() -> HttpAnswer:
        content = reply("HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}", body=body)
        async with server(answering(content)) as hostile, open_client() as client:
            call = HttpCall("GET", hostile, {}, None)
            return await send(client, call, credential_headers={}, timeout_seconds=5, reach=ANYWHERE)

    started = time.monotonic()
    with little_memory():
        answer = asyncio.run(run())
        for provider in PROVIDERS.values():
            for parse in (provider.adapter.parse_chat, provider.adapter.parse_models):
                with pytest.raises(ProviderError) as strange:
                    parse(answer)
                assert strange.value.kind is ErrorKind.UNEXPECTED
    assert time.monotonic() - started < 2


DEEP = 10**6
STRANGE = {
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep inside a list of models": b'{"data":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep and cut": b"[" * DEEP,
    "a number of a million digits": b'{"data":' + b"9" * DEEP + b"}",
    "a huge exponent": b'{"data":1e999999999999999999999}',
    "NaN": b'{"data":NaN}',
    "NUL": b'{"data":\x00}',
    "invalid UTF-8": b'{"data":"\xff\xfe"}',
    "UTF-16": json.dumps({"data": 1}).encode("utf-16"),
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("slug", PROVIDERS)
def test_strange_json_is_an_answer_we_do_not_know(slug, status, content):
    adapter = PROVIDERS[slug].adapter
    answer = HttpAnswer(status, {}, content)

    for parse in (adapter.parse_chat, adapter.parse_models, adapter.parse_validation):
        with pytest.raises(ProviderError):
            parse(answer)


NESTED = {
    "lists": lambda levels: b"[" * levels + b"]" * levels,
    "objects": lambda levels: b'{"a":' * levels + b"1" + b"}" * levels,
    "both": lambda levels: b'[{"a":' * (levels // 2) + (b"[]" if levels % 2 else b"1") + b"}]" * (levels // 2),
    "beside something flat": lambda levels: b'{"flat":[],"deep":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}",
}


@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
def test_json_of_64_levels_is_read_and_of_65_is_not(nested):
    assert json.loads(nested(64)) == read_json(nested(64))
    assert json.loads(nested(65))
    assert read_json(nested(65)) is None


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_answer_that_is_nested_too_deeply_is_one_we_do_not_know(slug, status):
    """Otherwise good answers, and errors: nothing of them is looked at."""
    adapter = PROVIDERS[slug].adapter
    deep = b'"x":' + NESTED["lists"](64)
    good = b'{"data":[{"id":"a"}],"models":[{"name":"models/a"}],"choices":[{"message":{"content":"a"}}],%s}'
    bad = (
        b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key","type":"authentication_error"},%s}'
    )
    answer = HttpAnswer(status, {}, (good if status == 200 else bad) % deep)

    for parse in (adapter.parse_chat, adapter.parse_models, adapter.parse_validation):
        with pytest.raises(ProviderError) as refused:
            parse(answer)
        assert refused.value.kind is ErrorKind.UNEXPECTED


CROWDED = {
    "lists": b"[],",
    "objects": b'{"a":1},',
    "decimals": b"0.1,",
    "texts": b'"ab",',
    "numbers": b"1,",
    "long texts": b'"' + b"a" * 1000 + b'",',
}
READ_AND_MEASURE = """
import sys
from providers.adapters.reading import read_json
from providers.egress.client import LARGEST_BODY

def most():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

piece = bytes.fromhex(sys.argv[1])
body = '["😀",'.encode() + piece * ((LARGEST_BODY - 20) // len(piece)) + b"0]"
with open("/proc/self/clear_refs", "w") as marks:
    marks.write("5")
before = most()
read_json(body)
print(most() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
@pytest.mark.parametrize("piece", CROWDED.values(), ids=CROWDED)
def test_reading_the_largest_answer_takes_little_memory(piece):
    """In a process of its own; one character beyond Latin makes Python's text four times as wide."""
    measured = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, piece.hex()], capture_output=True, text=True, cwd=settings.BASE_DIR
    )

    assert float(measured.stdout) < 50, measured.stderr


def test_json_of_many_values_is_read_up_to_the_limit():
    assert read_json(b"[" + b"1," * (MOST_JSON_VALUES - 1) + b"1]") is not None
    assert read_json(b"[" + b"1," * MOST_JSON_VALUES + b"1]") is None


def test_a_request_larger_than_any_model_takes_is_not_sent():
    async def run() -> None:
        async with open_client() as client:
            call = HttpCall("POST", "http://127.0.0.1:9/", {}, bytes(10 * MEGABYTE + 1))
            await send(client, call, credential_headers={}, timeout_seconds=5, reach=ANYWHERE)

    with pytest.raises(ProviderError) as refused:
        asyncio.run(run())

    assert refused.value.kind is ErrorKind.BAD_REQUEST
