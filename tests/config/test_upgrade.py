"""
A database of the first version that landed, upgraded to this one: with half a million usage events where
KEYFARE_SECURITY_BUDGET=full (`make test-security`) asks for it, else with fewer.
"""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations import AddField, RemoveField, RunPython, RunSQL
from django.db.models import IntegerField

from config import upgrade
from gateway.change_triggers import AT_WORK, TRIGGERS
from organizations.models import User
from tests.scratch_database import OWNER, ScratchDatabase, new_installation, scratch_database
from tests.security.budget import IS_FULL

__all__ = ["new_installation", "scratch_database"]

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PAGES = (
    "settings",
    "consumption/",
    "consumption/calls/",
    "credits/",
    "audit/",
    "members/",
    "candidates/",
    "briefings/",
)
EVENTS = 500_000 if IS_FULL else 20_000
SUMS = (
    "calls",
    "runs",
    "priced_runs",
    "answered",
    "failed",
    "lost",
    "unpriced_calls",
    "uncached_input_tokens",
    "output_tokens",
    "cost_nanousd",
)
DAILY = f"SELECT {', '.join(f'sum({name})' for name in SUMS)} FROM usage_usagedaily"  # noqa: S608
OF_EVENTS = "SELECT count(*), sum(cost_nanousd), sum(output_tokens), count(DISTINCT run_id) FROM usage_usageevent"
# As a person with a browser: password, then a code of the authenticator app, then the pages.
WALK = f"""
import json
import django
from django.conf import settings
django.setup()
settings.STORAGES["staticfiles"] = {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.test import Client
browser = Client(HTTP_HOST="localhost")
said = {{}}
asked = browser.post("/accounts/login/", {{"login": "owner@acme.example", "password": "correct horse battery"}})
said["after the password"] = asked.headers["Location"]
for _ in range(4):  # a code is of half a minute, which may end right now
    code = format_hotp_value(hotp_value({SEED!r}, next(yield_hotp_counters_from_time())))
    said["after the code"] = browser.post(asked.headers["Location"], {{"code": code}}).status_code
    if said["after the code"] == 302:
        break
said["pages"] = {{page: browser.get("/o/acme/" + page).status_code for page in {PAGES!r}}}
said["admin"] = browser.get("/admin/").status_code
print(json.dumps(said))
"""


def old_database(scratch: ScratchDatabase) -> None:
    process = scratch.run("-m", "tests.config.old_database", str(EVENTS), SEED, role=OWNER)
    assert process.returncode == 0, process.stderr


def test_a_database_of_the_first_version_is_upgraded_and_its_figures_stay(scratch_database):
    scratch = scratch_database("old")
    old_database(scratch)
    daily, of_events = scratch.query(DAILY), scratch.query(OF_EVENTS)
    assert of_events[0][0] == EVENTS
    assert (daily[0][0], daily[0][-1]) == of_events[0][:2]

    refused = scratch.run("manage.py", "init", role=OWNER)

    assert refused.returncode == 1
    assert "usage.0003_what_answers_say" in refused.stderr
    assert "manage.py backup" in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert scratch.query("SELECT count(*) FROM django_migrations WHERE app = 'config'") == [(0,)]

    scratch.manage("init", "--yes", role=OWNER)

    assert scratch.query(DAILY) == daily
    assert scratch.query(OF_EVENTS) == of_events
    scratch.prove()
    assert scratch.query(AT_WORK[connection.vendor]) == [(TRIGGERS[connection.vendor],)]
    assert scratch.query("SELECT purpose FROM billing_credithold")[0][0].startswith("Candidate check ")
    walk = scratch.run("-c", WALK)
    assert walk.returncode == 0, walk.stderr
    assert json.loads(walk.stdout.splitlines()[-1]) == {
        "after the password": "/accounts/2fa/authenticate/",
        "after the code": 302,
        "pages": dict.fromkeys(PAGES, 200),
        "admin": 200,
    }
    assert json.loads(scratch.manage("roll_up_usage", "--json"))["events"] == 0  # none twice
    scratch.manage("roll_up_usage", "--rebuild", role=OWNER)
    assert scratch.query(DAILY) == daily


def test_an_upgrade_that_is_done_asks_nothing(scratch_database, new_installation):
    assert "up to date" in scratch_database("new", like=new_installation).manage("init", role=OWNER)


@pytest.fixture
def terminal(monkeypatch):
    """A person at a terminal who answers; what they were asked."""

    def answers(answer: str) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

        def person(question: str) -> str:
            asked.append(question)
            return answer

        monkeypatch.setattr("builtins.input", person)
        return asked

    return answers


@pytest.mark.django_db
def test_at_a_terminal_the_upgrade_is_asked_about_and_no_is_no(acme, terminal, monkeypatch):
    pending = upgrade.Upgrade(["usage.0009_more", "usage.0010_other"], ["usage.0010_other"])
    monkeypatch.setattr("config.management.commands.init.pending_upgrade", lambda: pending)
    monkeypatch.setattr("config.management.commands.init.prepare_database", pytest.fail)
    User.objects.create_superuser("staff@keyfare.example", "correct horse battery")
    asked, out = terminal("n"), StringIO()

    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("init", stdout=out)

    assert asked == ["Go on? [y/N] "]
    assert "runs 2 migrations" in out.getvalue()
    assert "usage.0010_other" in out.getvalue()
    assert "usage.0009_more" not in out.getvalue()


def nothing(apps, schema_editor):
    pass


@pytest.mark.parametrize(
    ("operation", "is_for_good"),
    [
        (AddField("x", "y", IntegerField()), False),
        (RemoveField("x", "y"), True),
        (RunPython(nothing, nothing), False),
        (RunPython(nothing, RunPython.noop), True),
        (RunPython(nothing), True),
        (RunPython(RunPython.noop, nothing), False),
        (RunSQL("SELECT 1", RunSQL.noop), True),
        (RunSQL("SELECT 1", "SELECT 2"), False),
    ],
)
def test_what_cannot_be_undone_is_told_from_what_can(operation, is_for_good):
    assert upgrade._is_for_good(operation) is is_for_good
