"""What refuses to start: web servers and the worker, in processes of their own, on a database in a file."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from config.worker import supervisor
from providers.custody.system_checks import digest_key, master_keys
from tests.security.budget import IS_FULL

SECRET = "an-installation-secret-that-is-long-enough-0123456789"
MASTER = "Zt7pQ2mX9vB4nK8sLw3yRf6hJc1dGa5eUo0i"
DIGEST = "b7Qm4Vx1Ls9Tz6Wc3Kp8Rn2Yh5Fd0Jg7Ae4U"
FILE_DATABASE = pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")

SERVERS = {
    "asgi": ["-m", "uvicorn", "config.asgi:application", "--port", "0"],
    "wsgi": ["-c", "import config.wsgi; print('serving')"],
    "qcluster": ["manage.py", "qcluster"],
}


def environment(home: Path, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYFARE_")}
    ours = {
        "DEBUG": "0",
        "KEYFARE_ENV_FILE": "none",
        "SECRET_KEY": SECRET,
        "KEYFARE_MASTER_KEYS": MASTER,
        "KEYFARE_DIGEST_KEY": DIGEST,
        "DATABASE_URL": f"sqlite:///{home}/keyfare.sqlite3",
    }
    return {**kept, **ours, **changes}


def run(home: Path, arguments: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env=environment(home, **changes),
        capture_output=True,
        text=True,
        timeout=300,  # a ceiling: machines are busy
    )


BAD = {
    "missing": ({"KEYFARE_MASTER_KEYS": ""}, "KEYFARE_MASTER_KEYS is not set"),
    "short": ({"KEYFARE_MASTER_KEYS": "short"}, "shorter than 32 characters"),
    "equal to the secret key": ({"KEYFARE_MASTER_KEYS": SECRET}, "equals the SECRET_KEY"),
    "a placeholder": ({"KEYFARE_MASTER_KEYS": "change-me-to-something-random-please-12345"}, "placeholder"),
    "no digest key": ({"KEYFARE_DIGEST_KEY": ""}, "KEYFARE_DIGEST_KEY is not set"),
}


def by(first: str, *cases: Any) -> pytest.MarkDecorator:
    """
    Every case with every server by `make test-security`; else each with one of them in turn, beginning with `first`:
    a start takes a second and a half.
    """
    servers = list(SERVERS)
    turn = servers.index(first)
    pairs = [
        (case, server)
        for number, case in enumerate(cases, start=turn)
        for server in (servers if IS_FULL else [servers[number % len(servers)]])
    ]
    return pytest.mark.parametrize(("case", "server"), pairs)


@FILE_DATABASE
@by("asgi", *BAD)
def test_nothing_starts_with_a_bad_secret_and_the_sentence_names_the_setting(tmp_path, case, server):
    changes, sentence = BAD[case]

    process = run(tmp_path, SERVERS[server], **changes)

    said = process.stdout + process.stderr
    assert process.returncode != 0
    assert sentence in said
    assert "manage.py init" in said
    assert "Traceback" not in said
    for value in changes.values():
        assert len(value) < 10 or value not in said


@FILE_DATABASE
@by("qcluster", "http://keyfare:let-me-out@proxy")
def test_nothing_starts_with_an_egress_proxy_that_is_no_address(tmp_path, case, server):
    process = run(tmp_path, SERVERS[server], KEYFARE_EGRESS_PROXY=case)

    said = process.stdout + process.stderr
    assert process.returncode != 0
    assert "KEYFARE_EGRESS_PROXY is no address of a proxy." in said
    assert "Write it as http://proxy" in said
    assert "let-me-out" not in said


@pytest.fixture(scope="module")
def filled_database(tmp_path_factory, migrated_file) -> Path:
    """A database with one sealed key under MASTER."""
    home = tmp_path_factory.mktemp("filled")
    shutil.copy(migrated_file, home / "keyfare.sqlite3")
    fill = """
import django
django.setup()
from django.utils import timezone
from config.onboarding import open_organization
from organizations.models import User
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
organization = open_organization(name="Acme", slug="acme", owner=User.objects.create_user("owner@acme.example"))
save_provider_key(organization=organization, provider="openai", secret=Secret("sk-proj-simulated-0001"), actor=None,
                  now=timezone.now())
