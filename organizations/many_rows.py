"""
Many rows by one statement, in the plain values that their columns hold: for imports.

Django's bulk_create prepares each value in Python, and psycopg quotes it there, which was most of what an import cost.
Here C does it: PostgreSQL takes all rows as one text of JSON, SQLite takes them as they are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, models

from organizations.models import Organization


def rows_with(
    model: type[models.Model], organization: Organization, column: str, values: Collection[Any], wanted: Sequence[str]
) -> list[tuple[Any, ...]]:
    """
    The `wanted` columns of those rows of the organization that have one of many `values`, none of them "", in a column.

    PostgreSQL takes an organization that its statistics do not know for a small one, whose rows are all read sooner
    than many values are looked up. So it is told to look up one after the other.
    """
    if not values:
        return []
    if connection.vendor != "postgresql":
        rows = model._default_manager.filter(organization=organization, **{f"{column}__in": values})
        return list(rows.values_list(*wanted))
    fields = {field.attname: field for field in model._meta.concrete_fields}
    quote = connection.ops.quote_name
    kind = str(fields[column].db_type(connection)).partition("(")[0]
    by = quote(str(fields[column].column))
    is_given = f" AND {by} <> ''" if kind == "varchar" else ""  # as the condition of an index says it
    columns = ", ".join(quote(str(fields[name].column)) for name in wanted)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT found.* FROM json_array_elements_text(%s) AS given (value) CROSS JOIN LATERAL ("  # noqa: S608  # names of ours
            f"SELECT {columns} FROM {quote(model._meta.db_table)} "
            f'WHERE "organization_id" = %s AND {by} = given.value::{kind}{is_given} OFFSET 0) AS found',
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


def insert_rows(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """
    Columns are named as the model's attributes are (`candidate_id`). Values: text (of a JSON field, its JSON; of a
    time, what `adapt_datetimefield_value` gives), numbers, bytes. The fields are not asked to prepare them.
    """
    rows = list(rows)
    if not rows:
        return
    fields = {field.attname: field for field in model._meta.concrete_fields}
    quote = connection.ops.quote_name
    names = [quote(str(fields[column].column)) for column in columns]
    into = f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(names)})"
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.executemany(f"{into} VALUES ({', '.join(['%s'] * len(columns))})", rows)
            return
        types = dict(zip(names, (fields[column].db_type(connection) for column in columns), strict=True))
        values = ", ".join(f"{name}::jsonb" if kind == "jsonb" else name for name, kind in types.items())
        given = ", ".join(f"{name} {'text' if kind == 'jsonb' else kind}" for name, kind in types.items())
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        document = json.dumps(records, ensure_ascii=False, default=_as_text)
        select = f"SELECT {values} FROM json_to_recordset(%s) AS given ({given})"  # noqa: S608  # names of ours
        cursor.execute(f"{into} {select}", [document])


def _as_text(value: object) -> str:
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)
