"""Row-level security: what PostgreSQL itself refuses, asked as the role that serves."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from functools import partial

import pytest
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connection, transaction
from django.db.backends.signals import connection_created

from organizations import audit, tenancy
from organizations.models import AuditEvent, Membership, Organization
from organizations.tenancy import EVERY, NOBODY, scope
from tests import serving_role
from tests.serving_role import as_owner, lose_connection

pytestmark = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="needs PostgreSQL: SQLite has no row-level security"
)


@pytest.fixture
def two_audit_logs(acme, globex) -> None:
    for organization in (acme, globex):
        audit.record(organization=organization, actor=None, action="test.noted", target=organization.name)


def targets() -> list[str]:
    return sorted(AuditEvent.objects.values_list("target", flat=True))


def test_every_tenant_table_has_the_policy_and_nobody_is_above_it(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid "
            "WHERE polname = 'of_the_scope' AND relrowsecurity AND relforcerowsecurity AND polcmd = '*'"
        )
        walled = sorted(row[0] for row in cursor.fetchall())

    assert walled == tenancy.tenant_tables(apps), "Wall in the new table: organizations.tenancy.wall_in in a migration."


def test_every_policy_is_the_only_one_of_its_table_and_says_the_same_for_reading_and_writing(db):
    """Permissive policies add up: a second one could only open the wall. USING counts for writing without a CHECK."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT polrelid) FROM pg_policy")
        assert cursor.fetchone() == (len(tenancy.tenant_tables(apps)),) * 2
        cursor.execute(
            "SELECT DISTINCT pg_get_expr(polqual, polrelid), polpermissive, polroles::text, "
            "coalesce(pg_get_expr(polwithcheck, polrelid), 'as USING') FROM pg_policy"
        )
        ((using, is_permissive, roles, check),) = cursor.fetchall()

    assert (is_permissive, roles, check) == (True, "{0}", "as USING")  # 0: everybody, the owner too
    assert using.count("current_setting('keyfare.organization'") == 2
    assert "organization_id = " in using


def test_a_table_without_a_policy_is_seen(db):
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("DROP POLICY of_the_scope ON candidates_briefing")
        cursor.execute("ALTER TABLE candidates_candidate NO FORCE ROW LEVEL SECURITY")

    with pytest.raises(AssertionError, match="wall_in"):
        test_every_tenant_table_has_the_policy_and_nobody_is_above_it(None)


def test_without_a_scope_there_are_no_rows(two_audit_logs):
    with scope(NOBODY, "test"):
        assert targets() == []


def test_a_connection_that_was_told_nothing_sees_nothing(two_audit_logs):
    with connection.cursor() as cursor:
        cursor.execute(f"RESET {tenancy.VARIABLE}")
        cursor.execute("SELECT count(*) FROM organizations_auditevent")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_process_sees_nobodys_rows_until_it_opens_a_scope_by_name(two_audit_logs):
    count = "from organizations.models import AuditEvent; print(AuditEvent.objects.count())"
    run = partial(subprocess.run, cwd=settings.BASE_DIR, capture_output=True, text=True)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": serving_role.database_url(),
    }

    script = run([sys.executable, "-c", f"import django; django.setup(); {count}"], env=environment)
    command = run([sys.executable, "manage.py", "shell", "--no-imports", "-c", count], env=environment)

    assert script.stdout == "0\n", script.stderr
    assert command.stdout == f"{AuditEvent.objects.count()}\n", command.stderr
    assert int(command.stdout) > 1


def test_a_scope_shows_its_organization_only_however_one_asks(two_audit_logs, acme, globex):
    with scope(acme, "test"):
        assert targets() == ["Acme"]
        assert AuditEvent.objects.filter(organization=globex).count() == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT target FROM organizations_auditevent")
            assert cursor.fetchall() == [("Acme",)]
    with scope(EVERY, "test"):
        assert targets() == ["Acme", "Globex"]


def test_scopes_nest_and_end_where_they_began(two_audit_logs, acme, globex):
    with scope(acme, "test"):
        with scope(EVERY, "test"):
            with scope(globex, "test"):
                assert targets() == ["Globex"]
            assert targets() == ["Acme", "Globex"]
        assert targets() == ["Acme"]
    assert targets() == ["Acme", "Globex"]


def test_nothing_can_be_written_into_another_organization(two_audit_logs, acme, globex, charlie):
    with scope(acme, "test"):
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            audit.record(organization=globex, actor=None, action="test.smuggled")
        mine = Membership.objects.create(organization=acme, user=charlie)
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            Membership.objects.filter(pk=mine.pk).update(organization=globex)
        assert Membership.objects.filter(organization=globex).delete()[0] == 0
        assert Membership.objects.filter(organization=globex).update(role="member") == 0

    assert Membership.objects.get(organization=globex).role == "owner"


