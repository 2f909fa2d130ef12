"""The demo, as `make demo SERVE=0` runs it: real processes, a database of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="the demo brings its own SQLite database")
ARRANGED_BY_TESTS = {"SECRET_KEY", "DATABASE_URL", "DEBUG", "EMAIL_URL", "SITE_URL"}


def start(home: Path) -> subprocess.Popen[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ARRANGED_BY_TESTS and not name.startswith("KEYFARE_")
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--no-serve"],
        cwd=settings.BASE_DIR,
        env={**environment, "KEYFARE_ENV_FILE": str(home / "demo" / "keyfare.env")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def completed_checks(home: Path) -> int:
    try:
        with sqlite3.connect(f"file:{home}/demo/keyfare.sqlite3?mode=ro", uri=True, timeout=10) as database:
            query = "SELECT count(*) FROM candidates_candidatecheck WHERE status = 'completed'"
            return database.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def calls_and_cost_on_own_keys(home: Path) -> tuple[int, int]:
    with sqlite3.connect(f"file:{home}/demo/keyfare.sqlite3?mode=ro", uri=True, timeout=10) as database:
        query = "SELECT count(*), sum(cost_nanousd) FROM usage_usageevent WHERE mode = 'byok'"
        return database.execute(query).fetchone()


def test_an_interrupted_demo_is_completed_by_the_next_and_repeated_by_the_third(tmp_path):
    first = start(tmp_path)
    give_up_at = time.monotonic() + 120
    while completed_checks(tmp_path) < 3 and time.monotonic() < give_up_at and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()  # until its children have ended, too

    second = finish(start(tmp_path))
    third = finish(start(tmp_path))

    assert second == third
    assert second["checks"] == {
        "managed_new": 6,
        "managed_recent": 6,
        "byok_new": 6,
        "byok_recent": 6,
        "failed": 1,
    }
    assert second["credits_charged"] == 42
    assert second["credits_available"] == 200 - 42
    assert second["unpriced_events"] == 0
    assert second["ledger_verified"] is True
    assert second["keys_connected"] == ["anthropic", "google", "openai", "openrouter"]
    assert float(second["estimated_usd"]) > 0
    assert (second["usd_calls"], round(float(second["estimated_usd"]) * 10**9)) == calls_and_cost_on_own_keys(tmp_path)
    assert second["managed_calls"] > 0
    assert oct((tmp_path / "demo" / "keyfare.env").stat().st_mode)[-3:] == "600"


def test_the_demo_refuses_a_real_installation(tmp_path):
    process = subprocess.run(
        [sys.executable, "manage.py", "demo", "--no-serve"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 1
    assert "The demo keeps to itself" in process.stderr
