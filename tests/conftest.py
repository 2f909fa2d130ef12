from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import pytest
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from django.db import connection
from django.http import HttpRequest
from django.test import Client, TransactionTestCase
from django.test.client import MULTIPART_CONTENT
from django.utils.http import urlencode

from organizations import second_factors, tenancy
from organizations.models import Membership, Organization, User
from tests import lock_guard, order, query_guard, serving_role
from tests.emptying import empty_tables
from tests.simulator_fixtures import simulated_providers, simulator, waits

__all__ = ["simulated_providers", "simulator", "waits"]

Role = Membership.Role
MIGRATED = "migrated.sqlite3"
# Tests arrange and look at what belongs to everybody, in threads too; requests, tasks and scopes begin as they do.
tenancy._scope = ContextVar("keyfare_scope", default=tenancy.EVERY)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order.once(config, items)
    order.slow_files_first(items)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite works on a file, as it does when it serves: in memory, threads that meet fail instead of waiting."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "keyfare.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        if connection.vendor == "sqlite":  # as `make_database_file` makes it
            file = Path(connection.settings_dict["NAME"])
            connection.ensure_connection()
            with closing(sqlite3.connect(file.with_name(MIGRATED))) as copy:
                cast(Any, connection.connection).backup(copy)
            for each in file.parent.iterdir():
                each.chmod(0o600)
        serving_role.take()
    yield
    with django_db_blocker.unblock():
        serving_role.leave()


@pytest.fixture(scope="session")
def live_server(django_db_setup: None, live_server: Any) -> Any:
    """Made once the file is there: before, all its threads would share one connection, as they have to in memory."""
    assert not live_server.thread.connections_override
    return live_server


@pytest.fixture(scope="session")
def migrated_file(django_db_setup: None) -> Path:
    """An SQLite database as `migrate` leaves it, to be copied: to make one anew takes eight seconds."""
    if connection.vendor != "sqlite":
        pytest.skip("brings its own SQLite database, in the SQLite pass")
    return Path(connection.settings_dict["NAME"]).with_name(MIGRATED)


@pytest.fixture(scope="session", autouse=True)
def _tests_that_commit_are_cleared_up_after() -> Iterator[None]:
    case_class: Any = TransactionTestCase
    flush = case_class._fixture_teardown
    case_class._fixture_teardown = lambda case: empty_tables()
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


class Browser(Client):
    """Posts forms as browsers do: encoded like an address, which is read in a tenth of the time, unless with a file."""

    def post(self, path: Any, data: Any = None, content_type: str = MULTIPART_CONTENT, **options: Any) -> Any:  # type: ignore[override]  # the options of Client
        if content_type == MULTIPART_CONTENT and not any(hasattr(value, "read") for value in (data or {}).values()):
            data, content_type = urlencode(data or {}, doseq=True), "application/x-www-form-urlencoded"
        return super().post(path, data, content_type, **options)


def logged_in(user: User) -> Client:
    """A browser in which the person has just entered their password; staff have a second factor, too."""
    if user.is_staff:
        give_second_factor(user)
    client = Browser()
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
