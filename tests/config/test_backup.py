"""What a backup holds and what not, and when it is refused, made or restored."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from config.backups.manifest import Contents
from tests.scratch_database import (
    OWNER,
    ScratchDatabase,
    fitting_pg_dump,
    needs_pg_dump,
    new_installation,
    scratch_database,
)

__all__ = ["needs_pg_dump", "new_installation", "scratch_database"]

pytestmark = pytest.mark.usefixtures("needs_pg_dump")


@pytest.fixture
def here(scratch_database, new_installation) -> ScratchDatabase:
    return scratch_database("here", like=new_installation)


def back_up(scratch: ScratchDatabase, where: Path, **options: str) -> Path:
    scratch.manage("backup", str(where), **options)
    (made,) = where.iterdir()
    return made


def refused(scratch: ScratchDatabase, *arguments: str, **options: str) -> str:
    process = scratch.run("manage.py", *arguments, **options)
    assert process.returncode == 1, process.stdout
    assert "Traceback" not in process.stderr
    return process.stderr


def change_manifest(backup: Path, **contents: object) -> None:
    path = backup / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["contents"] |= contents
    path.write_text(json.dumps(manifest))


def test_a_backup_is_its_owners_alone_and_names_no_person_and_no_secret(here, tmp_path):
    backup = back_up(here, tmp_path / "backups", role="serving")  # the role that serves sees enough, too

    modes = {path.name: oct(path.stat().st_mode)[-3:] for path in (*backup.iterdir(), backup, backup.parent)}
    assert {modes.pop(name) for name in (backup.name, "backups")} == {"700"}
    assert set(modes.values()) == {"600"}
    manifest = (backup / "manifest.json").read_text()
    for word in ("owner@acme.example", "Acme", *(os.environ[name] for name in ("SECRET_KEY", "KEYFARE_MASTER_KEYS"))):
        assert word not in manifest
    assert json.loads(manifest)["contents"]["counts"]["organizations_membership"] == 1


def test_what_does_not_prove_is_not_restored(here, scratch_database, tmp_path):
    backup = back_up(here, tmp_path / "backups", role=OWNER)
    there = scratch_database("there")
    manifest = json.loads((backup / "manifest.json").read_text())["contents"]

    for broken, sentence in (
        ({"counts": {**manifest["counts"], "organizations_membership": 2}}, "organizations_membership has 1 rows"),
        ({"ledger_heads": [[2, 9, 90, 0]]}, "The credit ledger of organization 2 does not end where"),
        ({"audit_heads": []}, "The audit log of organization 2 does not end where"),
        ({"migrations": [*manifest["migrations"], "usage.9999_tomorrow"]}, "of a newer version of Keyfare"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(backup, copy)
        change_manifest(copy, **broken)
        assert sentence in refused(there, "restore", str(copy), role=OWNER)
        shutil.rmtree(copy)

    assert "rows and heads as the manifest says" in there.manage("restore", str(backup), role=OWNER)  # still empty


def test_a_database_that_was_made_behind_the_wall_does_not_prove(here, scratch_database, tmp_path):
    """As an empty backup: its own manifest tells of no rows, and the books say that they have to be there."""
    backup = back_up(here, tmp_path / "backups", role=OWNER)
    there = scratch_database("there")
    there.manage("restore", str(backup), role=OWNER)
    there.query("DELETE FROM organizations_membership")
    second, elsewhere = tmp_path / "second", scratch_database("elsewhere")

    emptied = back_up(there, second, role=OWNER)

    assert "1 of 1 organizations have no member" in refused(elsewhere, "restore", str(emptied), role=OWNER)
    assert "have no member" in refused(there, "init", role=OWNER)
    kept = elsewhere.run("manage.py", "restore", str(emptied), "--unproven", role=OWNER)
    assert (kept.returncode, "NOT proven" in kept.stdout, "have no member" in kept.stderr) == (0, True, True)


def test_nothing_is_restored_over_a_database(here, tmp_path):
    backup = back_up(here, tmp_path / "backups", role=OWNER)
    here.query("UPDATE organizations_organization SET name = 'Later' WHERE slug = 'acme'")

    assert "already" in refused(here, "restore", str(backup), role=OWNER)

    assert here.query("SELECT name FROM organizations_organization WHERE slug = 'acme'") == [("Later",)]


def test_a_damaged_backup_is_refused_with_a_sentence_and_leaves_the_database_empty(here, scratch_database, tmp_path):
    backup = back_up(here, tmp_path / "backups", role=OWNER)
    (name,) = (path.name for path in backup.iterdir() if path.name != "manifest.json")
    there = scratch_database("there")

    for harm, sentence in (("cut", "cut off"), ("gone", "No such file"), ("no manifest", "is not as")):
        damaged = tmp_path / harm
        shutil.copytree(backup, damaged)
        if harm == "cut":
            (damaged / name).write_bytes((backup / name).read_bytes()[:-200])
        elif harm == "gone":
            (damaged / name).unlink()
        else:
            (damaged / "manifest.json").write_text("{}")
        assert sentence in refused(there, "restore", str(damaged), role=OWNER)
    assert "is no backup" in refused(there, "restore", str(tmp_path / "nowhere"), role=OWNER)

    tables = {
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
        "sqlite": "SELECT name FROM sqlite_master",
    }
    assert there.query(tables[connection.vendor]) == []
    assert not [path for path in tmp_path.iterdir() if "restoring" in path.name]


def test_a_full_disk_leaves_no_half_backup(here, tmp_path):
    """By the largest file that the process may write."""
    process = subprocess.run(
        [sys.executable, "manage.py", "backup", str(tmp_path / "backups")],
        cwd=settings.BASE_DIR,
        env=here.environment(role=OWNER, PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )

    assert process.returncode == 1, process.stdout
    assert "Nothing was backed up" in process.stderr
    assert "Traceback" not in process.stderr
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_backup_that_is_told_to_stop_leaves_nothing(here, tmp_path, number):
    """By systemd, a timeout of cron, a terminal; when the rows are copied and the manifest is not written."""
    stopped = (
        "import os, signal, django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from config.backups import making\n"
        "from organizations.tenancy import EVERY, scope\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        f"making.digest_of = lambda path: os.kill(os.getpid(), {int(number)})\n"
        "with scope(EVERY, 'as manage.py does'):\n"
        f"    call_command('backup', {str(tmp_path / 'backups')!r})\n"
    )

    process = here.run("-c", stopped, role=OWNER)

    assert process.returncode in (128 + number, -number), process.stderr
    assert list((tmp_path / "backups").iterdir()) == []


def test_what_a_killed_backup_left_is_removed_by_a_later_one_and_one_at_work_is_let_alone(here, tmp_path):
    backups = tmp_path / "backups"
    old, at_work, whole = backups / ".keyfare-T.1", backups / ".keyfare-T.2", backups / "keyfare-T"
    days_ago = time.time() - 3 * 24 * 3600
    for folder in (old, at_work, whole):
        folder.mkdir(parents=True)
        (folder / "database").write_text("rows")
        for path in (folder / "database", folder):
            os.utime(path, (days_ago, days_ago))
    os.utime(at_work / "database")

    here.manage("backup", str(backups), role=OWNER)

    left = {path.name for path in backups.iterdir()}
    assert {at_work.name, whole.name} < left
    assert len(left) == 3


def test_master_keys_that_do_not_fit_are_told_after_the_restore(here, scratch_database, tmp_path):
    sealed = here.run(
        "-c",
        "import django; django.setup()\n"
        "from django.utils import timezone\n"
        "from organizations.models import Organization\n"
        "from organizations.tenancy import EVERY, scope\n"
        "from providers.adapters.secret import Secret\n"
        "from providers.keys.saving import save_provider_key\n"
        "with scope(EVERY, 'test'):\n"
        "    save_provider_key(organization=Organization.objects.get(slug='acme'), provider='openai',\n"
        "                      secret=Secret('sk-proj-simulated-0001'), actor=None, now=timezone.now())\n",
    )
    assert sealed.returncode == 0, sealed.stderr
    backup = back_up(here, tmp_path / "backups", role=OWNER)
    there = scratch_database("there")

    process = there.run(
        "manage.py", "restore", str(backup), role=OWNER, KEYFARE_MASTER_KEYS="another-master-key-9876543210-abcdefghij"
    )

    assert process.returncode == 0, process.stderr
    assert "KEYFARE_MASTER_KEYS opens none of the organization keys" in process.stderr
    there.manage("check_secrets")  # nothing was lost by it


def test_without_a_fitting_pg_dump_a_sentence_says_what_to_do(here, tmp_path):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite needs no program")
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o700)

    for program, sentence in ((str(old), "is of PostgreSQL 9, older than the server"), ("/no/pg_dump", "There is no")):
        said = refused(here, "backup", str(tmp_path / "backups"), role=OWNER, KEYFARE_PG_DUMP=program)
        assert sentence in said
        assert "Install the client programs of PostgreSQL" in said
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_pg_dump_older_than_our_own_library_is_given_no_option_that_it_does_not_know(here, tmp_path):
    """`sslcertmode` came with PostgreSQL 16: our library finds it in every connection by TCP, a server of 15 or not."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite needs no program")
    older = tmp_path / "pg_dump"
    older.write_text(
        "#!/bin/sh\n"
        """case "$*" in *sslcertmode*) echo 'invalid connection option "sslcertmode"' >&2; exit 1;; esac\n"""
        f'exec "{fitting_pg_dump()}" "$@"\n'
    )
    older.chmod(0o700)

    backup = back_up(here, tmp_path / "backups", role=OWNER, KEYFARE_PG_DUMP=str(older), PGSSLCERTMODE="allow")

    assert json.loads((backup / "manifest.json").read_text())["contents"]["counts"]["organizations_membership"] == 1