def test_a_scope_left_by_an_error_in_the_database_is_left(two_audit_logs, acme, globex):
    with scope(acme, "test"):
        with pytest.raises(ProgrammingError), transaction.atomic(), scope(globex, "test"):
            AuditEvent.objects.raw("SELECT nothing FROM nowhere")[0]
        assert targets() == ["Acme"]

        with pytest.raises(ValueError, match="stop"), transaction.atomic(), scope(globex, "test"):
            raise ValueError("stop")
        assert targets() == ["Acme"]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE organizations_auditevent DISABLE TRIGGER USER",
        "DROP TRIGGER organizations_auditevent_append_only ON organizations_auditevent",
        "DROP FUNCTION organizations_auditevent_append_only() CASCADE",
        "ALTER TABLE organizations_auditevent DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE organizations_auditevent NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY of_the_scope ON organizations_auditevent",
        "CREATE POLICY another ON organizations_auditevent USING (true)",
        "TRUNCATE organizations_auditevent CASCADE",
        "SET session_replication_role = replica",
    ],
)
def test_the_role_that_serves_cannot_lift_the_wall_or_the_triggers(db, statement):
    refusal = "must be owner|permission denied"
    with pytest.raises(ProgrammingError, match=refusal), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_role_that_serves_is_accepted_and_a_superuser_refused(db):
    tenancy.refuse_role_above_the_wall()

    with as_owner(), pytest.raises(ImproperlyConfigured, match="BYPASSRLS"):
        tenancy.refuse_role_above_the_wall()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["config.asgi", "config.wsgi", "qcluster"])
def test_no_server_and_no_worker_starts_above_the_wall_under_debug_neither(settings, door):
    settings.DEBUG = True

    def start() -> None:
        if door == "qcluster":
            call_command(door)
        else:
            importlib.reload(importlib.import_module(door))

    importlib.import_module("config.asgi" if door == "qcluster" else door)
    connection_created.disconnect(serving_role._take_role)  # its connections are the superuser's
    connection.close()
    try:
        with pytest.raises(SystemExit, match="superuser or a role with BYPASSRLS"):
            start()
    finally:
        connection.close()
        connection_created.connect(serving_role._take_role)


@pytest.mark.django_db(transaction=True)
def test_threads_that_take_turns_never_see_each_others_rows():
    organizations = [Organization.objects.create(name=f"Org {n}", slug=f"org-{n}") for n in range(4)]
    for organization in organizations:
        audit.record(organization=organization, actor=None, action="test.noted", target=organization.name)
    mixed_up: list[tuple[str, list[str]]] = []

    def work(mine: Organization, other: Organization) -> None:
        try:
            for turn in range(25):
                try:
                    with scope(mine if turn % 3 else other, "test"):
                        expected = [(mine if turn % 3 else other).name]
                        if (seen := targets()) != expected:
                            mixed_up.append((expected[0], seen))
                        if turn % 5 == 0:
                            raise ValueError("in between")
                except ValueError:
                    pass
                with scope(NOBODY, "test"):
                    if seen := targets():
                        mixed_up.append(("nobody", seen))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=work, args=[mine, organizations[number - 1]])
        for number, mine in enumerate(organizations)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert mixed_up == []


@pytest.mark.django_db(transaction=True)
def test_a_connection_opened_within_a_scope_takes_it_over(acme):
    with scope(acme, "test"):
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting(%s)", [tenancy.VARIABLE])
            assert cursor.fetchone() == (str(acme.pk),)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [tenancy.VARIABLE])
        assert cursor.fetchone() == (EVERY,)


@pytest.mark.django_db(transaction=True)
def test_a_connection_found_lost_when_a_scope_opens_or_ends_is_replaced_by_one_of_that_scope(two_audit_logs, acme):
    with scope(EVERY, "a test"):
        assert targets() == ["Acme", "Globex"]
        lose_connection()
        with scope(acme, "a test"):
            assert targets() == ["Acme"]
            lose_connection()
        assert targets() == ["Acme", "Globex"]


@pytest.mark.django_db(transaction=True)
def test_a_connection_lost_within_a_transaction_is_an_error_however_little_is_done_after(acme, globex):
    @transaction.atomic
    def lose_it() -> None:
        audit.record(organization=acme, actor=None, action="test.noted", target="Acme")
        lose_connection()
        with scope(globex, "a test"):
            pass

    with pytest.raises(OperationalError):
        lose_it()

    with scope(EVERY, "a test"):
        assert targets() == []
