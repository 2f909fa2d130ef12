from __future__ import annotations

import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from ast import literal_eval
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils.module_loading import import_string
from django_q.models import Schedule

from billing.ledger import balance
from config.installation import refuse_new_secrets_for_old_database, write_env_file
from config.onboarding import ensure_platform, open_organization
from config.schedules import JOBS, ensure_schedules
from organizations.audit import record
from organizations.models import Membership, Organization, User
from providers.custody.system_checks import master_keys
from routing.models import ManagedDefault
from tests.config.test_mfa import code_of

PASSWORD = "correct horse battery"
FILE_DATABASE = pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")


def environment(env_file: Path, **settings_: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYFARE_")}
    for name in ("SECRET_KEY", "DATABASE_URL", "DEBUG"):
        kept.pop(name, None)
    ours = {"KEYFARE_ENV_FILE": str(env_file), "KEYFARE_OWNER_PASSWORD": PASSWORD, **settings_}
    return kept | {name: value for name, value in ours.items() if value is not None}


def init(env_file: Path, *arguments: str, **settings_: str | None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "init", *arguments]
    return subprocess.run(
        command,
        cwd=settings.BASE_DIR,
        env=environment(env_file, **settings_),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@FILE_DATABASE
def test_init_takes_a_bare_machine_to_a_first_owner_and_repeating_it_changes_nothing(tmp_path):
    env_file = tmp_path / "var" / "keyfare.env"

    first = init(env_file, "--email", "Owner@Acme.example", "--organization", "Acme GmbH")
    written = env_file.read_text()
    second = init(env_file)

    assert first.returncode == 0, first.stderr
    assert "Back this file up" in first.stdout
    assert "owner@acme.example owns it" in first.stdout
    assert oct(env_file.stat().st_mode)[-3:] == "600"
    assert second.returncode == 0, second.stderr
    assert env_file.read_text() == written


@pytest.fixture(scope="module")
def installation(tmp_path_factory, migrated_file) -> Path:
    """The folder of an installation that `init` has made, on SQLite."""
    folder = tmp_path_factory.mktemp("installation") / "var"
    folder.mkdir()
    shutil.copy(migrated_file, folder / "keyfare.sqlite3")
    process = init(folder / "keyfare.env", "--email", "owner@acme.example", "--organization", "Acme")
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture
def installed(installation, tmp_path) -> Path:
    """The env file of a copy of it."""
    return Path(shutil.copytree(installation, tmp_path / "var")) / "keyfare.env"


@FILE_DATABASE
def test_init_makes_no_new_secrets_beside_a_database_whose_env_file_is_gone(installed):
    written = installed.read_text()
    installed.unlink()

    refused = init(installed)

    assert refused.returncode == 1
    assert "is in use (1 users, 0 organization keys), but its secrets are not set" in refused.stderr
    assert "back from its backup" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not installed.exists()
    installed.write_text(written)
    assert init(installed).returncode == 0


@FILE_DATABASE
def test_an_env_file_that_lost_its_master_keys_is_no_reason_for_new_ones_either(installed):
    installed.write_text("SECRET_KEY=abc\n")

    assert "is in use" in init(installed).stderr
    assert installed.read_text() == "SECRET_KEY=abc\n"


@FILE_DATABASE
def test_secrets_that_are_lost_for_good_are_made_anew_on_request_and_the_next_step_is_said(installed):
    installed.unlink()

    process = init(installed, "--new-secrets")

    assert "Wrote new secrets" in process.stdout
    assert process.returncode == 1
    assert "adopt_digest_key --yes" in process.stderr


@FILE_DATABASE
def test_a_database_that_does_not_answer_gets_no_secrets(tmp_path):
    env_file = tmp_path / "var" / "keyfare.env"

    process = init(env_file, DATABASE_URL="postgresql://nobody:wrong-password@127.0.0.1:1/nothing")

    assert process.returncode == 1
    assert "does not answer, so no secrets were made for it" in process.stderr
    assert "wrong-password" not in process.stderr
    assert not env_file.exists()


@pytest.mark.django_db
def test_a_filled_database_of_any_kind_is_known_as_one(alice, monkeypatch):
    monkeypatch.setattr("config.installation.database_file", lambda: None)

    with pytest.raises(CommandError, match="in use"):
        refuse_new_secrets_for_old_database()


@FILE_DATABASE
@pytest.mark.parametrize(
    ("arguments", "password", "sentence"),
    [
        ([], PASSWORD, "give --email and --organization."),
        (["--email", "owner@acme.example"], PASSWORD, "give --organization."),
        (["--email", "owner@acme.example"], None, "give --organization and KEYFARE_OWNER_PASSWORD in the environment."),
        (["--email", "owner@acme", "--organization", "Acme"], PASSWORD, "no e-mail address"),
        (["--email", "owner@acme.example", "--organization", "!!!"], PASSWORD, "no name for a URL"),
        (["--email", "owner@acme.example", "--organization", "Acme"], "short", "too short"),
    ],
)
def test_init_without_a_terminal_says_all_that_is_missing_before_it_writes_anything(
    tmp_path, arguments, password, sentence
):
    process = init(tmp_path / "var" / "keyfare.env", *arguments, KEYFARE_OWNER_PASSWORD=password)

    assert process.returncode == 1
    assert sentence in process.stderr
    assert list(tmp_path.iterdir()) == []


@FILE_DATABASE
def test_init_asks_what_it_was_not_told_once_and_makes_the_installation_of_the_answers(tmp_path, migrated_file):
    env_file = tmp_path / "var" / "keyfare.env"
    env_file.parent.mkdir()
    shutil.copy(migrated_file, env_file.parent / "keyfare.sqlite3")
    main, side = pty.openpty()
    command = [sys.executable, "manage.py", "init", "--slug", "acme-berlin"]
    process = subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env=environment(env_file, KEYFARE_OWNER_PASSWORD=None),
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    said = ""
    for question, answer in (
        ("E-mail of the first owner: ", "owner@acme.example"),
        ("Name of the organization: ", "--Acme"),
        ("Password for owner@acme.example: ", PASSWORD),
        ("Once more: ", PASSWORD),
    ):
        said += read_until(main, question)
        os.write(main, f"{answer}\n".encode())
    said += read_until(main, "--no-proxy-headers")

    assert process.wait(60) == 0
    assert "--Acme is open. owner@acme.example owns it" in said
    assert PASSWORD not in said
    with sqlite3.connect(env_file.parent / "keyfare.sqlite3") as database:
        assert database.execute("SELECT slug FROM organizations_organization WHERE NOT is_platform").fetchall() == [
            ("acme-berlin",)
        ]
    database.close()


def read_until(terminal: int, words: str) -> str:
    said = ""
    while words not in said:
        try:
            said += os.read(terminal, 4096).decode()
        except OSError:
            pytest.fail(f"It ended after {said!r}")
    return said


@FILE_DATABASE
def test_settings_may_be_written_before_the_first_init_which_adds_the_secrets(tmp_path, migrated_file):
    env_file = tmp_path / "keyfare.env"
    shutil.copy(migrated_file, tmp_path / "own.db")
    env_file.write_text(
        f"# ours\nSECRET_KEY=\nKEYFARE_DIGEST_KEY={'d1g-' * 9}xyz\nDATABASE_URL=sqlite:///{tmp_path}/own.db"
    )

    process = init(env_file, "--email", "owner@acme.example", "--organization", "Acme", SECRET_KEY="")

    assert process.returncode == 0, process.stderr
    lines = env_file.read_text().splitlines()
    assert lines[:4] == [
        "# ours",
        "SECRET_KEY=",
        f"KEYFARE_DIGEST_KEY={'d1g-' * 9}xyz",
        f"DATABASE_URL=sqlite:///{tmp_path}/own.db",
    ]
    assert [line.split("=")[0] for line in lines[4:]] == ["SECRET_KEY", "KEYFARE_MASTER_KEYS"]
    assert oct(env_file.stat().st_mode)[-3:] == "600"
    assert (tmp_path / "own.db").stat().st_size
    assert init(env_file).returncode == 0


@FILE_DATABASE
def test_a_file_that_cannot_be_written_is_said_and_nothing_is_made(tmp_path):
    (tmp_path / "taken").write_text("")

    process = init(tmp_path / "taken" / "keyfare.env", "--email", "owner@acme.example", "--organization", "Acme")

    assert process.returncode == 1
    assert "cannot be written" in process.stderr
    assert "Traceback" not in process.stderr


@FILE_DATABASE
def test_a_database_that_is_away_later_is_said_too(installed):
    process = init(installed, DATABASE_URL="postgresql://nobody:wrong-password@127.0.0.1:1/nothing")

    assert process.returncode == 1
    assert "The database does not answer" in process.stderr
    assert "Traceback" not in process.stderr
    assert "wrong-password" not in process.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"email": "no address", "organization": "New"}, "no e-mail address"),
        ({"email": "new@acme.example", "organization": "Acme"}, "already an organization"),
        ({"email": "new@acme.example", "organization": "New", "slug": "Not A Slug"}, "no name for a URL"),
        ({"email": "alice@acme.example", "organization": "New"}, "already a user"),
    ],
)
def test_init_refuses_bad_input_with_a_sentence_and_changes_nothing(acme, alice, monkeypatch, options, sentence):
    record(organization=acme, actor=alice, action="organization.opened", target=acme.name)
    monkeypatch.setenv("KEYFARE_OWNER_PASSWORD", PASSWORD)

    with pytest.raises(CommandError, match=sentence):
        call_command("init", **options)

    assert User.objects.count() == 1
    assert Organization.objects.customers().count() == 1


