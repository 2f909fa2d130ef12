"""
A database that lacks what belongs to organizations, as a backup does that was made behind the wall: no proof passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from billing.models import CreditAccount
from billing.verification import verify_ledger
from config.onboarding import ensure_platform, open_organization
from organizations.audit_chain import verify_audit
from organizations.completeness import missing_rows
from organizations.models import AuditEvent, AuditHead, Membership, Organization, User
from organizations.tenancy import NOBODY, scope, tenant_tables
from tests.conftest import person
from tests.serving_role import as_owner

PROOFS = ("verify_ledger", "verify_audit", "check_secrets")


@pytest.fixture
def installation(db) -> Organization:
    """As `init` and staff leave it: two organizations with their owners, and the platform."""
    ensure_platform()
    owner = User.objects.create_superuser("owner@acme.example", "correct horse battery")
    open_organization(name="Globex", slug="globex", owner=owner)
    return open_organization(name="Acme", slug="acme", owner=owner)


def outcome(command: str, *arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command(command, *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return 1, str(error)
    return 0, out.getvalue()


@contextmanager
def without_triggers_and_foreign_keys() -> Iterator[None]:
    with as_owner(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET LOCAL session_replication_role = replica")
            yield
            cursor.execute("SET LOCAL session_replication_role = origin")
            return
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TRIGGER {name}")
        yield


def empty(*tables: str) -> None:
    with without_triggers_and_foreign_keys(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608  # a table of ours


def test_every_proof_passes_on_a_whole_installation(installation):
    assert {command: outcome(command)[0] for command in (*PROOFS, "init")} == dict.fromkeys((*PROOFS, "init"), 0)


@pytest.mark.parametrize("command", [*PROOFS, "init"])
def test_no_proof_passes_where_all_rows_of_organizations_are_gone(installation, command):
    empty(*tenant_tables(apps))

    code, said = outcome(command)

    assert code == 1
    assert "2 of 2 organizations have no member (acme, globex)" in " ".join(said.split())
    assert "Back up" in said


def test_the_proofs_say_it_in_json_too(installation):
    Membership.objects.all().delete()

    for command, key in (("verify_ledger", "verified"), ("verify_audit", "verified"), ("check_secrets", "sound")):
        code, said = outcome(command, "--json")
        answer = json.loads(said)
        assert (code, answer[key]) == (1, False)
        assert "have no member" in answer["problems"][0]


def test_one_organization_without_members_or_log_is_found_among_others(installation):
    Membership.objects.for_organization(installation).delete()
    with without_triggers_and_foreign_keys():
        AuditEvent.objects.for_organization(installation).delete()
        AuditHead.objects.for_organization(installation).delete()

    members, log = missing_rows()

    assert "1 of 2 organizations have no member (acme)" in members
    assert "1 of 2 organizations have no audit event (acme)" in log


def test_a_ledger_that_is_gone_as_a_whole_is_found(installation):
    empty("billing_holdallocation", "billing_ledgerentry", "billing_credithold", "billing_creditlot")
    CreditAccount.objects.for_organization(installation).delete()

    code, said = outcome("verify_ledger")

    assert code == 1
    assert "acme: There is no credit account" in said
    assert "globex: Account: the number of entries is kept as 1, but the entries give 0." in said


def test_heads_without_rows_are_found(installation):
    """Heads are kept where a log or ledger ends; rows that are gone to the last one contradict them, too."""
    empty("billing_ledgerentry", "billing_creditlot", "organizations_auditevent")

    assert any(
        "is kept as 1, but the entries give 0" in problem for problem in verify_ledger(organization=installation)
    )
    assert verify_audit(organization=installation).problem == (
        "Event 1 is missing: the log ends with event 0, but 2 were written."
    )


def test_people_who_belong_nowhere_yet_are_no_loss(db):
    """As after `createsuperuser`, or where anybody may sign up."""
    ensure_platform()
    User.objects.create_superuser("staff@keyfare.example", "correct horse battery")

    assert missing_rows() == []
    assert {outcome(command)[0] for command in PROOFS} == {0}


def test_a_closed_wall_is_said_instead_of_passing_on_nothing(installation):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no wall")
    with scope(NOBODY, "test"):
        (problem,) = missing_rows()

    assert "shows this session not everybody's rows" in problem


def test_a_member_of_another_organization_is_none_of_this_one(installation):
    Membership.objects.for_organization(installation).delete()
    person("another@globex.example", Organization.objects.get(slug="globex"), Membership.Role.MEMBER)

    (problem,) = missing_rows()
    assert "(acme)" in problem
