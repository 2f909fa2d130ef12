from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from django.db import connection
from django.http import HttpRequest
from django.test import Client, TransactionTestCase

from organizations import second_factors, tenancy
from organizations.models import Membership, Organization, User
from tests import lock_guard, query_guard, serving_role
from tests.simulator_fixtures import simulated_providers, simulator, waits

__all__ = ["simulated_providers", "simulator", "waits"]

Role = Membership.Role
# Tests arrange and look at what belongs to everybody, in threads too; requests, tasks and scopes begin as they do.
tenancy._scope = ContextVar("keyfare_scope", default=tenancy.EVERY)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite works on a file, as it does when it serves: in memory, threads that meet fail instead of waiting."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "keyfare.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":  # as `make_database_file` makes it
            for file in Path(connection.settings_dict["NAME"]).parent.iterdir():
                file.chmod(0o600)
        serving_role.take()
    yield
    with django_db_blocker.unblock():
        serving_role.leave()


@pytest.fixture(scope="session", autouse=True)
def _flush_may_empty_append_only_tables() -> Iterator[None]:
    """Tests that commit end with a flush, which the triggers of append-only tables would refuse."""
    case_class: Any = TransactionTestCase
    flush = case_class._fixture_teardown

    def teardown(case: TransactionTestCase) -> None:
        with serving_role.as_owner(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%_append_only'"
                )
                tables = [row[0] for row in cursor.fetchall()]
                for table in tables:
                    cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
                flush(case)
                for table in tables:
                    cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            else:
                cursor.execute(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_append_only_%'"
                )
                triggers = cursor.fetchall()
                for name, _ in triggers:
                    cursor.execute(f"DROP TRIGGER {name}")
                flush(case)
                for _, sql in triggers:
                    cursor.execute(sql)

    case_class._fixture_teardown = teardown
    yield
    case_class._fixture_teardown = flush


@pytest.fixture(autouse=True)
def _queries_name_their_organization() -> Iterator[None]:
    with query_guard.guarding():
        yield


@pytest.fixture(autouse=True)
def _locks_are_taken_in_one_order() -> Iterator[None]:
    with lock_guard.guarding():
        yield


@pytest.fixture(autouse=True)
def _fast_settings(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


# The cast: Alice owns Acme, Ada administers it, Bob is a member, Charlie owns another organization.


@pytest.fixture
def acme(db) -> Organization:
    return Organization.objects.create(name="Acme", slug="acme")


@pytest.fixture
def globex(db) -> Organization:
    return Organization.objects.create(name="Globex", slug="globex")


def person(email: str, organization: Organization, role: str) -> User:
    user = User.objects.create_user(email, "correct horse battery", name=email.split("@")[0].title())
    Membership.objects.create(organization=organization, user=user, role=role)
    return user


@pytest.fixture
def alice(acme) -> User:
    return person("alice@acme.example", acme, Role.OWNER)


@pytest.fixture
def ada(acme) -> User:
    return person("ada@acme.example", acme, Role.ADMIN)


@pytest.fixture
def bob(acme) -> User:
    return person("bob@acme.example", acme, Role.MEMBER)


@pytest.fixture
def charlie(globex) -> User:
    return person("charlie@globex.example", globex, Role.OWNER)


@pytest.fixture
def staff(db) -> User:
    return User.objects.create_superuser("staff@keyfare.example", "correct horse battery")


def logged_in(user: User) -> Client:
    """A browser in which the person has just entered their password; staff have a second factor, too."""
    if user.is_staff:
        give_second_factor(user)
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(client, user)
    return client


def give_second_factor(user: User) -> None:
    if not Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
        Authenticator.objects.create(
            user=user, type=Authenticator.Type.TOTP, data={"secret": second_factors.seal("UNUSED")}
        )


def confirm_password(client: Client, user: User, *, seconds_ago: float = 0) -> None:
    """What allauth records in the session when a person confirms that it is them."""
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, method="password", email=user.email, reauthenticated=True)
    request.session["account_authentication_methods"][-1]["at"] -= seconds_ago
    request.session.save()


@pytest.fixture
def as_alice(alice) -> Client:
    return logged_in(alice)


@pytest.fixture
def as_ada(ada) -> Client:
    return logged_in(ada)


@pytest.fixture
def as_bob(bob) -> Client:
    return logged_in(bob)


@pytest.fixture
def as_charlie(charlie) -> Client:
    return logged_in(charlie)


@pytest.fixture
def as_staff(staff) -> Client:
    return logged_in(staff)
