from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction

from gateway.change_triggers import CHANNEL, WATCHED, are_at_work, install, remove
from providers.models import ModelQuirk, PrivateEndpoint
from tests import serving_role
from tests.gateway.callers import Calling, calling

pytestmark = pytest.mark.django_db(transaction=True)

END = "end of the test"


class Ear:
    """What is told: on PostgreSQL each change by its words, on SQLite that there was any."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._mark = self._read_mark()

    def heard(self) -> list[str]:
        """Since it was asked last."""
        if self._session is None:
            before, self._mark = self._mark, self._read_mark()
            return [] if self._mark == before else ["anything"]
        self._session.execute("SELECT pg_notify(%s, %s)", [CHANNEL, END])
        told: list[str] = []
        for note in self._session.notifies():
            if note.payload == END:
                break
            told.append(note.payload)
        return told

    def _read_mark(self) -> int | None:
        if self._session is not None:
            return None
        with connection.cursor() as cursor:
            cursor.execute("SELECT mark FROM gateway_change")
            return next((mark for (mark,) in cursor.fetchall()), None)


@contextmanager
def listening() -> Iterator[Ear]:
    if connection.vendor != "postgresql":
        yield Ear(None)
        return
    database = connection.settings_dict
    with psycopg.connect(
        dbname=database["NAME"],
        user=database["USER"],
        host=database["OPTIONS"].get("host") or database["HOST"],
        port=database["PORT"] or None,
        autocommit=True,
    ) as session:
        session.execute(f"LISTEN {CHANNEL}")
        yield Ear(session)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def case(db: None) -> Calling:
    made = calling()
    PrivateEndpoint.objects.create(organization=made.organization, host="llm.example", port=443, network="10.0.0.1/32")
    ModelQuirk.objects.create(organization=made.organization, key=made.key, model="gpt-5", field="temperature")
    return made


def other_value(table: str, column: str) -> str:
    """An expression for a value of the column that its row has not, and may have."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")  # noqa: S608
        found = cursor.fetchone()[0]
        description = connection.introspection.get_table_description(cursor, table)
    kind = next(info for info in description if info.name == column)
    name = connection.introspection.get_field_type(kind.type_code, kind)
    name = name if isinstance(name, str) else name[0]
    if name == "DateTimeField":
        return "'2030-01-01 00:00:00+00:00'"
    if name == "BooleanField":
        return "false" if found else "true"
    if name == "JSONField":
        return "'[\"changed\"]'"
    if name == "BinaryField":
        return "CAST('changed' AS bytea)" if connection.vendor == "postgresql" else "CAST('changed' AS blob)"
    if name in ("CharField", "TextField"):
        return "'connected'" if column == "status" and found != "connected" else "'new'"
    return "7" if found is None else f"{column} + 1"


def changeable_columns() -> list[tuple[str, str, bool]]:
    """Each column of a watched table that a plain UPDATE can change → whether that is told."""
    from django.apps import apps

    models = {model._meta.db_table: model for model in apps.get_models()}
    return [
        (each.table, str(field.column), field.column not in each.silent)
        for each in WATCHED
        for field in models[each.table]._meta.concrete_fields
        if not field.primary_key and not field.is_relation and field.column not in UNCHANGEABLE
    ]


# By constraints that are about several columns; all of them are told of, as the others are.
UNCHANGEABLE = {"is_platform", "managed_calls_a_day", "managed_nanousd_a_day", "managed_provider", "managed_model"}


def test_what_is_silent_is_a_column():
    with connection.cursor() as cursor:
        for each in WATCHED:
            columns = {info.name for info in connection.introspection.get_table_description(cursor, each.table)}
            assert columns >= {each.whose, *each.silent}, each.table


def test_every_change_is_told_but_of_what_is_silent(case):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    wrong: list[tuple[str, ...]] = []
    with listening() as ear:
        for table, column, is_told in changeable_columns():
            value = "30 + 30" if column == "recency_window_days" else other_value(table, column)
            execute(f"UPDATE {table} SET {column} = {value}")  # noqa: S608
            heard = ear.heard()
            if bool(heard) != is_told:
                wrong.append((table, column))
            execute(f"UPDATE {table} SET {column} = {column}")  # noqa: S608
            if ear.heard():
                wrong.append((table, column, "though nothing changed"))
    assert wrong == []


def test_rows_that_come_and_go_are_told_with_whose_they_are(case):
    with listening() as ear:
        other = calling("globex")
        came = set(ear.heard())
        execute("DELETE FROM routing_directkey")
        went = set(ear.heard())

    if connection.vendor == "postgresql":
        pk = other.organization.pk
        assert {
            *(f"organizations_organization {pk}", f"organizations_user {other.person.pk}"),
            *(f"organizations_membership {pk}", f"organizations_apitoken {pk}", f"providers_providerkey {pk}"),
            *(f"providers_organizationkey {pk}", f"routing_agent {pk}", f"routing_routingrule {pk}"),
            *(f"routing_callaccess {pk}", f"routing_callableagent {pk}", f"routing_directkey {pk}"),
        } == came
        assert went == {f"routing_directkey {pk}", f"routing_directkey {case.organization.pk}"}
    else:
        assert came == went == {"anything"}


def test_a_change_that_is_taken_back_is_not_told(case):
    with listening() as ear:
        with transaction.atomic():
            execute("UPDATE routing_agent SET name = 'Changed'")
            transaction.set_rollback(True)
        assert ear.heard() == []


def test_an_emptied_table_is_a_change_of_everything(case):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite knows no TRUNCATE")
    with listening() as ear, serving_role.as_owner():
        execute("TRUNCATE routing_directkey")
        assert ear.heard() == ["routing_directkey "]


def test_triggers_are_there_when_all_migrations_are_done():
    assert are_at_work(connection)


def test_they_come_back_after_tables_were_made_anew():
    with serving_role.as_owner():
        remove(connection)
        assert not are_at_work(connection)

        call_command("migrate", verbosity=0)

        assert are_at_work(connection)


def test_they_are_put_there_twice_without_harm():
    with serving_role.as_owner(), listening() as ear:
        install(connection)

        assert are_at_work(connection)
        assert len(ear.heard()) == 1


def test_a_column_they_look_at_can_be_altered_and_dropped():
    """As a later migration does: triggers must not stand in its way."""
    with serving_role.as_owner():
        call_command("migrate", "gateway", "zero", verbosity=0)
        execute("ALTER TABLE routing_agent ADD COLUMN colour varchar(10) DEFAULT ''")
        call_command("migrate", verbosity=0)
        assert are_at_work(connection)
        try:
            if connection.vendor == "postgresql":
                execute("ALTER TABLE routing_agent ALTER COLUMN colour TYPE varchar(20)")
            else:
                remove(connection)  # as before any migration
            execute("ALTER TABLE routing_agent DROP COLUMN colour")
        finally:
            call_command("migrate", verbosity=0)
        assert are_at_work(connection)
    with connection.cursor() as cursor, serving_role.as_owner():
        serving_role.grant_tables(cursor)
