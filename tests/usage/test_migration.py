"""The tables of before runs had rows of their own, taken over with what stands in them; and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection

from tests.serving_role import as_owner

STORY = """
import json, uuid
from datetime import UTC, date, datetime, timedelta
import django
django.setup()
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from organizations.tenancy import EVERY, scope

BEFORE, AFTER = [("usage", "0003_what_answers_say")], [("usage", "0009_revisions_and_labels")]

def migrate(target):
    executor = MigrationExecutor(connection)
    executor.migrate(target)
    return MigrationExecutor(connection).loader.project_state(target).apps

def of(apps, model, *fields):
    return [list(row) for row in apps.get_model("usage", model).objects.order_by("id").values_list(*fields)]

with scope(EVERY, "a test of migrations"):
    old = migrate(BEFORE)
    organization = old.get_model("organizations", "Organization").objects.create(name="Acme", slug="acme")
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    run, key = uuid.UUID(int=7), uuid.UUID(int=8)
    event = old.get_model("usage", "UsageEvent").objects.create
    of_all = {"organization": organization, "provider": "openai", "model": "m", "action": "a", "key_id": key,
              "key_label": "Default", "mode": "byok", "run_id": run}
    def call(minutes, status, cost, **fields):
        event(**of_all | fields, call_id=uuid.uuid4(), occurred_at=noon + timedelta(minutes=minutes), status=status,
              cost_nanousd=cost, price_source="none" if cost is None else "catalog")
    call(0, "failed", None)
    call(1, "answered", 5, iteration=2, output_tokens=9, usage_reported=True)
    call(2, "answered", 6, iteration=3, follows_priced=True, output_tokens=9, usage_reported=True)
    call(3, "answered", None, iteration=4, output_tokens=1, usage_reported=True)
    call(4, "answered", None, iteration=5)
    call(5, "lost", None, iteration=6)
    call(6, "answered", 7, run_id=uuid.UUID(int=9), output_tokens=1, usage_reported=True)
    measures = ["calls", "runs", "priced_runs", "answered", "failed", "lost", "unpriced_calls", "uncached_input_tokens",
                "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_nanousd",
                "latency_ms"]
    old.get_model("usage", "UsageDaily").objects.create(
        organization=organization, day=date(2026, 11, 21), provider="openai", model="m", action="a", key_id=key,
        key_label="Default", mode="byok", **dict(zip(measures, [6, 1, 1, 4, 1, 1, 2, 0, 0, 0, 19, 0, 11, 0])))
    old.get_model("usage", "UsageDaily").objects.create(
        organization=organization, day=date(2026, 11, 21), provider="openai", model="m", action="a", key_id=key,
        key_label="Renamed", mode="byok", **dict(zip(measures, [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 7, 0])))
    new = migrate(AFTER)
    found = {
        "events": of(new, "UsageEvent", "counts_run", "counts_priced_run", "no_price"),
        "runs": [[str(value) for value in row] for row in
                 of(new, "UsageRun", "run_id", "part", "started_at", "is_priced", "is_incomplete")],
        "daily": of(new, "UsageDaily", "runs", "priced_runs", "run_cost_nanousd", "run_tokens", "run_unreported_calls",
                    "unpriced_calls", "unknown_calls", "calls", "key_label"),
    }
    back = migrate(BEFORE)
    found["back"] = of(back, "UsageEvent", "iteration", "follows_priced")
    again = migrate(AFTER)
    found["again"] = of(again, "UsageEvent", "counts_run", "counts_priced_run", "no_price") == found["events"]
    try:
        again.get_model("usage", "UsageEvent").objects.update(model="another")
    except Exception as error:
        found["append_only"] = "append-only" in str(error)
print(json.dumps(found))
"""


@pytest.fixture
def scratch_url(tmp_path) -> Iterator[str]:
    if connection.vendor != "postgresql":
        yield f"sqlite:///{tmp_path}/scratch.sqlite3"
        return
    name = f"{connection.settings_dict['NAME']}_usage"
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    server = os.environ["DATABASE_URL"]
    yield server.replace("/postgres?", f"/{name}?") if "/postgres?" in server else f"{server.rpartition('/')[0]}/{name}"
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")


@pytest.mark.django_db(transaction=True)
def test_what_stands_in_the_tables_is_taken_over_and_back(scratch_url):
    process = subprocess.run(
        [sys.executable, "-c", STORY],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": scratch_url, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])

    assert found["events"] == [
        [True, False, "not_billed"],
        [False, True, ""],
        [False, False, ""],
        [False, False, "not_listed"],
        [False, False, "not_reported"],
        [False, False, "no_answer"],
        [True, True, ""],
    ]
    run, _ = sorted(found["runs"])
    assert (run[1], run[2][:16], run[3:]) == ("0", "2026-11-21 12:00", ["True", "True"])
    assert found["daily"] == [[2, 2, 18, 20, 1, 2, 1, 7, "Renamed"]]
    assert found["back"] == [[1, False], [2, False], [3, True], [4, False], [5, False], [6, False], [1, False]]
    assert found["again"]
    assert found["append_only"]
