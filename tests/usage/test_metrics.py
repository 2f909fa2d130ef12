"""What `/metrics` tells, to whom, and that its counters count each call once and never go down."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings as project
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ
from prometheus_client.parser import text_string_to_metric_families

from config.metrics import counting, exposition, with_metrics
from config.metrics.counting import count_new_calls
from config.metrics.exposition import Metrics
from config.metrics.families import of_calls, of_now
from config.models import CallsCounted, UsageCheck
from config.worker import heartbeat
from gateway.door.application import Door, alone, in_front_of
from gateway.door.asgi import send_whole
from gateway.snapshots import open_snapshots
from organizations import clock
from organizations.tenancy import EVERY, scope
from providers.catalog import PROVIDERS
from tests.builders import NOW
from tests.plans import analyze, index_conditions
from tests.served import served
from tests.usage.conftest import event, lost_or_failed, rebuild, roll_up, settle, unsaved_event
from tests.usage.test_concurrency import open_transaction
from usage.models import Mode, UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a-token-of-the-tests-0001"
Status = UsageEvent.Status
LABELS = {"provider", "model", "mode", "status", "door", "kind", "reason", "le"}


@pytest.fixture
def counting_began() -> None:
    count_new_calls()


def counters() -> dict[tuple[str, ...], float]:
    """All samples of calls: name and values of labels to value, after those that ended meanwhile are counted."""
    settle()
    count_new_calls()
    return {(sample.name, *sample.labels.values()): sample.value for family in of_calls() for sample in family.samples}


def gauges() -> dict[str, float]:
    return {family.name: family.samples[0].value for family in of_now()}


def corrected(organization, **fields: Any) -> UsageEvent:
    return event(
        organization,
        status="corrected",
        revision=1,
        usage_reported=True,
        counts_run=False,
        counts_priced_run=False,
        price_source="provider",
        **fields,
    )


# Counters -----------------------------------------------------------------------------------------------


def test_counters_are_sums_of_calls_by_provider_model_mode_and_how_they_ended(acme, globex, counting_began):
    told = {"uncached_input_tokens": 100, "cache_read_tokens": 30, "output_tokens": 50, "reasoning_tokens": 20}
    event(acme, cost_nanousd=2_500_000_000, latency_ms=180, **told)
    event(globex, cost_nanousd=500_000_000, latency_ms=300, token_id=7, **told)
    event(globex, mode=Mode.MANAGED, cost_nanousd=1, latency_ms=130_000)
    event(acme, cost_nanousd=None, output_tokens=4, latency_ms=90)
    lost_or_failed(acme, Status.FAILED, latency_ms=5)
    lost_or_failed(acme, Status.LOST)

    found = counters()

    assert {key[2:]: value for key, value in found.items() if key[0] == "keyfare_calls_total"} == {
        ("gpt-4o", "byok", "answered", "keyfare"): 2,
        ("gpt-4o", "byok", "answered", "gateway"): 1,
        ("gpt-4o", "byok", "failed", "keyfare"): 1,
        ("gpt-4o", "byok", "lost", "keyfare"): 1,
        ("gpt-4o", "managed", "answered", "keyfare"): 1,
    }
    assert {key[4]: value for key, value in found.items() if key[0] == "keyfare_tokens_total"} == {
        "uncached_input": 200,
        "cache_read": 60,
        "output": 104,
    }
    byok, managed = ("openai", "gpt-4o", "byok"), ("openai", "gpt-4o", "managed")
    assert found["keyfare_reasoning_tokens_total", *byok] == 40
    assert found["keyfare_cost_usd_total", *byok] == 3
    assert found["keyfare_cost_usd_total", *managed] == 1e-9
    assert found["keyfare_calls_without_cost_total", *byok, "unpriced"] == 1
    assert found["keyfare_calls_without_cost_total", *byok, "unanswered"] == 1
    durations = {key[-1]: value for key, value in found.items() if key[:3] == (f"{DURATION}_bucket", "openai", "byok")}
    assert [durations[bound] for bound in ("0.1", "0.2", "0.35", "120.0", "+Inf")] == [1, 2, 3, 3, 3]
    assert found[f"{DURATION}_sum", "openai", "byok"] == pytest.approx(0.57)
    assert found[f"{DURATION}_bucket", "openai", "managed", "120.0"] == 0
    assert found[f"{DURATION}_count", "openai", "managed"] == 1


DURATION = "keyfare_call_duration_seconds"


def test_labels_are_of_closed_lists_and_name_nobody(acme, counting_began):
    words = {"model": "zeus-internal", "action": "zeus-agent", "key_label": "Zeus", "labels": {"team": "zeus"}}
    event(acme, **words)
    event(acme, provider="openrouter", **words)
    event(acme, provider="openai_compatible", token_id=7, **words)
    event(acme, provider="ollama", model="llama3")
    event(acme, provider="of-long-ago", model="gpt-4o")
    event(acme, model="gpt-4o-2024-08-06")
    event(acme, model="ft:gpt-4o:zeus::1")
    settle()
    count_new_calls()

    samples = [sample for family in (*of_calls(), *of_now()) for sample in family.samples]

    assert "zeus" not in str(samples).lower()
    assert "acme" not in str(samples).lower()
    assert {name for sample in samples for name in sample.labels} <= LABELS
    assert {sample.labels["model"] for sample in samples if "model" in sample.labels} == {"gpt-4o", "other"}
    providers = {sample.labels["provider"] for sample in samples if "provider" in sample.labels}
    assert providers == {"openai", "openrouter", "own_server", "other"}
    assert providers - {"own_server", "other"} <= set(PROVIDERS)


def test_a_counter_never_goes_down_whatever_becomes_of_calls_and_sums(acme, counting_began):
    call = uuid.uuid4()
    event(acme, call_id=call, cost_nanousd=5_000_000_000, output_tokens=5, latency_ms=700)
    before = counters()

    corrected(acme, call_id=call, cost_nanousd=-2_000_000_000)
    roll_up(now=NOW)
    rebuild(now=NOW)
    after = counters()

    assert all(after[key] >= value for key, value in before.items())
    assert {key: value for key, value in after.items() if value != before.get(key)} == {
        ("keyfare_cost_taken_back_usd_total", "openai", "gpt-4o", "byok"): 2
    }


def test_a_call_is_counted_once_however_often_somebody_asks(acme, counting_began):
    event(acme)

    first, second = counters(), counters()
    event(acme)

    assert first == second
    assert [calls for key, calls in counters().items() if key[0] == "keyfare_calls_total"] == [2]


def test_counting_begins_with_the_first_question(acme):
    event(acme)
    settle()

    assert counters() == {}
    event(acme)
    assert [calls for key, calls in counters().items() if key[0] == "keyfare_calls_total"] == [1]


def test_many_calls_are_counted_a_part_at_a_time_and_each_once(acme, counting_began, monkeypatch):
    monkeypatch.setattr(counting, "EVENTS_AT_ONCE", 3)
    for _ in range(8):
        event(acme)
    UsageEvent.objects.bulk_create(unsaved_event(acme) for _ in range(7))  # on PostgreSQL of one position

    steps = [sum(v for key, v in counters().items() if key[0] == "keyfare_calls_total") for _ in range(8)]

    assert steps == sorted(steps)
    assert steps[0] == 3
    assert steps[-1] == 15


def test_after_a_restore_into_another_cluster_counting_goes_on_from_there(acme, counting_began):
    event(acme)
    assert counters()
    CallsCounted.objects.update(system_identifier="another cluster", position=2**40)
    event(acme)

    before = counters()
    event(acme)
    after = counters()

    key = ("keyfare_calls_total", "openai", "gpt-4o", "byok", "answered", "keyfare")
    assert (before[key], after[key]) == (1, 2)


@pytest.mark.postgresql
def test_a_call_of_a_transaction_that_is_still_open_is_not_lost(acme, counting_began):
    with open_transaction(lambda: event(acme, model="gpt-4o")):
        event(acme, model="gpt-4o")
        count_new_calls()

    assert [calls for key, calls in counters().items() if key[0] == "keyfare_calls_total"] == [2]


@pytest.mark.postgresql
def test_who_asks_while_another_one_counts_does_not_wait(acme, counting_began):
    event(acme)
    settle()

    with open_transaction(lambda: list(CallsCounted.objects.select_for_update())):
        count_new_calls()
        assert not list(next(iter(of_calls())).samples)
    assert [calls for key, calls in counters().items() if key[0] == "keyfare_calls_total"] == [1]


def test_what_is_asked_is_bounded_and_found_by_position(acme, globex, counting_began):
    with transaction.atomic():
        UsageEvent.objects.bulk_create(
            unsaved_event((acme, globex)[number % 2], occurred_at=NOW - timedelta(minutes=number))
            for number in range(3000)
        )
    counters()
    roll_up(now=NOW)
    event(acme)
    settle()
    analyze("usage_usageevent", "usage_rollupstate")

    with CaptureQueriesContext(connection) as queries:
        count_new_calls()
        list(of_calls())
        list(of_now())

    assert len(queries) <= 27
    of_events = [query["sql"] for query in queries if '"usage_usageevent"' in query["sql"]]
    assert len(of_events) == 5  # any new? how far? the counts; how many wait, and since when
    for sql in of_events:
        with transaction.atomic():
            conditions = " ".join(index_conditions(sql))
        by = "ingest_position >= " if connection.vendor == "postgresql" else "rowid>?"
        assert by in conditions, (sql, conditions)


# What waits ---------------------------------------------------------------------------------------------


def test_what_waits_is_told(acme, admit):
    start = gauges()
    assert start["keyfare_calls_in_flight"] == start["keyfare_rollup_pending_events"] == 0
    assert "keyfare_worker_heartbeat_age_seconds" not in start
    now = clock.now()
    admit(now=now, deadline_at=now + timedelta(hours=1))
    admit(now=now, deadline_at=now - timedelta(seconds=1))
    event(acme, occurred_at=now - timedelta(minutes=2))
    heartbeat.beat(uuid.uuid4())
    OrmQ.objects.create(key="keyfare", payload="", lock=now - timedelta(seconds=30))
    UsageCheck.objects.create(checked_at=NOW, days=3, calls=9, differing=2)

    found = gauges()

    assert (found["keyfare_calls_in_flight"], found["keyfare_calls_overdue"]) == (2, 1)
    assert found["keyfare_rollup_pending_events"] == 1
    assert 120 <= found["keyfare_rollup_pending_seconds"] < 180
    assert found["keyfare_worker_heartbeat_age_seconds"] < 60
    assert found["keyfare_tasks_waiting"] == 1
    assert 30 <= found["keyfare_tasks_waiting_seconds"] < 90
    assert found["keyfare_usage_check_differences"] == 2
    assert found["keyfare_usage_check_timestamp_seconds"] == NOW.timestamp()
    assert found["keyfare_mails_waiting"] == found["keyfare_checks_open"] == found["keyfare_mail_server_failing"] == 0


def test_every_figure_stands_in_the_manual(acme, counting_began):
    heartbeat.beat(uuid.uuid4())
    UsageCheck.objects.create(checked_at=NOW, days=3, calls=9)
    door = Door(open_snapshots)

    text = Metrics(alone(door), door, TOKEN)._text("")[1].decode()

    told = set(re.findall(r"^# TYPE (keyfare_\w+)", text, re.MULTILINE))
    manual = (project.BASE_DIR / "docs" / "operations.md").read_text()
    assert told == set(re.findall(r"`(keyfare_\w+)`", manual)) - {"keyfare_owner"}


# Who may read it ----------------------------------------------------------------------------------------


async def pages(scope: Any, receive: Any, send: Any) -> None:
    await send_whole(send, 404, [], b"no such page")


@pytest.fixture(params=["beside pages", "alone"])
def address(request, settings) -> Iterator[str]:
    settings.KEYFARE_METRICS_TOKEN = TOKEN
    door = Door(open_snapshots)
    application = with_metrics(alone(door) if request.param == "alone" else in_front_of(pages, door), door)
    with served(application) as port:
        yield f"http://127.0.0.1:{port}"


def ask(address: str, token: str = TOKEN, method: str = "GET", **headers: str) -> httpx.Response:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    if token:
        sent.append((b"authorization", f"Bearer {token}".encode()))
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.request(method, f"{address}/metrics", headers=sent)


def test_who_has_the_token_reads_figures_of_calls_work_and_the_process(address, acme, counting_began):
    event(acme)
    settle()

    answer = ask(address)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"
    told = {
        sample.name: sample.value for family in text_string_to_metric_families(answer.text) for sample in family.samples
    }
    assert told["keyfare_database_up"] == told["keyfare_build_info"] == told["keyfare_calls_total"] == 1
    assert told["keyfare_process_calls"] == told["keyfare_process_writes_waiting"] == 0
    assert told["keyfare_process_most_calls"] > 0
    assert told["process_resident_memory_bytes"] > 0


def test_openmetrics_is_spoken_too(address):
    answer = ask(address, accept="application/openmetrics-text;version=1.0.0")

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("version", ["x", "9" * 5000 + ".0.0", "1.0.0.0.0", ""])
def test_a_version_that_nobody_speaks_is_answered_as_well(address, version):
    assert ask(address, accept=f"application/openmetrics-text;version={version}").status_code == 200


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "1", "schlüssel"])
def test_nobody_else_does(address, token):
    answer = ask(address, token)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "keyfare_" not in answer.text


def test_nothing_is_written_there(address):
    assert ask(address, method="POST").status_code == 405
    head = ask(address, method="HEAD")
    assert (head.status_code, head.content) == (200, b"")


def test_without_a_token_there_is_no_such_page(settings):
    settings.KEYFARE_METRICS_TOKEN = ""
    door = Door(open_snapshots)

    with served(with_metrics(in_front_of(pages, door), door)) as port:
        assert ask(f"http://127.0.0.1:{port}").status_code == 404


def test_of_a_database_that_is_away_that_is_told_and_the_rest_of_the_process(address, monkeypatch):
    def refuse() -> None:
        raise OperationalError("the password of the database")

    monkeypatch.setattr(exposition, "count_new_calls", refuse)
    answer = ask(address)

    assert answer.status_code == 200
    assert "keyfare_database_up 0.0" in answer.text
    assert "keyfare_process_calls 0.0" in answer.text
    assert "keyfare_calls_in_flight" not in answer.text
    assert "password" not in answer.text


def test_a_database_that_hangs_makes_nobody_wait_for_long(address, monkeypatch):
    goes_on = threading.Event()
    monkeypatch.setattr(exposition, "count_new_calls", goes_on.wait)
    monkeypatch.setattr(exposition, "PATIENCE_SECONDS", 0.1)
    try:
        assert ask(address).status_code == 503
    finally:
        goes_on.set()


def test_the_collector_sees_everybody_whatever_the_process_may_see(acme, counting_began):
    event(acme)
    settle()

    with scope(EVERY, "a test"):
        metrics = Metrics(alone(Door(open_snapshots)), Door(open_snapshots), TOKEN)
    assert 'keyfare_calls_total{door="keyfare"' in metrics._text("")[1].decode()
