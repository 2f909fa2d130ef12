"""The demo, as `make demo` runs it: real processes, a database of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.db import connection

from config.demo_agents import how_to_call

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="the demo brings its own SQLite database")
ARRANGED_BY_TESTS = {"SECRET_KEY", "DATABASE_URL", "DEBUG", "EMAIL_URL", "SITE_URL"}
ROLLED_UP = "SELECT day, provider, model, action, key_id, mode, calls, runs, cost_nanousd FROM usage_usagedaily"
ENTRIES, EVENTS = "SELECT count(*) FROM billing_ledgerentry", "SELECT count(*) FROM usage_usageevent"
BALANCE = """
    SELECT posted - held FROM billing_creditaccount a
    JOIN organizations_organization o ON o.id = a.organization_id WHERE slug = 'demo'
"""
CALLS_OF_THE_STORY_ON_OWN_KEYS = """
    SELECT count(*), sum(cost_nanousd) FROM usage_usageevent WHERE mode = 'byok' AND run_id IN (
        SELECT c.run_id FROM candidates_candidatecheck c JOIN candidates_briefing b ON b.id = c.briefing_id
        WHERE b.title IN ('Senior Backend Engineer (Python)', 'Data Platform Lead')
    )
"""
BUSIEST_DAYS = "SELECT count(*) FROM candidates_candidatecheck GROUP BY date(accepted_at) ORDER BY 1 DESC LIMIT 3"
CALLS_OF_AGENTS = """
    SELECT action, count(*), sum(token_id IS NOT NULL AND member_id IS NOT NULL AND labels != '{}'),
        sum(system_tokens > 0 AND input_cost_nanousd > 0)
    FROM usage_usageevent WHERE token_id IS NOT NULL GROUP BY 1 ORDER BY 1
"""
ENTRIES_IN_TIME = """
    SELECT created_at, lag(created_at) OVER (PARTITION BY organization_id ORDER BY seq) FROM billing_ledgerentry
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in ARRANGED_BY_TESTS and not name.startswith("KEYFARE_")
    }
    return {**own, "KEYFARE_ENV_FILE": str(home / "demo" / "keyfare.env"), **more}


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", *(arguments or ["--no-serve"])],
        cwd=settings.BASE_DIR,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def asked(home: Path, query: str) -> list[tuple]:
    with sqlite3.connect(f"file:{home}/demo/keyfare.sqlite3?mode=ro", uri=True, timeout=10) as database:
        return database.execute(query).fetchall()


def completed_checks(home: Path) -> int:
    try:
        return asked(home, "SELECT count(*) FROM candidates_candidatecheck WHERE status = 'completed'")[0][0]
    except sqlite3.OperationalError:
        return 0


def kill_after(home: Path, checks: int) -> None:
    """Start the demo, and kill it without a word once so many checks are completed."""
    process = start(home)
    give_up_at = time.monotonic() + 120
    while completed_checks(home) < checks and time.monotonic() < give_up_at and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # until its children have ended, too