@pytest.mark.django_db
def test_init_refuses_a_weak_password(monkeypatch):
    monkeypatch.setenv("KEYFARE_OWNER_PASSWORD", "password")

    with pytest.raises(CommandError, match="too common"):
        call_command("init", email="new@acme.example", organization="New")
    assert not User.objects.exists()


COMMANDS: dict[str, dict[str, Any]] = {
    "init": {"email": "Owner@acme.example", "organization": "Acme"},
    "createsuperuser": {"email": "Owner@acme.example", "interactive": False},
}


@pytest.mark.django_db
@pytest.mark.parametrize("command", COMMANDS)
def test_who_was_named_on_the_server_gets_into_the_admin_without_any_mail(client, monkeypatch, mailoutbox, command):
    monkeypatch.setenv("KEYFARE_OWNER_PASSWORD", PASSWORD)
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)

    call_command(command, **COMMANDS[command], stdout=StringIO())
    client.post(reverse("account_login"), {"login": "owner@acme.example", "password": PASSWORD})
    page = client.get("/admin/", follow=True)
    seed = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(seed)})

    assert page.redirect_chain[-1][0] == reverse("mfa_index")
    assert client.get("/admin/").status_code == 200
    assert not [mail for mail in mailoutbox if "confirm" in mail.subject.lower()]


