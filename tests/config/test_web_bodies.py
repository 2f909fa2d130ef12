"""Bodies over real sockets: too large, too slow or too many at once, they are refused before anything keeps them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from django.urls import reverse

from candidates.profiles.files import MAX_FILE_BYTES
from config.web import application, bodies
from config.web.bodies import Bodies, Limit
from config.web.refusals import Refusal
from tests.served import Talk, served, wait_until

KB = 1024
LIMIT = Limit(bytes=256 * KB, seconds=60, sentence="At most 256 KB.")


def plain(scope: Any, refusal: Refusal) -> tuple[list[tuple[bytes, bytes]], bytes]:
    return [(b"content-type", b"text/plain")], refusal.sentence.encode()


class Counting:
    """Reads bodies as Django does, and answers how many bytes they had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.left = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            size += len(message["body"])
            more = message["more_body"]
        self.sizes.append(size)
        said = b"" if scope["method"] == "HEAD" else str(size).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(said)).encode())]}
        )
        await send({"type": "http.response.body", "body": said})


@contextmanager
def counting(limit: Limit = LIMIT, most_held_bytes: int = 10**9):
    app = Counting()
    layer = Bodies(app, limit_of=lambda path: limit, render=plain, most_held_bytes=most_held_bytes)
    with served(layer) as port:
        yield app, layer, port


def test_what_declares_too_much_is_refused_before_the_rest_is_sent():
    with counting() as (app, _, port), Talk(port) as client:
        client.ask("POST", "/", "Content-Length: 600000000", body=b"x" * 100)  # and no more

        status, headers, body = client.answer()

    assert (status, body) == (413, b"Nothing was changed. At most 256 KB.")
    assert headers["connection"] == "close"
    assert (app.sizes, app.left) == ([], 0)


def test_who_waits_to_be_told_to_go_on_is_told_at_once_that_it_is_too_much():
    with counting() as (_, _, port), Talk(port) as client:
        client.ask("POST", "/", "Content-Length: 600000000", "Expect: 100-continue")

        assert client.answer()[0] == 413


