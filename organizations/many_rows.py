"""
Many rows by one statement, in the plain values that their columns hold: for imports.

Django's bulk_create prepares each value in Python, and psycopg quotes it there, which was most of what an import cost.
Here C does it: PostgreSQL takes all rows as one text of JSON, SQLite takes them as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection, models
from pydantic_core import to_json

from organizations.models import Organization


def rows_with(
    model: type[models.Model], organization: Organization, column: str, values: Collection[Any], wanted: Sequence[str]
) -> list[tuple[Any, ...]]:
    """
    The `wanted` columns of those rows of the organization that have one of many `values`, none of them "", in a column.

    PostgreSQL takes an organization that its statistics do not know for a small one, whose rows are all read sooner
    than many values are looked up. So it is told to look up one after the other, and not which organization it is:
    else it would read all its rows for each value, by the smaller index of the organization alone.
    """
    if not values:
        return []
    if connection.vendor != "postgresql":
        rows = model._default_manager.filter(organization=organization, **{f"{column}__in": values})
        return list(rows.values_list(*wanted))
    fields = _fields(model)
    quote = connection.ops.quote_name
    kind = str(fields[column].db_type(connection)).partition("(")[0]
    by = quote(str(fields[column].column))
    is_given = f" AND {by} <> ''" if kind == "varchar" else ""  # as the condition of an index says it
    columns = ", ".join(quote(str(fields[name].column)) for name in wanted)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT found.* FROM json_array_elements_text(%s) AS given (value) CROSS JOIN LATERAL ("  # noqa: S608  # names of ours
            f"SELECT {columns} FROM {quote(model._meta.db_table)} "
            f'WHERE "organization_id" = (SELECT %s::bigint) AND {by} = given.value::{kind}{is_given} '
            "OFFSET 0) AS found",
            [json.dumps(list(values), ensure_ascii=False), organization.pk],
        )
        return list(cursor.fetchall())


def new_ids(model: type[models.Model], count: int) -> Sequence[int]:
    """Ids for rows to be inserted in this transaction."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, count]
            )
            return [number for (number,) in cursor.fetchall()]
        # Nobody else writes before this transaction ends.
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        last = sum(cursor.fetchone() or [0])
    return range(last + 1, last + 1 + count)


@contextmanager
def sent_together() -> Iterator[None]:
    """PostgreSQL stores what was sent inside while the next is prepared; what it refuses is raised at the end."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


@dataclass(frozen=True, slots=True)
class Statement:
    """One that writes, with its parameters; SQLite runs it once for each of these rows of parameters."""

    sql: str
    rows: Sequence[Sequence[Any]]


def insert_rows(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    ignore_conflicts: bool = False,
) -> int:
    """
    How many were inserted: all, or with `ignore_conflicts` those that were not there.

    Columns are named as the model's attributes are (`candidate_id`). Values: text (of a JSON field, its JSON), numbers,
    bytes, moments, days, UUIDs. The fields are not asked to prepare them.
    """
    rows = list(rows)
    if not rows:
        return 0
    statement = insertion(model, columns, rows)
    if ignore_conflicts:
        statement = Statement(f"{statement.sql} ON CONFLICT DO NOTHING", statement.rows)
    return write(statement)


def delete_rows(model: type[models.Model], organizations: Collection[int], ids: Collection[UUID]) -> int:
    """How many of these rows of the organizations were removed. Nothing may refer to them: Django is not asked."""
    table = connection.ops.quote_name(model._meta.db_table)
    given: tuple[Any, Any] = list(organizations), list(ids)
    condition = '"organization_id" = ANY(%s) AND "id" = ANY(%s)'
    if connection.vendor != "postgresql":
        given = json.dumps(given[0]), json.dumps([each.hex for each in ids])
        among = "IN (SELECT value FROM json_each(%s))"
        condition = f'"organization_id" {among} AND "id" {among}'
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE {condition}", given)  # noqa: S608  # names of ours
        return int(cursor.rowcount)


def insert_models(rows: Sequence[models.Model]) -> None:
    """As bulk_create, of rows of one model that have their ids; what the database fills in is not read."""
    if not rows:
        return
    model = type(rows[0])
    fields = [field for field in model._meta.concrete_fields if not field.generated and not field.has_db_default()]
    values = ([_stored(field, row) for field in fields] for row in rows)
    insert_rows(model, [field.attname for field in fields], values)
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


def _stored(field: models.Field[Any, Any], row: models.Model) -> Any:
    value = field.pre_save(row, True)
    if value is not None and isinstance(field, models.JSONField):
        return json.dumps(value, ensure_ascii=False, cls=field.encoder)
    return value


def insertion(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Statement:
    """What `insert_rows` does, to be written together with more."""
    sql = _insert(connection.vendor, model, tuple(columns))
    return Statement(sql, [[document(columns, rows)]] if connection.vendor == "postgresql" else _plain(rows))


def update(
    model: type[models.Model], organization: Organization, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Statement:
    """Sets columns of rows of the organization, named by their ids, which come first. Values as for `insert_rows`."""
    sql = _update_many(connection.vendor, model, tuple(columns))
    if connection.vendor == "postgresql":
        return Statement(sql, [[document(columns, rows), [str(row[0]) for row in rows], organization.pk]])
    return Statement(sql, [(*row[1:], row[0], organization.pk) for row in _plain(rows)])


def document(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """All rows as one text of JSON, as PostgreSQL takes them: the parameter of what `selected` says."""
    return to_json([dict(zip(columns, row, strict=True)) for row in rows], bytes_mode="hex").decode()


def _plain(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows as SQLite takes them."""
    return [[_PLAIN[type(value)](value) if type(value) in _PLAIN else value for value in row] for row in rows]


