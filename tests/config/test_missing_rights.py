"""A role that may not use the tables, as in a restored database without its grants, is told so before it serves."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from tests.scratch_database import OWNER, SERVING, ScratchDatabase, new_installation, scratch_database

__all__ = ["new_installation", "scratch_database"]

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no roles")
ALL = "; ".join(f"REVOKE ALL ON ALL {what} IN SCHEMA public FROM {SERVING}" for what in ("TABLES", "SEQUENCES"))


@pytest.fixture
def here(scratch_database, new_installation) -> ScratchDatabase:
    return scratch_database("here", like=new_installation)


@pytest.mark.parametrize(
    ("revoked", "named"),
    [
        (ALL, " more."),
        (f"REVOKE ALL ON django_migrations FROM {SERVING}", "may not use django_migrations."),
        (f"REVOKE ALL ON SEQUENCE usage_usageevent_id_seq FROM {SERVING}", "may not use usage_usageevent_id_seq."),
    ],
    ids=["all", "one table", "one sequence"],
)
def test_nothing_starts_without_rights_and_the_sentence_names_what_mends_it(here, revoked, named):
    here.query(revoked)

    refused = here.run("-c", "import config.wsgi")

    assert refused.returncode == 1
    assert named in refused.stderr
    assert "Traceback" not in refused.stderr
    here.query("; ".join(re.findall(r"GRANT [^;]+", refused.stderr)))
    started = here.run("-c", "import config.wsgi")
    assert started.returncode == 0, started.stderr


def test_the_proofs_say_it_too(here):
    here.query(ALL)

    for command in ("verify_ledger", "verify_audit", "check_secrets"):
        refused = here.run("manage.py", command)
        assert refused.returncode == 1
        assert "GRANT SELECT" in refused.stdout + refused.stderr, command
        assert "Traceback" not in refused.stderr, command


def test_tables_of_others_in_the_same_database_are_none_of_ours(here):
    here.query("CREATE TABLE somebody_elses (id serial)")

    started = here.run("-c", "import config.wsgi")

    assert started.returncode == 0, started.stderr


# Before tables are made ---------------------------------------------------------------------------------


INIT = ("manage.py", "init", "--email", "owner@acme.example", "--organization", "Acme")


def test_a_role_that_may_not_make_tables_is_told_who_may_and_no_secret_is_written(scratch_database, tmp_path):
    """As with `createdb` by somebody else, from PostgreSQL 15 on."""
    empty = scratch_database("empty")
    env_file = tmp_path / "var" / "keyfare.env"
    unset = dict.fromkeys(("SECRET_KEY", "KEYFARE_MASTER_KEYS", "KEYFARE_DIGEST_KEY"), "")

    refused = empty.run(*INIT, KEYFARE_ENV_FILE=str(env_file), **unset)

    assert refused.returncode == 1
    assert f"connects as “{SERVING}”, who may not make tables" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not env_file.parent.exists()
    for statement in re.findall(r"ALTER DATABASE [^;]+", refused.stderr):
        empty.query(statement)
    done = empty.run(*INIT, KEYFARE_ENV_FILE=str(env_file), **unset)
    assert done.returncode == 0, done.stderr


def test_an_upgrade_as_the_role_that_serves_is_refused_with_the_owner(here):
    here.query("DELETE FROM django_migrations WHERE app = 'config' AND name = '0004_sentinel'")

    refused = here.run("manage.py", "init", "--yes")

    assert refused.returncode == 1
    assert f"the tables belong to “{OWNER}”" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_role_that_serves_may_repeat_an_init_that_changes_nothing(here):
    assert "has its first owner" in here.manage("init")
