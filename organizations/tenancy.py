"""
Whose rows the database itself lets us see: row-level security on PostgreSQL, the wall behind `for_organization`.

Every tenant table has a policy that compares its `organization_id` with a variable of the database session; without
a value there are no rows, and writing one is an error. `scope` sets the variable and takes it back:

    requests    begin with NOBODY (`TenancyMiddleware`); `organization_view` opens the organization of the address,
                the admin opens EVERY
    commands    run as EVERY (manage.py), but qcluster with NOBODY: background tasks and jobs open EVERY, or their
                organization, by themselves
    elsewhere   NOBODY, until something is opened: in a thread of its own, in a script

The scope belongs to the running context, as `contextvars` do: threads of one request share it through asgiref, a
connection opened meanwhile takes it over, and a connection left open is given back with what it had. SQLite has no
such wall; there everything here is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps as installed
from django.apps.registry import Apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, migrations
from django.db import connection as default_connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

if TYPE_CHECKING:
    from organizations.models import Organization

VARIABLE = "keyfare.organization"
EVERY: Final = "every"
NOBODY: Final = ""

# For a program of PostgreSQL (`options` of libpq) that is to see every organization's rows.
OPTION_TO_SEE_EVERY: Final = f"-c {VARIABLE}={EVERY}"

# Of an organization's rows PostgreSQL cannot know how few they are, and starts parallel workers for some: they take ten
# times as long to start as the rows to be read. No compiling for the same reason.
PLAIN_PLANS: Final = ", set_config('max_parallel_workers_per_gather', '0', false), set_config('jit', 'off', false)"

_scope: ContextVar[str] = ContextVar("keyfare_scope", default=NOBODY)

POLICY = f"""
CREATE POLICY of_the_scope ON {{table}} USING (
  (SELECT current_setting('{VARIABLE}', true)) = '{EVERY}'
  OR organization_id = (SELECT nullif(nullif(current_setting('{VARIABLE}', true), ''), '{EVERY}')::bigint)
);
ALTER TABLE {{table}} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
"""


@contextmanager
def scope(whose: Organization | int | str, reason: str) -> Iterator[None]:
    """
    Within it, the database shows and takes rows of one organization (or its id) only, of EVERY one, or of NOBODY.

    `reason` says why in the code that asks. Scopes nest; the inner one counts. Leave it in the context that entered it.
    """
    assert reason  # noqa: S101  # for who reads the call
    value = str(whose) if isinstance(whose, int | str) else str(whose.pk)
    if value == _scope.get():  # which the connections have since the outer one was entered
        yield
        return
    token = _scope.set(value)
    try:
        _apply()
        yield
    finally:
        _scope.reset(token)
        _apply()


def on_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """A connection that is opened, or borrowed from a pool, begins with the scope of who does so, or is not used."""
    try:
        _set(connection, _scope.get(), also=PLAIN_PLANS)
    except BaseException:
        connection.close()
        raise


def forget_scope(connection: Any) -> None:
    """Of a psycopg connection that goes back to its pool: nobody's rows, until somebody borrows it."""
    connection.autocommit = True
    connection.execute("SELECT set_config(%s, %s, false)", [VARIABLE, NOBODY])


def _apply() -> None:
    """
    Bring the open connections of this thread to the scope; those not open get it when they are opened.

    One that turns out to be lost is closed, so that the next statement opens another: nobody else would do so. In a
    transaction what was written is lost with it, so there it is an error, as for every statement that follows.
    """
    if not installed.ready:  # manage.py opens a scope before the settings are read
        return
    for connection in connections.all(initialized_only=True):
        if connection.connection is None or connection.vendor != "postgresql":
            continue
        try:
            _set(connection, _scope.get())
        except DatabaseError:
            if connection.in_atomic_block or not connection.connection.closed:
                raise
        if connection.connection.closed and not connection.in_atomic_block:
            connection.close()


def _set(connection: BaseDatabaseWrapper, value: str, *, also: str = "") -> None:
    if connection.vendor != "postgresql" or _is_broken(connection):
        return
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(f"SELECT set_config(%s, %s, false){also}", [VARIABLE, value])


def _is_broken(connection: BaseDatabaseWrapper) -> bool:
    """
    In a failed transaction nothing can be set. Its rollback takes the variable back to what it was when the
    transaction, or the savepoint, began: to what the scope that is being left has found.
    """
    raw: Any = connection.connection
    return bool(raw.closed) or raw.info.transaction_status.name == "INERROR"


def shows_everybody() -> bool:
    """Whether the database shows this session the rows of every organization."""
    if default_connection.vendor != "postgresql":
        return True
    with default_connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true)", [VARIABLE])
        return bool(cursor.fetchone()[0] == EVERY)


class TenancyMiddleware:
    """Every request begins with nobody's rows; the admin of staff sees everybody's. Stands below authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.admin = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(self.admin) and request.user.is_staff:
            with scope(EVERY, "staff operate the whole installation"):
                return self.get_response(request)
        with scope(NOBODY, "no organization is known yet"):
            return self.get_response(request)


def refuse_role_above_the_wall(*, using: str = "default") -> None:
    """
    Raises ImproperlyConfigured if the database does not apply row-level security to the role we connect as.

    Superusers and roles with BYPASSRLS see everything, whatever a policy says.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        role, is_above = cursor.fetchone()
    if is_above:
        raise ImproperlyConfigured(
            f"DATABASE_URL connects as “{role}”, a superuser or a role with BYPASSRLS: PostgreSQL would not keep "
            "organizations apart for it. Serve as an ordinary role; docs/operations.md shows how to make one."
        )


def wall_in(*tables: str) -> migrations.RunPython:
    """
    A migration operation that puts the policy on tenant `tables`, or on all there are; reversible, and harmless
    where it was done before.
    """

    def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for table in _found(apps, schema_editor):
            schema_editor.execute(f"DROP POLICY IF EXISTS of_the_scope ON {table}")
            schema_editor.execute(POLICY.format(table=table))

    def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for table in _found(apps, schema_editor):
            schema_editor.execute(f"DROP POLICY IF EXISTS of_the_scope ON {table}")
            schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")

    def _found(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> list[str]:
        if schema_editor.connection.vendor != "postgresql":
            return []
        return list(tables) or tenant_tables(apps)

    return migrations.RunPython(install, remove)


def tenant_tables(apps: Apps) -> list[str]:
    """The tables whose rows belong to an organization."""
    return sorted(
        model._meta.db_table
        for model in apps.get_models()
        if any(field.name == "organization" for field in model._meta.fields)
    )
