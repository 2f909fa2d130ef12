"""Exports by their doors: the page, the API and the command give the same file, and bad input gets a sentence."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import httpx
import pytest
from django.core.management import CommandError, call_command

from config import downloads
from config.exports import OTHERS
from config.web.application import application
from organizations.api_tokens import make_token
from organizations.models import User
from organizations.permissions import Permission
from tests.served import served
from tests.serving_role import as_owner
from tests.usage.conftest import event, roll_up, unsaved_event
from tests.usage.exports.reading import rows_of
from tests.usage.exports.test_sealing import _unprotected as by_force
from usage.exports import books
from usage.exports.models import SealedMonth
from usage.exports.sealing import seal_due_months
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db
PAGE = "/o/acme/consumption/export/"
FILE = f"{PAGE}file/"
IN_OCTOBER = date(2026, 10, 20)
ON_THE_SECOND = datetime(2026, 11, 2, tzinfo=UTC)


def token_of(organization, actor: User, *scopes: Permission) -> dict[str, str]:
    made = make_token(
        organization=organization, name="Export", scopes=scopes or [Permission.VIEW], expires_at=None, actor=actor
    )
    return {"Authorization": f"Bearer {made.value}"}


def by_command(*options: str) -> str:
    out = StringIO()
    call_command("export_usage", "--organization", "acme", *options, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("format", ["csv", "focus", "credits"])
def test_every_door_gives_the_same_file(acme, alice, as_bob, client, format, tmp_path):
    event(acme, day=IN_OCTOBER, cost_nanousd=7, price_source="provider", output_tokens=3)
    event(acme, day=date(2026, 11, 1))

    page = as_bob.get(FILE, {"month": "2026-10", "format": format})
    api = client.get(f"/api/v1/exports/{format}", {"month": "2026-10"}, headers=token_of(acme, alice))
    command = by_command("--month", "2026-10", "--format", format)
    by_command("--month", "2026-10", "--format", format, "--output", str(tmp_path / "file.csv"))

    assert page.status_code == api.status_code == 200
    assert page.content == api.content == command.encode() == (tmp_path / "file.csv").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["file.csv"]
    assert len(rows_of(command)) == {"csv": 1, "focus": 2, "credits": 0}[format]
    for answer in (page, api):
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        name = {"csv": "calls"}.get(format, format)
        assert answer["Content-Disposition"] == f'attachment; filename="keyfare-acme-{name}-2026-10.csv"'


def test_days_are_another_way_to_ask(acme, alice, as_bob, client):
    for day in (date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2)):
        event(acme, day=day)
    asked = {"from": "2026-10-31", "to": "2026-11-01"}

    page = as_bob.get(FILE, {**asked, "format": "csv"})
    api = client.get("/api/v1/exports/csv", asked, headers=token_of(acme, alice))

    assert len(rows_of(page.content)) == 2
    assert page.content == api.content == by_command("--from", "2026-10-31", "--to", "2026-11-01").encode()


def test_all_days_there_are_may_be_asked_for(acme, as_bob):
    event(acme, day=IN_OCTOBER)

    for format in ("csv", "focus", "credits"):
        answer = as_bob.get(FILE, {"from": "0001-01-01", "to": "9999-12-31", "format": format})
        assert answer.status_code == 200
        assert len(rows_of(answer.content)) == (format != "credits")


BAD = [
    ({}, "Give a month as YYYY-MM, or the days from and to as YYYY-MM-DD."),
    ({"month": "2026-13"}, "Give the month as YYYY-MM, such as 2026-10."),
    ({"month": "0000-01"}, "Give the month as YYYY-MM, such as 2026-10."),
    ({"month": "2026-1"}, "Give the month as YYYY-MM, such as 2026-10."),
    ({"month": "２０２６-10"}, "Give the month as YYYY-MM, such as 2026-10."),
    ({"month": "9999-12"}, "9999-12 has not begun"),
    ({"month": "2026-10", "from": "2026-10-01"}, "Give a month, or the days from and to, and not both."),
    ({"from": "2026-10-01"}, "Give both days, from and to, as YYYY-MM-DD."),
    ({"from": "2026-10-01", "to": "2026-02-30"}, "Give the day in to as YYYY-MM-DD, such as 2026-10-31."),
    ({"from": "20261001", "to": "2026-10-30"}, "Give the day in from as YYYY-MM-DD, such as 2026-10-31."),
    ({"from": "2026-10-02", "to": "2026-10-01"}, "2026-10-02 is after 2026-10-01, the day in to. Swap them."),
    ({"from": "9998-10-02", "to": "9999-12-31"}, "9998-10-02 has not come yet"),
    ({"month": "=1+1\x00"}, "Give the month as YYYY-MM, such as 2026-10."),
]


@pytest.mark.parametrize(("asked", "sentence"), BAD)
def test_bad_input_gets_a_sentence_at_every_door(acme, alice, as_bob, client, asked, sentence):
    page = as_bob.get(FILE, {**asked, "format": "csv"})
    assert page.status_code == 422
    words = page.content.decode()
    assert sentence in words or "Choose a" in words or "Choose the last day." in words or "Null characters" in words

    api = client.get("/api/v1/exports/csv", asked, headers=token_of(acme, alice))
    assert api.status_code == 400
    assert sentence in api.json()["error"]

    options = [part for name, value in asked.items() for part in (f"--{name}", value)]
    with pytest.raises(CommandError) as refused:
        by_command(*options)
    assert sentence in str(refused.value)


def test_a_file_that_there_is_not(acme, alice, as_bob, client):
    assert client.get("/api/v1/exports/xlsx?month=2026-10", headers=token_of(acme, alice)).json() == {
        "error": "There is no such export. There are csv, focus, credits."
    }
    page = as_bob.get(FILE, {"month": "2026-10", "format": "xlsx"})
    assert (page.status_code, "There is no such file; choose one of" in page.content.decode()) == (422, True)
    assert 'value="2026-10" selected' in page.content.decode()
    with pytest.raises(CommandError, match="There is no organization “nobody”"):
        call_command("export_usage", "--organization", "nobody", "--month", "2026-10")


def test_an_api_token_needs_the_scope_that_reads(acme, alice, client):
    without = token_of(acme, alice, Permission.CALL_AGENTS)

    answer = client.get("/api/v1/exports/csv?month=2026-10", headers=without)

    assert answer.status_code == 403
    assert "`view`" in answer.json()["error"]


def test_the_page_offers_the_months_there_are_and_says_what_was_sealed(acme, as_bob, django_assert_max_num_queries):
    event(acme, day=IN_OCTOBER)
    SealedMonth.objects.create(
        organization=acme,
        month=date(2026, 10, 1),
        layout=1,
        last_id=1,
        position=1,
        rebuilt_to_id=0,
        pinned={},
        files={name: {"rows": 12_345, "sha256": name * 10} for name in ("calls", "focus", "credits")},
    )

    with django_assert_max_num_queries(20):
        page = as_bob.get(PAGE)

    words = page.content.decode()
    assert page.status_code == 200
    assert '<option value="2026-10">October 2026, sealed</option>' in words
    assert '<option value="2026-11">November 2026</option>' in words
    assert "2026-09" not in words
    assert "12,345" in words
    assert "focus" * 10 in words
    assert f"{FILE}?month=2026-10&amp;format=focus" in words


def test_the_page_of_who_has_no_calls_offers_this_month(acme, as_bob):
    assert as_bob.get(PAGE).content.decode().count("<option") == 1 + 2 * 3


def in_parts(monkeypatch, organization, count: int = 40) -> None:
    monkeypatch.setattr(books, "AT_ONCE", 10)
    monkeypatch.setattr(downloads, "HELD_BYTES", 1_000)
    UsageEvent.objects.bulk_create(
        unsaved_event(organization, occurred_at=datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=number))
        for number in range(count)
    )


def test_what_is_large_is_streamed(acme, as_bob, monkeypatch):
    in_parts(monkeypatch, acme)

    answer = as_bob.get(FILE, {"month": "2026-10", "format": "csv"})

    assert answer.streaming
    assert len(rows_of(b"".join(answer))) == 40


@pytest.mark.django_db(transaction=True)
def test_a_stream_comes_through_the_server_part_by_part(acme, alice, monkeypatch):
    in_parts(monkeypatch, acme)
    headers = token_of(acme, alice)

    with (
        served(application(connections=0)) as port,
        httpx.stream("GET", f"http://127.0.0.1:{port}/api/v1/exports/csv?month=2026-10", headers=headers) as answer,
    ):
        assert answer.headers["transfer-encoding"] == "chunked"
        parts = list(answer.iter_raw())

    assert len(rows_of(b"".join(parts))) == 40


def sealed(organization) -> None:
    roll_up(now=ON_THE_SECOND)
    assert seal_due_months(now=ON_THE_SECOND, others=OTHERS)


def change_the_books() -> None:
    with as_owner():
        by_force("UPDATE usage_usageevent SET cost_nanousd = 13")


@pytest.mark.django_db(transaction=True)
def test_the_job_seals_all_three_files(acme, alice):
    event(acme, day=IN_OCTOBER)
    roll_up(now=ON_THE_SECOND)
    out = StringIO()

    call_command("seal_months", "--json", stdout=out)

    assert json.loads(out.getvalue())["sealed"] >= 1
    assert set(SealedMonth.objects.order_by("month")[0].files) == {"calls", "focus", "credits"}
    out = StringIO()
    call_command("seal_months", "--verify", stdout=out)
    assert "are as they were sealed" in out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_broken_seal_is_said_at_every_door(acme, alice, as_bob, client, tmp_path):
    event(acme, day=IN_OCTOBER)
    sealed(acme)
    change_the_books()

    page = as_bob.get(FILE, {"month": "2026-10", "format": "csv"})
    api = client.get("/api/v1/exports/focus?month=2026-10", headers=token_of(acme, alice))

    assert page.status_code == api.status_code == 409
    for words in (page.content.decode(), api.json()["error"]):
        assert "2026-10 was sealed on" in words
        assert "do not use" in words
    with pytest.raises(CommandError, match="2026-10 was sealed on"):
        by_command("--month", "2026-10", "--output", str(tmp_path / "file.csv"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CommandError, match="acme: 2026-10 was sealed on"):
        call_command("seal_months", "--verify", stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_a_broken_seal_breaks_a_stream_off(acme, alice, monkeypatch):
    """Nobody who looks for the end of an answer takes it for whole."""
    in_parts(monkeypatch, acme)
    sealed(acme)
    change_the_books()
    headers = token_of(acme, alice)
    parts: list[bytes] = []

    with (
        served(application(connections=0)) as port,
        httpx.stream("GET", f"http://127.0.0.1:{port}/api/v1/exports/csv?month=2026-10", headers=headers) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        parts.extend(answer.iter_raw())

    assert len(rows_of(b"".join(parts))) < 40
