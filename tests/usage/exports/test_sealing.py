"""A month that is sealed is the same to the byte for ever; what is written later is in the month that is open then."""

from __future__ import annotations

import csv
import hashlib
import json
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from gateway.sweeping import sweep_lost_calls
from organizations.api_tokens import make_token
from organizations.one_at_a_time import AnotherIsAtIt
from organizations.permissions import Permission
from tests.plans import analyze, index_conditions
from tests.serving_role import as_owner
from tests.usage.conftest import event, roll_up, unsaved_event
from tests.usage.exports.reading import content_of, read
from tests.usage.test_concurrency import in_threads
from usage import names
from usage.exports import books, prices, sealing
from usage.exports.cells import Piece
from usage.exports.models import SealedMonth
from usage.exports.periods import Days, Month
from usage.exports.sealing import SealBroken, other_file, seal_due_months, usage_file
from usage.facts import SETTLE_GRACE
from usage.metering import Finished, record_calls
from usage.models import InFlightCall, Mode, RollupState, UsageEvent
from usage.pruning import prune_usage
from usage.tokens import TokenUsage

from .test_focus import of_every_kind, priced_event

pytestmark = pytest.mark.django_db(transaction=True)  # what is not committed is not rolled up
OCTOBER, NOVEMBER, DECEMBER = (Month(date(2026, month, 1)) for month in (10, 11, 12))
IN_OCTOBER = date(2026, 10, 20)
ON_THE_SECOND = datetime(2026, 11, 2, tzinfo=UTC)  # when October is sealed
LATER = datetime(2026, 12, 2, tzinfo=UTC)


def seal(now: datetime = ON_THE_SECOND, **others) -> list[str]:
    roll_up(now=now)
    return [str(each) for each in seal_due_months(now=now, others=others)]


def files(organization, month: Month = OCTOBER) -> dict[str, bytes]:
    return {name: content_of(usage_file(name, organization, month)) for name in ("calls", "focus")}


def ids(organization, period) -> list[str]:
    return [row["call_id"] for row in read("calls", organization, period)]


def correct(call: UsageEvent, nanousd: int, revision: int = 1) -> UsageEvent:
    return event(
        call.organization,
        call_id=call.call_id,
        occurred_at=call.occurred_at,
        run_id=call.run_id,
        revision=revision,
        status="corrected",
        cost_nanousd=nanousd,
        counts_run=False,
        counts_priced_run=False,
    )


def test_a_seal_says_what_its_files_are(acme):
    for number in range(3):
        priced_event(acme, tokens=TokenUsage(uncached_input=10 + number), occurred_at=ON_THE_SECOND - timedelta(days=9))
    before = files(acme)

    assert seal() == ["2026-10"]

    sealed = SealedMonth.objects.get(organization=acme)
    assert files(acme) == before
    for name, content in before.items():
        rows = len(list(csv.reader(StringIO(content.decode(), newline="")))) - 1
        assert sealed.file(name) == (rows, hashlib.sha256(content).hexdigest())
    assert sealed.files["calls"]["rows"] == 3
    assert seal() == []


def test_a_month_is_sealed_when_it_is_over_for_a_day(acme):
    event(acme, day=IN_OCTOBER)

    assert seal(ON_THE_SECOND - timedelta(microseconds=1)) == []
    assert seal(ON_THE_SECOND) == ["2026-10"]


def test_months_are_sealed_one_after_the_other_empty_ones_too(acme, globex):
    event(acme, day=date(2026, 8, 3))
    event(acme, day=IN_OCTOBER)

    assert seal() == ["2026-08", "2026-09", "2026-10"]
    assert [each.files["calls"]["rows"] for each in SealedMonth.objects.order_by("month")] == [1, 0, 1]
    assert not SealedMonth.objects.filter(organization=globex).exists()
    assert seal(LATER) == ["2026-11"]


def test_a_month_with_a_call_under_way_waits_for_its_end(acme, admit):
    event(acme, day=IN_OCTOBER)
    began = OCTOBER.end - timedelta(seconds=1)
    admit(now=began, deadline_at=began + SETTLE_GRACE)

    assert seal() == []

    InFlightCall.objects.all().delete()
    assert seal() == ["2026-10"]


def test_a_month_that_is_not_rolled_up_waits(acme):
    event(acme, day=IN_OCTOBER)

    assert seal_due_months(now=ON_THE_SECOND, others={}) == []

    roll_up(now=ON_THE_SECOND)
    event(acme, day=IN_OCTOBER)
    assert seal_due_months(now=ON_THE_SECOND, others={}) == []
    assert seal() == ["2026-10"]


