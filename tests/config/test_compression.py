"""Pages travel compressed, by lengths that tell nothing, where no lasting secret is on them."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from django.urls import reverse

from config.compression import CompressedPages
from tests.config.test_mfa import as_guarded_alice, confirmed
from tests.served import Talk, served

__all__ = ["as_guarded_alice", "confirmed"]
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def compressed(response: HttpResponseBase) -> Any:
    return CompressedPages(lambda _: response)(RequestFactory().get("/", headers=GZIP))


@pytest.mark.parametrize("path", ["/o/acme/", "/o/acme/settings", "/o/acme/members/", "/no/such/page/"])
def test_a_page_is_compressed_for_who_can_read_it(as_alice, path):
    plain, packed = as_alice.get(path), as_alice.get(path, headers=GZIP)

    assert "Content-Encoding" not in plain
    assert packed["Content-Encoding"] == "gzip"
    assert len(gzip.decompress(packed.content)) == len(plain.content)
    assert len(packed.content) < len(plain.content) / 2
    assert packed["Content-Length"] == str(len(packed.content))
    assert "Accept-Encoding" in plain["Vary"]
    assert "Accept-Encoding" in packed["Vary"]


def test_a_part_of_a_page_that_htmx_asks_for_is_compressed(as_alice):
    part = as_alice.get("/o/acme/candidates/", headers={**GZIP, "HX-Request": "true"})

    assert part["Content-Encoding"] == "gzip"


def test_the_same_content_has_another_length_each_time():
    answers = [compressed(HttpResponse("the same sentence, again and again. " * 50)) for _ in range(20)]

    assert {answer["Content-Encoding"] for answer in answers} == {"gzip"}
    assert len({len(answer.content) for answer in answers}) > 1


def test_seeds_and_recovery_codes_are_not_compressed(as_guarded_alice):
    for name in ("mfa_view_recovery_codes", "mfa_index"):
        shown = as_guarded_alice.get(reverse(name), headers=GZIP)

        assert shown.status_code == 200
        assert "Content-Encoding" not in shown


def test_what_is_streamed_and_what_monitors_ask_for_is_left_as_it_is(client):
    assert "Content-Encoding" not in compressed(StreamingHttpResponse(["a line\n"] * 500))
    assert "Content-Encoding" not in client.get("/healthz", headers=GZIP)


@pytest.mark.django_db(transaction=True)
def test_only_the_head_has_the_length_of_a_compressed_page():
    from config.asgi import application

    with served(application) as port, Talk(port) as talk:
        talk.ask("GET", "/accounts/login/", "Accept-Encoding: gzip")
        status, headers, body = talk.answer()
        talk.ask("HEAD", "/accounts/login/", "Accept-Encoding: gzip", "Connection: close")
        head = b"".join(iter(lambda: talk.socket.recv(65536), b""))

    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert b"Log in" in gzip.decompress(body)
    assert b"content-encoding: gzip" in head.lower()
    assert head.endswith(b"\r\n\r\n")