_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    UUID: lambda value: value.hex,
    datetime: lambda value: connection.ops.adapt_datetimefield_value(value),
    date: str,
}


@cache
def _insert(vendor: str, model: type[models.Model], columns: tuple[str, ...]) -> str:
    table, named = connection.ops.quote_name(model._meta.db_table), _named(model, columns)
    into = f"INSERT INTO {table} ({', '.join(named)})"
    if vendor != "postgresql":
        return f"{into} VALUES ({', '.join(['%s'] * len(columns))})"
    return f"{into} {selected(model, columns)}"


def selected(model: type[models.Model], columns: Sequence[str]) -> str:
    """A SELECT on PostgreSQL, of the rows of a `document` as these columns of the model."""
    named = _named(model, columns)
    return f"SELECT {', '.join(_values(named).values())} FROM {_given(named)}"  # noqa: S608  # names of ours


@cache
def _update_many(vendor: str, model: type[models.Model], columns: tuple[str, ...]) -> str:
    table, named = connection.ops.quote_name(model._meta.db_table), _named(model, columns)
    key, *others = _values(named)
    if vendor != "postgresql":
        setting = ", ".join(f"{name} = %s" for name in others)
        return f'UPDATE {table} SET {setting} WHERE {key} = %s AND ("organization_id" = %s) IS TRUE'  # noqa: S608  # names of ours
    setting = ", ".join(f"{name} = given.{_values(named)[name]}" for name in others)
    # By its ids, for the reason given above: without them all rows were joined to the one that PostgreSQL expects.
    found = f"{table}.{key} = ANY(%s::{named[key]}[])"
    where = f'{table}.{key} = given.{key} AND {found} AND ({table}."organization_id" = %s) IS TRUE'
    return f"UPDATE {table} SET {setting} FROM {_given(named)} WHERE {where}"  # noqa: S608  # names of ours


def _named(model: type[models.Model], columns: Sequence[str]) -> dict[str, str]:
    """The quoted names of columns, each with its type."""
    fields = _fields(model)
    return {
        connection.ops.quote_name(str(fields[column].column)): str(fields[column].db_type(connection))
        for column in columns
    }


def _values(named: Mapping[str, str]) -> dict[str, str]:
    """How each column is taken out of what is given: JSON as its text, bytes as hexadecimal digits."""
    taken = {"jsonb": "{}::jsonb", "bytea": "decode({}, 'hex')"}
    return {name: taken.get(kind, "{}").format(name) for name, kind in named.items()}


def _given(named: Mapping[str, str]) -> str:
    """What `document` holds, as a table."""
    given = ", ".join(f"{name} {'text' if kind in ('jsonb', 'bytea') else kind}" for name, kind in named.items())
    return f"json_to_recordset(%s) AS given ({given})"


def change(
    model: type[models.Model],
    organization: Organization,
    column: str,
    values: Mapping[Any, Any],
    *,
    also: Mapping[str, Any] | None = None,
    only: Mapping[str, Any] | None = None,
) -> Statement:
    """
    Sets `column` of rows of the organization, named by their ids, to values as for `insert_rows`, and the columns in
    `also` of them all; leaves rows alone that are not as `only` says.
    """
    also, only = also or {}, {"organization_id": organization.pk, **(only or {})}
    sql = _update(connection.vendor, model, column, tuple(also), tuple(only))
    fixed = (*also.values(), *only.values())
    if connection.vendor == "postgresql":
        by_id = {str(pk): value for pk, value in values.items()}
        return Statement(sql, [[json.dumps(by_id, ensure_ascii=False), *fixed, list(by_id)]])
    ids = [pk.hex if isinstance(pk, UUID) else pk for pk in values]
    return Statement(sql, [(value, *fixed, pk) for pk, value in zip(ids, values.values(), strict=True)])


@cache
def _update(vendor: str, model: type[models.Model], column: str, also: tuple[str, ...], only: tuple[str, ...]) -> str:
    """PostgreSQL is told to look rows up by their ids (IS TRUE is no way to find any), for the reason given above."""
    fields = _fields(model)
    quote = connection.ops.quote_name
    setting = "".join(f", {quote(name)} = %s" for name in also)
    meant = "(" + " AND ".join(f"{quote(name)} = %s" for name in only) + ") IS TRUE"
    update = f"UPDATE {quote(model._meta.db_table)} SET {quote(column)}"  # noqa: S608  # names of ours
    if vendor != "postgresql":
        return f'{update} = %s{setting} WHERE {meant} AND "id" = %s'
    value = f'(%s::jsonb ->> "id"::text)::{fields[column].db_type(connection)}'
    ids = f"{fields['id'].rel_db_type(connection)}[]"
    return f'{update} = {value}{setting} WHERE {meant} AND "id" = ANY(%s::{ids})'


def write(first: Statement, *others: Statement) -> int:
    """
    How many rows the first wrote. PostgreSQL gets all as one statement, in which none sees what the others write.
    """
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            wrote = [int(cursor.executemany(each.sql, each.rows).rowcount) for each in (first, *others)]
            return wrote[0]
        beside = ", ".join(f"part_{number} AS ({each.sql})" for number, each in enumerate(others))
        sql = f"WITH {beside} {first.sql}" if others else first.sql
        cursor.execute(sql, [value for each in (*others, first) for value in each.rows[0]])
        return int(cursor.rowcount)


def _fields(model: type[models.Model]) -> dict[str, Any]:
    return {field.attname: field for field in model._meta.concrete_fields}