def test_what_is_written_later_is_in_the_month_that_is_open_then(acme, globex):
    call = event(acme, day=IN_OCTOBER, cost_nanousd=100, price_source="provider")
    early = correct(call, -1)
    event(globex, day=IN_OCTOBER)
    seal()
    sealed = files(acme)

    late = event(acme, day=IN_OCTOBER, cost_nanousd=7, price_source="provider")
    correction = correct(call, -3, revision=2)
    own = event(acme, day=date(2026, 11, 20), cost_nanousd=50, price_source="provider")
    event(globex, day=IN_OCTOBER)

    def check() -> None:
        assert files(acme) == sealed
        assert ids(acme, OCTOBER) == [str(call.call_id), str(early.call_id)]
        assert sorted(ids(acme, NOVEMBER)) == sorted(map(str, (late.call_id, correction.call_id, own.call_id)))
        told = [
            (row["BilledCost"], row["ChargeCategory"], row["ChargeClass"], row["ChargePeriodStart"][:10])
            for row in read("focus", acme, NOVEMBER)
        ]
        assert told == [
            ("-0.000000003", "Adjustment", "Correction", "2026-10-20"),
            ("0.000000007", "Usage", "Correction", "2026-10-20"),
            ("0.00000005", "Usage", "", "2026-11-20"),
        ]
        # By the days on which calls left, all stand where they were.
        assert {str(late.call_id), str(call.call_id)} == set(ids(acme, Days(IN_OCTOBER, IN_OCTOBER)))

    check()
    assert seal(LATER) == ["2026-11", "2026-11"]
    check()
    latest = correct(call, 11, revision=3)
    check()
    assert ids(acme, DECEMBER) == [str(latest.call_id)]


