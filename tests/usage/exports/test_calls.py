"""The file of calls: what stands in its cells, and how many it can have."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from organizations.api_tokens import make_token
from organizations.permissions import Permission
from tests.plans import analyze, index_conditions
from tests.usage.conftest import NOON, TODAY, event, unsaved_event
from tests.usage.exports.reading import content_of, read
from usage.exports import books
from usage.exports.calls import COLUMNS
from usage.exports.cells import BEGINS_A_FORMULA, text
from usage.exports.periods import Days, Month
from usage.exports.sealing import usage_file
from usage.models import Mode, UsageEvent

pytestmark = pytest.mark.django_db
NOVEMBER = Month(date(2026, 11, 1))
CLASSES = {
    "uncached_input_tokens": 1000,
    "cache_read_tokens": 300,
    "cache_write_tokens": 70,
    "cache_write_1h_tokens": 20,
    "output_tokens": 500,
    "reasoning_tokens": 200,
}


def test_a_call_is_told_whole(acme, alice):
    token = make_token(organization=acme, name="CI", scopes=[Permission.VIEW], expires_at=None, actor=alice).token
    call = event(
        acme,
        occurred_at=datetime(2026, 11, 21, 9, 30, 0, 120_000, tzinfo=UTC),
        cost_nanousd=123_400,
        served_model="gpt-4o-2024-11-20",
        labels={"team": "sales", "env": "prod"},
        token_id=token.pk,
        member_id=alice.pk,
        latency_ms=1234,
        first_byte_ms=321,
        http_status=200,
        request_id="req-1",
        price_version="list 1",
        is_stream=True,
        **CLASSES,
    )

    (row,) = read("calls", acme, NOVEMBER)

    assert tuple(row) == COLUMNS
    assert row == {
        "time_utc": "2026-11-21T09:30:00.120000Z",
        "call_id": str(call.call_id),
        "revision": "0",
        "run_id": str(call.run_id),
        "iteration": "1",
        "attempt": "1",
        "attempt_of": "",
        "action": "candidate_check",
        "provider": "openai",
        "model": "gpt-4o",
        "served_model": "gpt-4o-2024-11-20",
        "service_tier": "",
        "mode": "byok",
        "key_id": str(call.key_id),
        "key_label": "Default",
        "rule_version": "",
        "token_id": str(token.pk),
        "token": "CI",
        "member_id": str(alice.pk),
        "member": "alice@acme.example",
        "labels": '{"env":"prod","team":"sales"}',
        "status": "answered",
        "error": "",
        "http_status": "200",
        "finish_reason": "",
        "request_id": "req-1",
        "stream": "yes",
        "first_byte_ms": "321",
        "latency_ms": "1234",
        "tokens_known": "reported",
        "uncached_input_tokens": "1000",
        "cache_read_tokens": "300",
        "cache_write_tokens": "50",
        "cache_write_1h_tokens": "20",
        "answer_tokens": "300",
        "reasoning_tokens": "200",
        "total_tokens": "1870",
        "cost_usd": "0.000123400",
        "cost_known": "estimated",
        "price_source": "catalog",
        "price_version": "list 1",
        "why_no_price": "",
    }


def test_what_nobody_knows_is_empty_and_says_why(acme):
    event(acme, cost_nanousd=None)
    event(acme, cost_nanousd=None, status="lost", no_price="no_answer", latency_ms=7)
    event(acme, cost_nanousd=None, status="failed", no_price="not_billed")
    event(acme, cost_nanousd=0, price_source="own_server", output_tokens=3)

    rows = read("calls", acme, NOVEMBER)

    assert [(row["cost_usd"], row["cost_known"], row["why_no_price"]) for row in rows] == [
        ("", "unpriced", "not_reported"),
        ("", "not known", "no_answer"),
        ("", "nothing to pay", "not_billed"),
        ("0.000000000", "no token charges", ""),
    ]
    assert [(row["tokens_known"], row["total_tokens"], row["latency_ms"]) for row in rows[:3]] == [
        ("not_reported", "", "0"),
        ("not_known", "", ""),
        ("none", "0", "0"),
    ]


@pytest.mark.parametrize("shows", [False, True])
def test_what_managed_calls_cost_is_the_operators(acme, settings, shows):
    settings.KEYFARE_SHOW_MANAGED_USD = shows
    event(acme, mode=Mode.MANAGED, key_label="Operator's", cost_nanousd=987_654_321, price_version="v", **CLASSES)

    content = content_of(usage_file("calls", acme, NOVEMBER)).decode()

    assert ("0.987654321" in content) is shows
    assert ("paid by the operator" in content) is not shows
    assert "Operator's" not in content
    (row,) = read("calls", acme, NOVEMBER)
    assert row["total_tokens"] == "1870"
    assert (row["price_source"], row["price_version"]) == (("catalog", "v") if shows else ("", ""))


@pytest.mark.parametrize("sign", BEGINS_A_FORMULA)
def test_no_text_is_taken_for_a_formula(acme, sign):
    evil = f'{sign}cmd|" /C calc"!A0'
    event(acme, model=evil, key_label=evil, error_kind=evil[:20], action=evil, finish_reason=evil[:20])
    event(acme, revision=1, status="corrected", cost_nanousd=-5, counts_run=False, counts_priced_run=False)

    call, correction = read("calls", acme, NOVEMBER)

    assert call["model"] == call["key_label"] == call["action"] == f"'{evil}"
    assert not any(value.startswith(BEGINS_A_FORMULA) for value in call.values())
    assert correction["cost_usd"] == "-0.000000005"  # a number never
    assert [correction[name] for name in ("tokens_known", "total_tokens", "latency_ms")] == ["", "", ""]


def test_text_within_is_left_as_it_is():
    assert text("a=b") == "a=b"
    assert text("") == ""


def test_lines_and_quotes_within_a_cell_break_no_row(acme):
    event(acme, key_label='two\r\nlines, "quoted"', model="a,b")

    (row,) = read("calls", acme, NOVEMBER)

    assert (row["key_label"], row["model"]) == ('two\r\nlines, "quoted"', "a,b")


def test_a_month_and_days_are_utc_and_whole(acme, globex):
    at = {
        "before": datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "first": datetime(2026, 11, 1, tzinfo=UTC),
        "last": datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        "after": datetime(2026, 12, 1, tzinfo=UTC),
    }
    for name, moment in at.items():
        event(acme, occurred_at=moment, key_label=name)
    event(globex, key_label="of others")

    assert [row["key_label"] for row in read("calls", acme, NOVEMBER)] == ["first", "last"]
    days = Days(date(2026, 10, 31), date(2026, 11, 1))
    assert [row["key_label"] for row in read("calls", acme, days)] == ["before", "first"]


@pytest.fixture
def many_calls(acme, globex) -> None:
    """Three in the same moment, so that parts begin in the midst of one."""
    UsageEvent.objects.bulk_create(
        unsaved_event(
            (acme, globex)[number % 2],
            occurred_at=NOON - timedelta(minutes=number // 6),
            call_id=uuid.UUID(int=number),
        )
        for number in range(3000)
    )


def test_all_calls_come_once_however_they_are_read(acme, many_calls, monkeypatch):
    monkeypatch.setattr(books, "AT_ONCE", 7)

    rows = read("calls", acme, NOVEMBER)

    assert len(rows) == len({row["call_id"] for row in rows}) == 1500
    assert [row["time_utc"] for row in rows] == sorted(row["time_utc"] for row in rows)


def test_memory_is_bounded_by_a_part(acme, many_calls, monkeypatch):
    monkeypatch.setattr(books, "AT_ONCE", 100)

    assert {len(events) for events in books.read_events(acme, Days(TODAY, TODAY))} == {100}


def test_each_part_begins_where_the_one_before_ended(acme, many_calls, monkeypatch):
    monkeypatch.setattr(books, "AT_ONCE", 100)
    analyze("usage_usageevent")

    with CaptureQueriesContext(connection) as queries:
        read("calls", acme, NOVEMBER)

    asked = [query["sql"] for query in queries if '"usage_usageevent"."latency_ms"' in query["sql"]]
    assert all(statement.count('"occurred_at" >= ') == 1 for statement in asked)
    conditions = index_conditions(asked[5], in_order=True)
    begins = "(occurred_at >= " if connection.vendor == "postgresql" else "occurred_at>?"
    assert any(begins in each for each in conditions), conditions
