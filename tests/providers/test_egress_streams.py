"""Answers that come in pieces: each is handed on when it comes, within every limit, and none holds the key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.base import ErrorKind, HttpCall, ProviderError
from providers.egress.addresses import ANYWHERE, Reach
from providers.egress.client import Answer, Limits, open_call
from providers.egress.connections import Egress, open_client
from providers.egress.echoes import Echoes, StreamedEchoes
from tests.providers.test_egress import CANARY, CREDENTIALS, Serve, answering, holds_no_secret, reply, server

STREAM = reply("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close")
EVENT = b'data: {"n": %d}\n\n'
KEY = CANARY.encode()
FIVE_SECONDS = Limits(5)


def with_answer(serve: Serve, use: Callable[[Answer], Awaitable[None]], *, limits: Limits = FIVE_SECONDS) -> None:
    async def run() -> None:
        async with server(serve) as address, open_client() as egress, await _open(egress, address, limits) as answer:
            await use(answer)

    asyncio.run(run())


async def _open(egress: Egress, address: str, limits: Limits, reach: Reach = ANYWHERE) -> Answer:
    call = HttpCall("POST", f"{address}/v1/chat", {"content-type": "application/json"}, b"{}")
    return await open_call(egress, call, credential_headers=CREDENTIALS, limits=limits, reach=reach)


def dripping(*pieces: bytes, pause: float = 0.0, ends: bool = True) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if not ends:
            await reader.read()

    return serve


def body_of(serve: Serve, limits: Limits = FIVE_SECONDS) -> bytes:
    read = bytearray()

    async def use(answer: Answer) -> None:
        async for chunk in answer.chunks():
            read.extend(chunk)

    with_answer(serve, use, limits=limits)
    return bytes(read)


def ended(serve: Serve, limits: Limits) -> tuple[bytes, ProviderError]:
    read = bytearray()

    async def use(answer: Answer) -> None:
        async for chunk in answer.chunks():
            read.extend(chunk)

    with pytest.raises(ProviderError) as error:
        with_answer(serve, use, limits=limits)
    return bytes(read), error.value


def test_each_piece_is_handed_on_before_the_next_one_is_sent():
    taken = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM)
        for number in range(3):
            writer.write(EVENT % number)
            await writer.drain()
            await asyncio.wait_for(taken.wait(), 5)  # nobody sends more before this piece was taken
            taken.clear()

    seen: list[bytes] = []

    async def use(answer: Answer) -> None:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        async for chunk in answer.chunks():
            seen.append(chunk)
            taken.set()

    with_answer(serve, use)

    assert seen == [EVENT % number for number in range(3)]


def test_a_stream_that_stalls_is_ended_after_its_longest_silence_and_keeps_what_came():
    started = time.monotonic()
    read, error = ended(dripping(EVENT % 1, ends=False), Limits(60, idle_seconds=0.3))

    assert time.monotonic() - started < 5
    assert read == EVENT % 1
    assert (error.kind, error.may_have_run) == (ErrorKind.UNREACHABLE, True)
    assert "0.3 seconds" in error.sentence
    assert holds_no_secret(error)


def test_a_stream_that_never_ends_is_ended_at_the_deadline():
    read, error = ended(dripping(*[EVENT % 1] * 1000, pause=0.01), Limits(0.4, idle_seconds=5))

    assert read.startswith(EVENT % 1)
    assert error.kind is ErrorKind.UNREACHABLE
    assert "0.4 seconds" in error.sentence


def test_a_stream_that_is_read_slowly_is_ended_at_the_deadline_all_the_same():
    """Bytes that wait to be taken when the next ones are asked for: nobody has to wait for anything."""

    async def use(answer: Answer) -> None:
        async for _ in answer.chunks():
            await asyncio.sleep(0.05)

    with pytest.raises(ProviderError) as error:
        with_answer(dripping(*[EVENT % 1] * 1000, pause=0.005), use, limits=Limits(0.4, idle_seconds=5))

    assert "0.4 seconds" in error.value.sentence


def test_bytes_beyond_the_budget_end_a_stream():
    read, error = ended(dripping(*[b"x" * 1000 + b"\n"] * 100), Limits(5, max_bytes=50_000))

    assert 0 < len(read) <= 50_000
    assert (error.kind, error.may_have_run) == (ErrorKind.UNEXPECTED, True)


def test_a_stream_that_is_cut_off_is_no_whole_answer():
    cut = reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n")
    read, error = ended(answering(cut), Limits(5))

    assert read == b"hello"
    assert (error.kind, error.may_have_run) == (ErrorKind.UNREACHABLE, True)
    assert holds_no_secret(error)


def test_of_an_error_the_beginning_comes_without_raising():
    body = b"x" * 200_000
    oops = reply("HTTP/1.1 529 Overloaded", f"Content-Length: {len(body)}", body=body)

    assert len(body_of(answering(oops))) == 64 * 1024


def test_who_leaves_a_stream_closes_its_connection():
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM + EVENT % 1)
        await reader.read()
        gone.set()

    async def run() -> None:
        async with server(serve) as address, open_client() as egress:
            async with await _open(egress, address, Limits(5)) as answer:
                await anext(answer.chunks())
            await asyncio.wait_for(gone.wait(), 5)

    asyncio.run(run())


def test_a_stream_of_a_custom_server_fails_no_faster_than_any_other_of_its_calls(monkeypatch):
    monkeypatch.setattr("providers.egress.client.FASTEST_FAILURE_SECONDS", 0.5)
    custom = Reach(ANYWHERE.networks, is_custom=True)

    async def run() -> float:
        async with server(dripping(EVENT % 1, b"")) as address, open_client() as egress:
            started = time.monotonic()
            async with await _open(egress, address, Limits(5, max_bytes=3), custom) as answer:
                with pytest.raises(ProviderError):
                    await anext(answer.chunks())
            return time.monotonic() - started

    assert asyncio.run(run()) >= 0.5


def test_an_answer_cannot_be_pickled():
    async def use(answer: Answer) -> None:
        with pytest.raises(TypeError, match="cannot be pickled"):
            answer.__reduce__()
        assert CANARY not in repr(answer)

    with_answer(dripping(EVENT % 1), use)


# Keys that are written back ---------------------------------------------------------------------------------------


def streamed(body: bytes, cuts: list[int], credentials: dict[str, str] | None = None) -> tuple[bytes, list[bytes]]:
    echoes, pieces, at = StreamedEchoes(Echoes(credentials or CREDENTIALS)), [], 0
    for cut in [*sorted(cuts), len(body)]:
        pieces.append(echoes.feed(body[at:cut]))
        at = cut
    pieces.append(echoes.end())
    return b"".join(pieces), pieces


ECHO = b'data: {"error": "no such key: ' + KEY + b'"}\n\n'


@pytest.mark.parametrize("cut", range(len(ECHO)))
def test_a_key_is_crossed_out_wherever_the_stream_is_cut(cut):
    whole, _ = streamed(ECHO, [cut])

    assert whole == b'data: {"error": "no such key: ****"}\n\n'


@pytest.mark.parametrize("cut", range(0, len(KEY) * 6, 5))
def test_a_key_in_escapes_is_crossed_out_wherever_the_stream_is_cut(cut):
    escaped = b"".join(b"\\u%04x" % byte for byte in KEY)
    whole, _ = streamed(b'data: {"error": "' + escaped + b'"}\n\n', [17 + cut])

    assert whole == b'data: {"error": "****"}\n\n'


@pytest.mark.parametrize("cut", range(14))
def test_a_short_key_is_crossed_out_where_it_is_all_that_a_text_says(cut):
    whole, _ = streamed(b'{"key":"EMPTY","text":"EMPTY hall"}\n', [cut], {"authorization": "Bearer EMPTY"})

    assert whole == b'{"key":"****","text":"EMPTY hall"}\n'


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode), st.lists(st.integers(0, 300), max_size=8))
def test_what_holds_no_key_passes_unchanged_however_it_is_cut(body, cuts):
    assert streamed(body, [min(cut, len(body)) for cut in cuts])[0] == body


@given(st.lists(st.sampled_from([KEY, KEY[:20], KEY[5:], b"sk-", b"x", b'"', b"\n", b"\\"]), max_size=12), st.data())
def test_no_long_part_of_a_key_passes_however_it_is_cut(parts, data):
    body = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    whole, _ = streamed(body, cuts)

    assert not any(KEY[start : start + 12] in whole for start in range(len(b"sk-canary-"), len(KEY) - 12))


def test_nothing_is_held_back_at_the_end_of_an_event():
    body = b"".join(EVENT % number for number in range(100))
    cuts = [at + 2 for at in range(len(body)) if body[at : at + 2] == b"\n\n"]
    whole, pieces = streamed(body, cuts)

    assert whole == body
    assert pieces[:-1] == [EVENT % number for number in range(100)] + [b""]