def test_nothing_is_in_two_months_or_in_none(acme, monkeypatch):
    """However late something comes, the months together are the books."""
    monkeypatch.setattr(books, "AT_ONCE", 2)
    written = 0
    for month in (10, 11, 12):
        now = datetime(2026 + month // 12, month % 12 + 1, 2, tzinfo=UTC)
        for day in (date(2026, 9, 5), date(2026, 10, 6), date(2026, month, 7)):
            for number in range(3):
                event(acme, day=day, iteration=number + 1)
                written += 1
        assert seal(now)
    event(acme, day=date(2026, 9, 1))

    months = [Month(date(2026, month, 1)) for month in (8, 9, 10, 11, 12)] + [Month(date(2027, 1, 1))]
    found = [call for month in months for call in ids(acme, month)]

    assert len(found) == len(set(found)) == written + 1
    assert [len(ids(acme, month)) for month in months] == [0, 3, 6, 9, 9, 1]


def test_a_month_before_the_first_sealed_one_stays_empty(acme):
    event(acme, day=IN_OCTOBER)
    seal()

    late = event(acme, day=date(2026, 3, 3))

    assert ids(acme, Month(date(2026, 3, 1))) == []
    assert ids(acme, NOVEMBER) == [str(late.call_id)]


def test_a_lost_call_that_ends_after_all_does_not_open_its_month(acme, admit):
    began = OCTOBER.end - timedelta(hours=1)
    call = admit(now=began, deadline_at=began + SETTLE_GRACE)
    sweep_lost_calls(now=ON_THE_SECOND)
    assert seal() == ["2026-10"]
    sealed = files(acme)

    record_calls([Finished(call, UsageEvent.Status.ANSWERED, latency_ms=5)])

    assert files(acme) == sealed
    (row,) = read("calls", acme, NOVEMBER)
    assert row["time_utc"].startswith("2026-10-31")


def test_a_sealed_month_keeps_names_and_prices(acme, alice, bob, settings, monkeypatch):
    made = make_token(organization=acme, name="CI", scopes=[Permission.VIEW], expires_at=None, actor=bob)
    of_every_kind_in_october(acme, token_id=made.token.pk, member_id=bob.pk)
    seal()
    sealed = files(acme)
    assert b"bob@acme.example" in sealed["calls"]
    assert b"list price" in sealed["focus"]

    made.token.delete()
    acme.memberships.filter(user=bob).delete()
    acme.name, acme.slug = "Other", "other"
    acme.save()
    monkeypatch.setitem(names._names, "openai", "Renamed")
    monkeypatch.setattr(prices, "rates_of", lambda *name: ())
    settings.KEYFARE_SHOW_MANAGED_USD = True

    assert files(acme) == sealed


def of_every_kind_in_october(organization, **fields) -> None:
    of_every_kind(organization)
    rows = list(UsageEvent.objects.filter(organization=organization))
    with as_owner():
        _unprotected("DELETE FROM usage_usageevent")
    for row in rows:
        row.pk, row.occurred_at = None, row.occurred_at - timedelta(days=30)
        for name, value in fields.items():
            setattr(row, name, value)
        row.save(force_insert=True)


def _unprotected(sql: str) -> None:
    """What somebody with all rights to the database could do."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE usage_usageevent DISABLE TRIGGER USER")
            cursor.execute(sql)
            cursor.execute("ALTER TABLE usage_usageevent ENABLE TRIGGER USER")
        else:
            cursor.execute(
                "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'usage_usageevent' AND type = 'trigger'"
            )
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            cursor.execute(sql)
            for _, made in triggers:
                cursor.execute(made)


@pytest.mark.parametrize(
    "done", ["UPDATE usage_usageevent SET cost_nanousd = cost_nanousd + 1", "DELETE FROM usage_usageevent"]
)
def test_a_broken_seal_is_said_loudly_and_nobody_gets_the_file_whole(acme, caplog, done):
    event(acme, day=IN_OCTOBER, cost_nanousd=100, price_source="provider")
    seal()
    with as_owner():
        _unprotected(done)

    for name in ("calls", "focus"):
        passed: list[bytes] = []
        with pytest.raises(SealBroken, match="2026-10 was sealed on") as broken:
            passed.extend(piece.content for piece in usage_file(name, acme, OCTOBER))
        assert b"2026-10-20" not in b"".join(passed)
        assert "do not use" in str(broken.value)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sum("A seal of organization" in error for error in errors) == 2


def test_managed_usd_are_sealed_both_ways_where_they_are_shown(acme, settings):
    settings.KEYFARE_SHOW_MANAGED_USD = True
    event(acme, day=IN_OCTOBER, mode=Mode.MANAGED, cost_nanousd=987_654_321, price_source="provider")
    seal()

    shown, sealed = files(acme), SealedMonth.objects.get(organization=acme)
    for name, content in shown.items():
        assert b"0.987654321" in content
        assert sealed.file(sealing.name_in(sealed, name)) == (1, hashlib.sha256(content).hexdigest())
    settings.KEYFARE_SHOW_MANAGED_USD = False
    hidden = files(acme)
    assert not any(b"987654321" in content for content in hidden.values())
    assert b"paid by the operator" in hidden["calls"]


def test_an_organization_that_cannot_be_sealed_holds_up_no_other(acme, globex, caplog):
    for organization in (acme, globex):
        event(organization, day=IN_OCTOBER)

    def credits(organization, period, words):
        if organization == acme:
            raise RuntimeError("injected")
        yield Piece(b"", 0)

    assert seal(credits=credits) == ["2026-10"]
    assert not SealedMonth.objects.filter(organization=acme).exists()
    assert "could not be sealed" in caplog.text


def _prune(waits: threading.Event) -> None:
    with as_owner():
        prune_usage(before=NOVEMBER.first, waits=waits.set)


@pytest.mark.postgresql
def test_two_at_a_time_do_not_both_say_that_they_sealed(acme):
    event(acme, day=IN_OCTOBER)
    roll_up(now=ON_THE_SECOND)
    begun, other_ended, found = threading.Event(), threading.Event(), []

    def credits(organization, period, words):
        begun.set()
        assert other_ended.wait(20)
        yield Piece(b"", 0)

    def first() -> None:
        found.append(seal_due_months(now=ON_THE_SECOND, others={"credits": credits}))

    (thread,) = in_threads(first)
    assert begun.wait(20)
    try:
        with pytest.raises(AnotherIsAtIt):
            seal_due_months(now=ON_THE_SECOND, others={})
        out = StringIO()
        call_command("seal_months", stdout=out)
        assert out.getvalue().startswith("Sealed nothing: another process seals months")
        call_command("seal_months", "--json", stdout=(as_json := StringIO()))
        assert json.loads(as_json.getvalue()) == {"sealed": 0, "another_is_at_it": True}
        pruning_waits = threading.Event()
        (prunes,) = in_threads(lambda: _prune(pruning_waits))
        assert pruning_waits.wait(20)
        assert UsageEvent.objects.exists()
    finally:
        other_ended.set()
        thread.join()
    prunes.join()
    assert not UsageEvent.objects.exists()  # which only what is sealed may: it waited for that

    assert [str(each) for each in found[0]] == ["2026-10"]
    assert seal_due_months(now=ON_THE_SECOND, others={}) == []


def test_a_seal_is_never_changed(acme):
    event(acme, day=IN_OCTOBER)
    seal()

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        SealedMonth.objects.filter(organization=acme).update(files={})


def test_a_closed_organization_is_sealed_to_its_end(acme):
    event(acme, day=IN_OCTOBER)
    acme.closed_at = ON_THE_SECOND
    acme.save()

    assert seal(datetime(2027, 6, 1, tzinfo=UTC)) == ["2026-10", "2026-11"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="positions are PostgreSQL's")
def test_a_restore_into_another_cluster_moves_nothing(acme):
    """Transaction ids begin anew there; ids of rows go on."""
    call = event(acme, day=IN_OCTOBER)
    seal()
    sealed = files(acme)
    before = event(acme, day=date(2026, 11, 5))
    late_before = event(acme, day=IN_OCTOBER)
    RollupState.objects.update(system_identifier="another", position=1, rebuilt_to_id=late_before.pk)
    late = event(acme, day=IN_OCTOBER)
    with as_owner():
        _unprotected(f"UPDATE usage_usageevent SET ingest_position = 5 WHERE id = {late.pk:d}")  # noqa: S608

    def check() -> None:
        assert files(acme) == sealed
        assert ids(acme, OCTOBER) == [str(call.call_id)]
        assert sorted(ids(acme, NOVEMBER)) == sorted(map(str, (before.call_id, late_before.call_id, late.call_id)))

    check()
    RollupState.objects.update(position=6)  # as a rollup there would have it
    assert [str(each) for each in seal_due_months(now=LATER, others={})] == ["2026-11"]
    check()


def test_late_events_are_found_by_when_they_were_written(acme, globex):
    UsageEvent.objects.bulk_create(
        unsaved_event((acme, globex)[number % 2], day=IN_OCTOBER - timedelta(days=number % 19)) for number in range(600)
    )
    seal()
    event(acme, day=IN_OCTOBER)
    analyze("usage_usageevent", "usage_rollupstate")

    with CaptureQueriesContext(connection) as queries:
        assert len(ids(acme, NOVEMBER)) == 1

    (asked,) = [each["sql"] for each in queries if '"occurred_at" < ' in each["sql"]]
    conditions = index_conditions(asked)
    begins = "ingest_position >= " if connection.vendor == "postgresql" else "rowid>?"
    assert any(begins in each for each in conditions), conditions


def test_another_file_is_sealed_with_the_month(acme):
    content = [b"credits\r\n1\r\n"]

    def credits(organization, period, words):
        assert words.account == ("acme", "Acme")
        yield Piece(content[0], 1)

    event(acme, day=IN_OCTOBER)
    seal(credits=credits)

    assert SealedMonth.objects.get(organization=acme).file("credits") == (1, hashlib.sha256(content[0]).hexdigest())
    assert content_of(other_file("credits", acme, OCTOBER, others={"credits": credits})) == content[0]
    content[0] = b"credits\r\n2\r\n"
    with pytest.raises(SealBroken):
        content_of(other_file("credits", acme, OCTOBER, others={"credits": credits}))


def test_the_first_layout_is_as_it_was(acme, monkeypatch):
    """Who changes a column or a word of it breaks the seals of all installations: see LAYOUT."""
    monkeypatch.setattr(prices.Prices, "of", lambda self, call: (10**15, 0, 0, 0, 5 * 10**14, 0))
    same: dict[str, Any] = {
        "run_id": uuid.UUID(int=3),
        "served_model": "gpt-4o-2024-11-20",
        "labels": {"team": "sales"},
    }
    of: list[dict[str, Any]] = [
        {"cost_nanousd": 2, "uncached_input_tokens": 1, "output_tokens": 1, "latency_ms": 5, "first_byte_ms": 2},
        {"cost_nanousd": 7, "price_source": "provider", "cache_read_tokens": 9, "http_status": 200},
        {"cost_nanousd": None, "status": "lost", "no_price": "no_answer"},
        {"cost_nanousd": None, "output_tokens": 5, "mode": Mode.BYOK, "service_tier": "flex"},
        {"cost_nanousd": 0, "price_source": "own_server", "output_tokens": 5},
        {"cost_nanousd": 10, "mode": Mode.MANAGED, "uncached_input_tokens": 4},
        {"cost_nanousd": -1, "revision": 1, "status": "corrected", "counts_run": False, "counts_priced_run": False},
    ]
    for number, fields in enumerate(of):
        event(acme, day=IN_OCTOBER, call_id=uuid.UUID(int=10 + number), **{**same, **fields})

    found = {name: hashlib.sha256(content).hexdigest() for name, content in files(acme).items()}

    assert sealing.LAYOUT == 1
    assert found == {
        "calls": "fa4b7525fee5a073140b476ecb0ccffc39172029ce5e3b2207c93d25bd8f3dcd",
        "focus": "d9d095df368f81791e067d1dbab2fc6a99426602c316ea2a054206217ea1c36c",
    }