def manage(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[Path, dict]:
    """Where a demo lies that was killed in its history, then in its story, then completed; and its last line."""
    home = tmp_path_factory.mktemp("told")
    kill_after(home, checks=30)
    history = "SELECT count(*) FROM candidates_candidatecheck WHERE status = 'completed'"
    assert asked(home, history)[0][0] < 100, "it was to be killed while it told the history"
    kill_after(home, checks=127)
    return home, finish(start(home))


def test_the_last_line_tells_the_story(told):
    home, summary = told

    assert summary["checks"] == {
        "managed_new": 6,
        "managed_recent": 6,
        "byok_new": 6,
        "byok_recent": 6,
        "failed": 1,
    }
    assert summary["credits_charged"] == 42
    assert summary["credits_available"] == 200 - 42
    assert asked(home, BALANCE) == [(158,)]
    assert summary["unpriced_events"] == 0
    assert summary["ledger_verified"] is True
    assert summary["keys_connected"] == ["anthropic", "google", "openai", "openrouter"]
    assert float(summary["estimated_usd"]) > 0
    own = summary["usd_calls"], round(float(summary["estimated_usd"]) * 10**9)
    assert asked(home, CALLS_OF_THE_STORY_ON_OWN_KEYS) == [own]
    assert summary["managed_calls"] > 0
    assert oct((home / "demo" / "keyfare.env").stat().st_mode)[-3:] == "600"


def test_the_lost_cache_of_an_agent_was_found_with_what_drives_it(told):
    home, summary = told
    (since,) = {each["since"] for each in summary["anomalies"] if "Less is read from cache" in each["title"]}

    assert {each["title"].partition(": ")[2] for each in summary["anomalies"]} == {"Code assistant"}
    assert "the share read from cache" in summary["anomalies"][0]["drivers"]
    kinds = asked(home, "SELECT kind, state, substr(since, 1, 16) FROM usage_anomaly WHERE kind = 'cache_loss'")
    assert kinds == [("cache_loss", "open", since)]


def test_what_it_says_of_its_agents_works_as_pasted_into_a_terminal():
    tokens = {"support-replies": "kf_first", "code-assistant": "kf_second"}
    lines = how_to_call(tokens, url="http://localhost:8000")

    script = "\n".join(line for line in lines if "kf_" in line).replace(" claude", " env") + "\nenv"
    done = subprocess.run(["/bin/sh", "-euc", script], env={}, capture_output=True, text=True, timeout=20)

    found = done.stdout.splitlines()
    assert found.count("OPENAI_API_KEY=kf_first") == found.count("OPENAI_BASE_URL=http://localhost:8000/v1") == 2
    assert {"ANTHROPIC_AUTH_TOKEN=kf_second", "ANTHROPIC_BASE_URL=http://localhost:8000"} <= set(found)


def test_the_history_shows_a_company_of_thirty_days(told):
    home, summary = told
    history = summary["history"]
    days = [row[0] for row in asked(home, "SELECT DISTINCT date(occurred_at) FROM usage_usageevent ORDER BY 1")]

    assert history["days"] == 29
    assert len(days) == 30
    assert history["checks"]["managed_new"] > 10
    assert history["checks"]["byok_new"] > 10
    assert history["checks"]["byok_recent"] > 10
    assert history["checks"]["failed"] >= 5
    assert len(history["models"]) == 6
    agents = asked(home, CALLS_OF_AGENTS)
    assert [agent for agent, *_ in agents] == ["code-assistant", "support-replies"]
    assert all(calls > 1_000 and of_tokens == calls and told > 0.9 * calls for _, calls, of_tokens, told in agents)
    assert history["unpriced_events"] > 0
    categories = dict(asked(home, "SELECT category, count(*) FROM candidates_candidatecheck GROUP BY 1"))
    assert min(categories[each] for each in ("strong", "possible", "none")) > 10
    assert asked(home, "SELECT label FROM providers_providerkey WHERE status = 'no_credit'") == [("Freelance project",)]
    models = asked(home, "SELECT count(DISTINCT details) FROM organizations_auditevent WHERE action = 'routing.saved'")
    assert models[0][0] > 5
    busiest = asked(home, BUSIEST_DAYS)
    assert busiest[0][0] >= 23
    assert busiest[2][0] <= 7  # but for that day and the story's, an ordinary one


def test_all_that_can_be_verified_of_it_is_sound(told):
    home, _ = told
    rolled_up = sorted(asked(home, ROLLED_UP), key=repr)

    for command in (["verify_ledger"], ["verify_audit"], ["check_secrets"], ["roll_up_usage", "--rebuild"]):
        done = manage(home, *command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert sorted(asked(home, ROLLED_UP), key=repr) == rolled_up
    entries = asked(home, ENTRIES_IN_TIME)
    assert all(before is None or before <= at for at, before in entries)
    assert asked(home, "SELECT count(*) FROM usage_inflightcall") == [(0,)]
    assert asked(home, "SELECT count(*) FROM billing_credithold WHERE state = 'pending'") == [(0,)]


@dataclass(frozen=True)
class Served:
    """The demo once more, while it is served; `lines` are those that it had printed by then to a terminal."""

    address: str
    lines: list[str]
    log: Path
    summary: dict
    rows_before: tuple


@pytest.fixture(scope="module")
def served(told) -> Iterator[Served]:
    home, _ = told
    rows = asked(home, ENTRIES), asked(home, EVENTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "served.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(port)],
            cwd=settings.BASE_DIR,
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        summary = json.loads(process.stdout.readline())
        give_up_at = time.monotonic() + 30
        while "\nowner@demo.example\n" not in log.read_text() and time.monotonic() < give_up_at:
            time.sleep(0.1)
        time.sleep(0.3)
        yield Served(f"http://127.0.0.1:{port}", log.read_text().splitlines(), log, summary, rows)
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_an_interrupted_demo_is_completed_by_the_next_and_the_one_after_adds_nothing(told, served):
    home, summary = told

    assert {**served.summary, "url": summary["url"]} == summary
    assert (asked(home, ENTRIES), asked(home, EVENTS)) == served.rows_before


def test_the_last_lines_are_address_e_mail_and_password_each_to_be_copied(told, served):
    url, email, password = served.lines[-3:]

    assert url == served.address.replace("127.0.0.1", "localhost")
    assert email == "owner@demo.example"
    assert password == told[1]["login"]["password"]
    assert re.fullmatch("[a-hjkmnp-z2-9]{14}", password)


def test_the_children_are_quiet(served):
    httpx.get(f"{served.address}/accounts/login/")

    text = "\n".join(served.lines)

    for noise in ("INFO", "Warning", "KEYFARE_PROVIDER_ORIGINS", "counted as lost", "Queued again", "Rolled up"):
        assert noise not in text
    assert served.log.read_text().splitlines() == served.lines


def test_the_demo_answers_as_a_real_installation_does(served):
    missing = httpx.get(f"{served.address}/api/v1/nowhere")
    page = httpx.get(f"{served.address}/nowhere")
    static = httpx.get(f"{served.address}/static/keyfare/app.css")

    assert (missing.status_code, list(missing.json())) == (404, ["error"])
    assert page.status_code == 404
    assert "URLconf" not in page.text
    assert "DEBUG" not in page.text
    assert static.status_code == 200


def test_the_owner_has_an_empty_organization_whose_cards_hold_keys_to_paste(told, served):
    with httpx.Client(base_url=served.address, follow_redirects=True) as browser:
        browser.get("/accounts/login/")
        form = {
            "login": "owner@demo.example",
            "password": told[1]["login"]["password"],
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        first = browser.post("/accounts/login/", data=form)
        empty = browser.get("/o/fresh-start/")
        cards = browser.get("/o/fresh-start/settings")
        staff = browser.get("/admin/")

    assert first.url.path == "/o/demo/"
    assert "0 of 6 done" in empty.text
    assert "sk-or-v1-simulated-valid-try-me-1" in cards.text
    assert staff.status_code == 200


def test_the_demo_refuses_a_real_installation(tmp_path):
    process = subprocess.run(
        [sys.executable, "manage.py", "demo", "--no-serve"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 1
    assert "The demo keeps to itself" in process.stderr


def test_a_demo_of_an_earlier_version_is_refused_with_what_to_do(tmp_path):
    home = tmp_path / "demo"
    home.mkdir()
    (home / "keyfare.env").write_text("SECRET_KEY=s\nKEYFARE_MASTER_KEYS=m\nKEYFARE_DIGEST_KEY=d\nDEBUG=1\n")

    done = manage(tmp_path, "demo", "--no-serve")

    assert done.returncode == 1
    assert "Delete that folder" in done.stderr


def test_mails_of_the_demo_are_kept_beside_its_database(told, served):
    home, _ = told
    with httpx.Client(base_url=served.address) as browser:
        browser.get("/accounts/password/reset/")
        form = {"email": "owner@demo.example", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post("/accounts/password/reset/", data=form)

    def is_kept() -> bool:
        return any("/accounts/password/reset/key/" in mail.read_text() for mail in (home / "demo").glob("mail/*"))

    give_up_at = time.monotonic() + 60
    while not is_kept() and time.monotonic() < give_up_at:  # of its anomalies mails are there before
        time.sleep(0.1)

    assert is_kept()
    assert "password/reset/key" not in served.log.read_text()