def test_secrets_are_never_overwritten(tmp_path):
    path = tmp_path / "keyfare.env"
    write_env_file(path)

    with pytest.raises(FileExistsError):
        write_env_file(path)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ([], "keyfare.E001"),
        ([""], "keyfare.E002"),
        (["short"], "keyfare.E002"),
        (["an-installation-secret-that-is-long-enough"], "keyfare.E003"),
    ],
)
def test_a_missing_or_weak_master_key_is_an_error(settings, keys, error):
    settings.SECRET_KEY = "an-installation-secret-that-is-long-enough"
    settings.FERNET_KEYS = keys

    assert [found.id for found in master_keys()] == [error]


def test_a_new_organization_starts_with_its_owner_and_trial_credits(db, settings):
    settings.KEYFARE_TRIAL_CREDITS = 25
    owner = User.objects.create_user("owner@new.example")

    organization = open_organization(name="New", slug="new", owner=owner)

    assert Membership.objects.get(organization=organization).role == Membership.Role.OWNER
    assert balance(organization=organization).available == 25


def test_the_platform_exists_once_and_has_a_default_for_every_action(db):
    assert ensure_platform() == ensure_platform()
    assert Organization.objects.filter(is_platform=True).count() == 1
    assert ManagedDefault.objects.exists()


def test_schedules_are_written_once_and_name_commands_that_run(db):
    ensure_schedules()
    ensure_schedules()

    assert set(Schedule.objects.values_list("name", flat=True)) == set(JOBS)
    for schedule in Schedule.objects.all():
        import_string(schedule.func)(literal_eval(schedule.args))
