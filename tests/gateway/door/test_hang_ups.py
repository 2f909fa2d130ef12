"""A caller who hangs up ends the provider's work, and what was done by then stands in the books."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from gateway.door.application import Door
from gateway.door.endpoints import Wire
from gateway.door.flow import COMMENT, Flow
from gateway.snapshots import open_snapshots
from providers.adapters.dialects.openai import OPENAI_CHAT
from routing.models import CallAccess
from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.upstream import EVENTS, USAGE, Scripted, chat_answer, chat_event
from tests.served import wait_until
from usage.models import InFlightCall, UsageEvent

Status = UsageEvent.Status


def ask(door: DoorBefore, content: object) -> socket.socket:
    body = json.dumps(content).encode()
    connection = socket.create_connection(("127.0.0.1", int(door.address.rpartition(":")[2])), timeout=30)
    connection.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {door.token}\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


@pytest.mark.parametrize("chunks", range(1, 5))
def test_hanging_up_after_any_event_closes_the_providers_connection_and_is_booked(door, chunks) -> None:
    events = [chat_event(f"word{number} ") for number in range(4)]
    door.upstream.answers.append(Scripted([*events[:chunks], 60.0, *events[chunks:]], headers=EVENTS))
    connection = ask(door, question(stream=True))
    received = b""
    while f"word{chunks - 1}".encode() not in received:
        received += connection.recv(65536)
    left_at = time.monotonic()
    connection.close()
    wait_until(lambda: door.upstream.left)
    assert time.monotonic() - left_at < 30  # far from the minute that the provider would have taken
    wait_until(door.events.exists)
    event = door.event
    assert event.status == Status.CANCELLED
    assert event.are_tokens_estimated
    assert event.output_tokens == -(-6 * chunks // 4)
    assert event.error_kind == ""
    assert not InFlightCall.objects.for_organization(door.organization).exists()


def test_tokens_that_were_counted_before_hanging_up_are_no_estimate_of_ours(door) -> None:
    counted = chat_event(usage=USAGE)
    door.upstream.answers.append(
        Scripted([chat_event("word"), chat_event(finish="stop"), counted, 60.0], headers=EVENTS)
    )
    connection = ask(door, question(stream=True, stream_options={"include_usage": True}))
    received = b""
    while b'prompt_tokens": 7' not in received:
        received += connection.recv(65536)
    connection.close()
    wait_until(door.events.exists)
    event = door.event
    assert (event.uncached_input_tokens, event.output_tokens) == (7, 5)
    assert not event.are_tokens_estimated


def test_whoever_hangs_up_has_used_the_tokens_of_the_minute(door) -> None:
    CallAccess.objects.for_organization(door.organization).update(tokens_a_minute=10)
    door.upstream.answers.append(Scripted([chat_event("word"), chat_event(usage=USAGE), 60.0], headers=EVENTS))
    connection = ask(door, question(stream=True, stream_options={"include_usage": True}))
    received = b""
    while b'prompt_tokens": 7' not in received:
        received += connection.recv(65536)
    connection.close()
    wait_until(door.events.exists)
    wait_until(lambda: door.chat().headers.get("x-keyfare-error") == "tokens_a_minute")


def test_hanging_up_before_the_answer_begins_is_booked_as_one_that_may_be_billed(door) -> None:
    door.upstream.answers.append(Scripted([60.0, chat_answer()]))
    connection = ask(door, question())
    wait_until(lambda: door.upstream.received)
    connection.close()
    wait_until(door.events.exists)
    assert door.event.status == Status.CANCELLED
    assert door.event.no_price == UsageEvent.NoPrice.NO_ANSWER


def test_hanging_up_in_the_middle_of_a_body_calls_nobody(door) -> None:
    connection = ask(door, question())
    connection.close()
    half = socket.create_connection(("127.0.0.1", int(door.address.rpartition(":")[2])), timeout=30)
    half.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {door.token}\r\n"
        f'content-length: 500\r\n\r\n{{"model":'.encode()
    )
    half.close()
    assert door.chat().status_code == 200
    assert all(b'"messages"' in received.body for received in door.upstream.received)


def test_a_slow_reader_holds_the_provider_back(door) -> None:
    """What was not read is not asked for: neither the door nor the kernel takes in a gigabyte."""
    event = chat_event("x" * 60_000)
    door.upstream.answers.append(Scripted([event] * 1_000, headers=EVENTS))
    connection = ask(door, question(stream=True))
    connection.recv(1)
    sent = -1
    while door.upstream.sent != sent:  # until nothing moves any more
        sent = door.upstream.sent
        time.sleep(0.5)
    assert sent < 500
    connection.close()
    wait_until(door.events.exists)
    assert door.event.status == Status.CANCELLED


def test_a_caller_who_never_reads_holds_nothing_for_ever(door, monkeypatch) -> None:
    monkeypatch.setattr("gateway.door.application.READING_GRACE_SECONDS", -599.0)  # of the 600 that a call may take
    many = chat_event("word " * 20_000)
    door.upstream.answers.append(Scripted([many] * 1_000, headers=EVENTS))
    connection = ask(door, question(stream=True))
    wait_until(lambda: door.upstream.left)
    wait_until(door.events.exists)
    assert door.event.status == Status.CANCELLED
    connection.close()


def test_a_call_that_takes_too_long_before_it_begins_is_told(door, monkeypatch) -> None:
    monkeypatch.setattr("gateway.door.application.READING_GRACE_SECONDS", -599.0)
    door.upstream.answers.append(Scripted([60.0, chat_answer()]))
    answer = door.chat()
    assert answer.status_code == 504
    assert answer.headers["x-keyfare-error"] == "upstream_timeout"
    assert answer.headers["x-keyfare-call"] == str(door.event.call_id)
    assert door.event.no_price == UsageEvent.NoPrice.NO_ANSWER


def test_a_ping_that_is_on_its_way_at_the_end_of_a_stream_breaks_nothing(monkeypatch) -> None:
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.01)

    async def ended() -> list[bytes]:
        sent: list[bytes] = []

        async def send(message: dict[str, Any]) -> None:
            await asyncio.sleep(0.05)
            sent.append(message["body"])

        flow = Flow(send, OPENAI_CHAT.stream(), Wire.OPENAI, is_events=True)
        async with flow:
            await asyncio.sleep(0.02)
        return sent

    assert asyncio.run(ended()) == [COMMENT]


@pytest.mark.parametrize(
    ("is_stream", "status"), [(True, Status.CUT_OFF), (False, Status.FAILED)], ids=["stream", "whole"]
)
def test_a_call_that_ends_because_we_do_is_not_booked_as_one_whose_caller_left(door, is_stream, status) -> None:
    """As a server does that is told to end, and waits no longer for what still runs."""
    chunks: list[bytes | float] = [chat_event("word "), 60.0] if is_stream else [60.0, chat_answer()]
    door.upstream.answers.append(Scripted(chunks, headers=EVENTS))

    answered = asyncio.run(cancelled_at_work(door, question(stream=is_stream)))

    assert "server_ends" in answered
    event = door.event
    assert event.status == status
    assert event.error_kind == "unexpected"
    assert event.are_tokens_estimated is is_stream
    assert not InFlightCall.objects.for_organization(door.organization).exists()


async def cancelled_at_work(door: DoorBefore, content: dict[str, Any]) -> str:
    """What the caller got from a door of its own that made the call, and was cancelled once the provider was at it."""
    sent: list[bytes] = []
    messages = [{"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}]
    headers = [(b"authorization", f"Bearer {door.token}".encode())]
    path = "/v1/chat/completions"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))

    app = Door(open_snapshots)
    calling = asyncio.create_task(app(scope, receive, send))
    while not (any(sent) if content["stream"] else door.upstream.received):
        await asyncio.sleep(0.01)
    calling.cancel()
    await asyncio.wait([calling])
    await app.close()
    return b"".join(sent).decode()
