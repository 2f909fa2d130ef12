"""Reading errors of every shape, and how long to wait after them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers.adapters.base import ChatRequest, HttpAnswer, Message, ProviderError
from providers.adapters.error_body import parse_error_body, parse_retry_after
from providers.catalog import PROVIDERS


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "1e9"}, 86_400),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:45 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 45),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:45 -0000", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 45),
    ],
)
def test_retry_after_may_be_seconds_a_fraction_or_a_date(headers, seconds):
    assert parse_retry_after(headers) == seconds


def test_retry_after_without_a_date_counts_from_now():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    assert 90 < (parse_retry_after({"retry-after": later}) or 0) <= 100


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "M", "code": "c"}}, "m", "c"),
        ({"error": {"message": "M", "code": 401}}, "m", "401"),
        ({"error": {"message": "M", "code": None}}, "m", ""),
        ({"error": "M"}, "m", ""),
        ({"error": [{"message": "M"}]}, "m", ""),
        ({"error": ["M"]}, "m", ""),
        ([{"error": {"message": "M"}}], "m", ""),
        ({"detail": "M"}, "m", ""),
        ({"detail": [{"msg": "M"}]}, "m", ""),
        ({"detail": ["M"]}, "m", ""),
        ({"message": "M", "code": "1300"}, "m", "1300"),
        ({"object": "error", "message": "M", "type": "rate_limited", "code": "1300"}, "m", "1300"),
        ("M", "m", ""),
        ({"error": {"message": {"text": "M"}, "code": 1.5}}, "", ""),
        ({"error": None}, "", ""),
        ({"error": []}, "", ""),
        ([], "", ""),
        (None, "", ""),
        (7, "", ""),
    ],
)
def test_one_parser_reads_every_shape_of_error(body, message, code):
    parsed = parse_error_body(json.dumps(body).encode())

    assert (parsed.message, parsed.code) == (message, code)
    assert parsed.is_empty == (not message)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff", b"[" * 100_000, b'{"error": NaN}', b"9" * 5_000, b'{"a": 1e99999999999999999999}'],
)
def test_the_parser_of_errors_never_fails(body):
    assert parse_error_body(body).is_empty


@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize("slug", PROVIDERS)
@pytest.mark.parametrize(
    "said",
    [
        "1" * 60_000,
        "token count " * 5_000,
        f"limit {'1' * 5_000} requested {'2' * 6_000}",
        f"maximum context length is {'1' * 5_000}, {'1' * 5_000} tokens in the messages",
        "must be <= 1" * 5_000,
        "exceeded context " * 3_500,
    ],
    ids=["digits", "counts", "huge limit", "huge context", "bounds", "contexts"],
)
def test_an_error_that_goes_on_and_on_keeps_nobody_waiting(slug, status, said):
    adapter = PROVIDERS[slug].adapter
    answer = HttpAnswer(status, {}, json.dumps({"error": {"message": said}}).encode())
    request = ChatRequest("m", "", (Message("user", "JSON"),))
    started = time.perf_counter()

    with pytest.raises(ProviderError):
        adapter.parse_chat(answer)
    adapter.refused_option(answer, request, ())

    assert time.perf_counter() - started < 2  # some took minutes