def test_what_declares_nothing_is_counted_and_refused_at_the_first_byte_too_many():
    with counting() as (app, layer, port), Talk(port) as client:
        client.ask("POST", "/", "Transfer-Encoding: chunked")
        for _ in range(LIMIT.bytes // (32 * KB) + 1):
            client.say(b"8000\r\n" + b"x" * 32 * KB + b"\r\n")

        assert client.answer()[0] == 413
        wait_until(lambda: app.left == 1)
        assert layer.held_bytes == 0
    assert app.sizes == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_everything_before_it_reads_still_gets_the_answer(chunked):
    whole = b"x" * 20 * KB * KB
    with counting() as (app, _, port):
        response = httpx.post(f"http://127.0.0.1:{port}/", content=iter([whole]) if chunked else whole, timeout=60)

    assert (response.status_code, response.text) == (413, "Nothing was changed. At most 256 KB.")
    assert app.sizes == []


def test_many_that_are_refused_leave_nothing_behind_and_others_go_on():
    with counting() as (app, layer, port):
        threads = [
            threading.Thread(target=httpx.post, args=[f"http://127.0.0.1:{port}/"], kwargs={"content": b"x" * KB * KB})
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        assert httpx.post(f"http://127.0.0.1:{port}/", content=b"x" * 100).text == "100"
        for thread in threads:
            thread.join()
        assert layer.held_bytes == 0
    assert app.sizes == [100]


@pytest.mark.parametrize("size", [0, 1, LIMIT.bytes])
def test_a_body_up_to_the_limit_passes_and_the_connection_serves_the_next(size):
    with counting() as (app, layer, port), Talk(port) as client:
        for _ in range(2):
            client.ask("POST", "/", f"Content-Length: {size}", body=b"x" * size)
            assert client.answer()[::2] == (200, str(size).encode())
        assert layer.held_bytes == 0
    assert app.sizes == [size, size]


def test_requests_without_a_body_are_as_before():
    with counting() as (app, _, port), Talk(port) as client:
        for method, said in (("GET", b"0"), ("HEAD", b""), ("GET", b"0")):
            client.ask(method, "/")
            assert client.answer()[::2] == (200, said)
    assert app.sizes == [0, 0, 0]


SLOW = [
    pytest.param(Limit(KB, seconds=0.5, sentence="", grace_seconds=60), 0, id="never comes"),
    pytest.param(Limit(KB, seconds=60, sentence="", grace_seconds=0.5, bytes_a_second=10_000), 10, id="trickles"),
]


@pytest.mark.parametrize(("limit", "sent"), SLOW)
def test_a_body_that_does_not_arrive_in_time_is_given_up(limit, sent, monkeypatch):
    monkeypatch.setattr(bodies, "LINGER_WITH_SLOW_SECONDS", 0.1)
    with counting(limit) as (app, layer, port), Talk(port) as client:
        client.ask("POST", "/", "Content-Length: 1000", body=b"x" * sent)

        status, headers, _ = client.answer()

        assert (status, headers["connection"]) == (408, "close")
        assert client.is_closed()
        assert (app.left, layer.held_bytes) == (1, 0)


def test_a_body_that_keeps_its_pace_may_take_longer_than_the_first_seconds():
    pace = Limit(KB, seconds=60, sentence="", grace_seconds=4, bytes_a_second=1)
    with counting(pace) as (_, _, port), Talk(port) as client:
        client.ask("POST", "/", "Content-Length: 601", body=b"x" * 600)
        threading.Event().wait(4.1)
        client.say(b"x")

        assert client.answer()[::2] == (200, b"601")


def test_a_connection_that_waits_for_the_answer_is_not_taken_for_a_slow_one():
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.6)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    impatient = Limit(KB, seconds=0.2, sentence="")
    layer = Bodies(slow, limit_of=lambda path: impatient, render=plain, most_held_bytes=KB)
    with served(layer) as port, Talk(port) as client:
        client.ask("POST", "/", "Content-Length: 1", body=b"x")
        assert client.answer()[0] == 200


def test_all_bodies_together_hold_no_more_than_they_may_and_small_ones_always_pass():
    with counting(most_held_bytes=200 * KB) as (_, layer, port), Talk(port) as first, Talk(port) as second:
        first.ask("POST", "/", f"Content-Length: {200 * KB}", body=b"x" * 150 * KB)
        wait_until(lambda: layer.held_bytes == 150 * KB)
        second.ask("POST", "/", f"Content-Length: {100 * KB}", body=b"x" * 100 * KB)
        assert second.answer()[0] == 503
        with Talk(port) as third:
            third.ask("POST", "/", f"Content-Length: {KB}", body=b"x" * KB)
            assert third.answer()[::2] == (200, b"1024")
        first.say(b"x" * 50 * KB)
        assert first.answer()[0] == 200


def test_what_is_no_request_passes_through():
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    layer = Bodies(app, limit_of=lambda path: LIMIT, render=plain, most_held_bytes=0)
    for kind in ("lifespan", "websocket"):
        asyncio.run(layer({"type": kind}, None, None))  # type: ignore[arg-type]

    assert seen == ["lifespan", "websocket"]


# What Keyfare allows --------------------------------------------------------------------------------------


def test_only_the_import_takes_files_and_a_file_of_the_full_size_fits_into_its_form():
    assert application.limit_of(reverse("candidates:import", args=["acme"])).bytes > MAX_FILE_BYTES
    for path in ("/", "/accounts/login/", "/o/acme/settings", "/o/acme/candidates/", "/admin/", "/nowhere/import/"):
        assert application.limit_of(path).bytes <= 2 * KB * KB


def test_a_person_with_too_large_a_file_reads_the_limit_and_a_program_reads_it_as_json(db):
    whole = application.application(connections=0)
    too_much = "Content-Length: 600000000"
    read = {}
    with served(whole) as port:
        for path, *headers in (
            ("/o/acme/candidates/import/",),
            ("/o/acme/candidates/import/", "HX-Request: true"),
            ("/accounts/login/",),
            ("/api/v1/candidate-check",),
        ):
            with Talk(port) as client:
                client.ask("POST", path, too_much, *headers)
                status, sent, body = client.answer()
                assert status == 413
                assert sent["x-content-type-options"] == "nosniff"
                assert "frame-ancestors 'none'" in sent["content-security-policy"]
                assert sent["cache-control"] == "private, no-store"
                read[path, *headers] = sent["content-type"].partition(";")[0], body.decode()

    kinds = [kind for kind, _ in read.values()]
    assert kinds == ["text/html", "text/plain", "text/html", "application/json"]
    for (_, text), sentence in zip(
        read.values(),
        [
            "may have 20 MB",
            "may have 20 MB",
            "256 KB",
            '{"error": "Nothing was changed. The body is larger than 10 MB."}',
        ],
        strict=True,
    ):
        assert sentence in text