def test_postgresql_is_restored_by_the_owner_and_figures_go_on_in_another_cluster(here, scratch_database, tmp_path):
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: SQLite has neither roles nor clusters")
    here.query(
        "INSERT INTO usage_rollupstate (id, position, rebuilt_to_id, system_identifier) VALUES (1, 7, 0, 'else')"
    )
    backup = back_up(here, tmp_path / "backups", role=OWNER)
    there = scratch_database("there")

    assert "Restore as the role that owns it" in refused(there, "restore", str(backup), role="serving")
    there.manage("restore", str(backup), role=OWNER)

    there.manage("roll_up_usage")
    assert there.query("SELECT count(*) FROM usage_rollupstate WHERE system_identifier = 'else'") == [(0,)]


def test_the_dump_that_the_documents_give_holds_everybodys_rows(here, tmp_path):
    """And without the wall opened, none: the promise of docs/operations.md about plain pg_dump."""
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL")
    text = (Path(settings.BASE_DIR) / "docs" / "operations.md").read_text()
    (block,) = [part for part in text.split("```")[1::2] if "pg_dump" in part]
    command = block.removeprefix("sh\n").replace(
        "postgresql://keyfare_owner:PASSWORD@localhost/keyfare", here.owner_url
    )
    command = command.replace("pg_dump", str(fitting_pg_dump())).replace("keyfare.sql", "dump.sql")

    def memberships(command: str) -> int:
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True)  # noqa: S602  # a shell's
        lines = iter((tmp_path / "dump.sql").read_text().splitlines())
        next(line for line in lines if line.startswith("COPY public.organizations_membership"))
        return sum(1 for _ in iter(lambda: next(lines), "\\."))

    assert memberships(command) == 1
    assert memberships(command.replace("-c keyfare.organization=every", "-c keyfare.organization=")) == 0


def test_a_backup_of_an_earlier_version_is_restored_and_says_that_it_needs_init(scratch_database, tmp_path):
    old, there = scratch_database("old"), scratch_database("there")
    filled = old.run("-m", "tests.config.old_database", "300", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", role=OWNER)
    assert filled.returncode == 0, filled.stderr
    backup = back_up(old, tmp_path / "backups", role=OWNER)

    said = there.manage("restore", str(backup), role=OWNER)

    assert "of an earlier version" in said
    there.manage("init", "--yes", role=OWNER)
    there.prove()


def test_differences_are_told_by_table_and_organization():
    one = Contents(["a.1"], {"x": 1, "y": 2}, [[1, 5, 0, 0]], [[1, 2, "h"]])
    other = Contents(["a.1"], {"x": 1, "z": 1}, [[1, 5, 0, 0]], [[1, 2, "i"], [2, 1, "j"]])

    assert list(one.differences(one)) == []
    assert list(one.differences(other)) == [
        "y has 0 rows; the manifest tells of 2.",
        "z has 1 rows; the manifest tells of 0.",
        "The audit log of organization 1 does not end where the manifest says.",
        "The audit log of organization 2 does not end where the manifest says.",
    ]