"""
    process = run(home, ["-c", fill], DJANGO_SETTINGS_MODULE="config.settings")
    assert process.returncode == 0, process.stderr
    return home


@FILE_DATABASE
@by("asgi", MASTER[::-1])
def test_nothing_starts_with_master_keys_that_do_not_fit_the_database(filled_database, case, server):
    process = run(filled_database, SERVERS[server], KEYFARE_MASTER_KEYS=case)

    assert process.returncode != 0
    assert "opens none of the organization keys" in process.stderr
    assert "Traceback" not in process.stderr


@FILE_DATABASE
def test_the_tools_that_find_out_and_mend_still_run_with_the_wrong_master_key(filled_database):
    wrong = run(filled_database, ["manage.py", "check_secrets"], KEYFARE_MASTER_KEYS=MASTER[::-1])
    both = run(filled_database, ["manage.py", "check_secrets"], KEYFARE_MASTER_KEYS=f"{MASTER[::-1]},{MASTER}")

    assert (wrong.returncode, both.returncode) == (1, 0), wrong.stderr + both.stderr
    assert "0 of 1 organization keys open." in wrong.stdout


@FILE_DATABASE
def test_a_server_starts_with_fitting_keys(filled_database):
    process = run(filled_database, SERVERS["wsgi"])

    assert process.stdout.strip() == "serving", process.stderr


@FILE_DATABASE
def test_static_files_that_were_not_collected_are_said_by_who_serves_pages(filled_database, tmp_path):
    settings_ = (
        f"from config.settings import *\nfrom pathlib import Path\nSTATIC_ROOT = Path({str(tmp_path)!r}) / 'static'\n"
    )
    (tmp_path / "here.py").write_text(settings_)
    changes = {"DJANGO_SETTINGS_MODULE": "here", "PYTHONPATH": str(tmp_path)}

    before = run(filled_database, SERVERS["wsgi"], **changes)
    run(filled_database, ["manage.py", "collectstatic", "--noinput"], **changes)
    after = run(filled_database, SERVERS["wsgi"], **changes)

    assert "Static files were not collected" in before.stderr
    assert "manage.py collectstatic --noinput" in before.stderr
    assert (after.stdout.strip(), "collected" in after.stderr) == ("serving", False)


@FILE_DATABASE
@by("qcluster", "no tables")
def test_nothing_starts_on_a_database_without_tables_and_none_is_made(tmp_path, case, server):
    process = run(tmp_path, SERVERS[server])

    assert process.returncode != 0
    assert "The database has no tables yet. Run `manage.py init`" in process.stderr
    assert "Traceback" not in process.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own_copy(filled_database, tmp_path) -> Path:
    with sqlite3.connect(filled_database / "keyfare.sqlite3") as source:
        with sqlite3.connect(tmp_path / "keyfare.sqlite3") as copy:
            source.backup(copy)
        copy.close()
    source.close()
    return tmp_path


def change_database(home: Path, statement: str, *values: str) -> None:
    with sqlite3.connect(home / "keyfare.sqlite3") as database:
        database.execute(statement, values)
    database.close()


@FILE_DATABASE
@by("wsgi", "0004_sentinel")
def test_nothing_starts_on_a_database_that_lacks_migrations_of_this_version(own_copy, case, server):
    change_database(own_copy, "DELETE FROM django_migrations WHERE app = 'config' AND name = ?", case)

    process = run(own_copy, SERVERS[server])

    assert process.returncode != 0
    assert f"is of an older version and lacks config.{case}. Run `manage.py init`" in process.stderr
    assert "Traceback" not in process.stderr


@FILE_DATABASE
def test_a_database_of_a_newer_version_is_said_and_served_so_that_servers_can_be_upgraded_one_by_one(own_copy):
    insert = "INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, '2030-01-01')"
    change_database(own_copy, insert, "candidates", "9999_from_the_future")
    change_database(own_copy, insert, "an_app_that_was_removed", "0001_initial")

    process = run(own_copy, SERVERS["wsgi"])

    assert process.stdout.strip() == "serving"
    assert "by a newer version than this one, which does not know candidates.9999_from_the_future." in process.stderr


@FILE_DATABASE
def test_a_start_finds_out_which_keys_do_not_open_and_which_do_again(own_copy):
    def start(origin: str) -> tuple[bool, bool]:
        """Whether it says that a key does not open, and whether that is known from then on."""
        change_database(own_copy, "UPDATE providers_providerkey SET origin = ?", origin)
        said = run(own_copy, SERVERS["wsgi"]).stderr
        with sqlite3.connect(own_copy / "keyfare.sqlite3") as database:
            ((since,),) = database.execute("SELECT unreadable_since FROM providers_providerkey")
        database.close()
        return "Provider keys that do not open, and show as Needs re-entry: 1." in said, since is not None

    assert start("https://elsewhere.example") == (True, True)
    assert start("https://api.openai.com") == (False, False)


@FILE_DATABASE
@by("asgi", DIGEST[::-1])
def test_nothing_starts_with_another_digest_key_than_the_first_start_had(own_copy, case, server):
    assert run(own_copy, SERVERS["wsgi"]).stdout.strip() == "serving"

    process = run(own_copy, SERVERS[server], KEYFARE_DIGEST_KEY=case)

    assert process.returncode != 0
    assert "KEYFARE_DIGEST_KEY is another one than this database was filled under" in process.stderr
    assert case not in process.stderr
    assert "Traceback" not in process.stderr
    assert run(own_copy, SERVERS["wsgi"]).stdout.strip() == "serving"


@FILE_DATABASE
def test_a_digest_key_that_is_lost_is_given_up_by_name_only(own_copy):
    run(own_copy, SERVERS["wsgi"])
    change_database(
        own_copy,
        "INSERT INTO candidates_profilesighting (person_digest, last_checked_at) VALUES ('x', '2026-01-01')",
    )
    new = {"KEYFARE_DIGEST_KEY": DIGEST[::-1]}

    asked = run(own_copy, ["manage.py", "adopt_digest_key"], **new)
    done = run(own_copy, ["manage.py", "adopt_digest_key", "--yes"], **new)
    again = run(own_copy, ["manage.py", "adopt_digest_key", "--yes"], **new)

    assert asked.returncode == 1
    assert "Add --yes" in asked.stderr
    assert "1 sightings of people are forgotten" in done.stdout
    assert "Nothing was changed" in again.stdout
    assert run(own_copy, SERVERS["wsgi"], **new).stdout.strip() == "serving"
    assert run(own_copy, SERVERS["wsgi"]).returncode != 0


@FILE_DATABASE
def test_uvicorn_and_the_worker_start_with_fitting_keys(filled_database):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = start(filled_database, [*SERVERS["asgi"][:-1], str(port)])
    worker = start(filled_database, SERVERS["qcluster"])
    try:
        give_up_at = time.monotonic() + 40
        while time.monotonic() < give_up_at:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail("The web server did not start.")
        assert worker.poll() is None
    finally:
        for process in (web, worker):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@FILE_DATABASE
@by("qcluster", 3600)
def test_a_clock_that_is_off_from_the_databases_is_said_at_start(filled_database, tmp_path, case, server):
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\ntruth = time.time\ntime.time = lambda: truth() + {case}\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, *SERVERS[server]],
            cwd=settings.BASE_DIR,
            env=environment(filled_database, PYTHONPATH=str(tmp_path)),
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        give_up_at = time.monotonic() + 40
        while "The clock of this machine is 3,600 seconds ahead of the database's." not in log.read_text():
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start(home: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=settings.BASE_DIR, env=environment(home), start_new_session=True
    )


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ([f" {MASTER}"], "keyfare.E004"),
        ([f"{MASTER[:20]} {MASTER[20:]}"], "keyfare.E004"),
        ([f"{MASTER}\n"], "keyfare.E004"),
        ([" " * 40], "keyfare.E002"),
        (["replace-with-32-or-more-random-characters"], "keyfare.E005"),
        (["your-master-key-goes-here-0123456789-abcdef"], "keyfare.E005"),
        (["x" * 40], "keyfare.E005"),
        ([MASTER, "short"], "keyfare.E002"),
    ],
)
def test_a_master_key_that_is_weak_in_any_place_is_an_error(settings, keys, error):
    settings.FERNET_KEYS = keys

    assert [found.id for found in master_keys()] == [error]


@pytest.mark.parametrize(
    ("key", "error"),
    [("", "E006"), ("short", "E006"), (SECRET, "E007"), (MASTER, "E007"), ("example-" * 5, "E008")],
)
def test_a_weak_digest_key_is_an_error(settings, key, error):
    settings.SECRET_KEY, settings.FERNET_KEYS, settings.KEYFARE_DIGEST_KEY = SECRET, [MASTER], key

    assert [found.id for found in digest_key()] == [f"keyfare.{error}"]


def test_what_init_writes_is_accepted(settings, tmp_path):
    from config.installation import write_env_file

    for number in range(50):
        write_env_file(tmp_path / str(number))
        written = dict(line.split("=", 1) for line in (tmp_path / str(number)).read_text().splitlines())
        settings.SECRET_KEY = written["SECRET_KEY"]
        settings.FERNET_KEYS = [written["KEYFARE_MASTER_KEYS"]]
        settings.KEYFARE_DIGEST_KEY = written["KEYFARE_DIGEST_KEY"]
        assert (master_keys(), digest_key()) == ([], [])


@FILE_DATABASE
@by("wsgi", "https://keyfare.example.com")
def test_the_doors_of_the_demo_open_on_this_computer_only(tmp_path, case, server):
    process = run(tmp_path, SERVERS[server], KEYFARE_DEMO="1", SITE_URL=case)

    assert process.returncode != 0
    assert "Take KEYFARE_DEMO out of the environment" in process.stdout + process.stderr


def test_debug_opens_no_door_of_a_server(tmp_path):
    asked = (
        "from config import settings as s; "
        "print(s.ACCOUNT_EMAIL_VERIFICATION, s.MFA_ALLOW_UNVERIFIED_EMAIL, repr(s.MAIL_TRANSPORT), s.KEYFARE_DEMO)"
    )

    told = run(tmp_path, ["-c", asked], DEBUG="1", EMAIL_URL="")

    assert told.stdout.strip() == "mandatory False '' False"


def test_what_is_loaded_is_set_aside_from_the_garbage_collector_by_the_web_server(db):
    import config.asgi  # noqa: F401

    assert gc.get_freeze_count() > 50_000


def test_what_is_loaded_is_set_aside_by_the_worker_before_its_first_fork(monkeypatch):
    order: list[str] = []
    monkeypatch.setattr("config.management.commands.qcluster.refuse_unsafe_start", lambda **_: None)
    monkeypatch.setattr(gc, "freeze", lambda: order.append("set aside"))
    monkeypatch.setattr(supervisor, "run", lambda: order.append("first fork"))

    with pytest.raises(SystemExit):
        call_command("qcluster")

    assert order == ["set aside", "first fork"]
