"""
The database expressions that metering rests on.

Exactly-once rollups need to know which events can no longer be joined by earlier ones. On PostgreSQL that
is the id of the transaction that wrote the event: everything below the oldest transaction still running is
finished. On SQLite there is one writer at a time, so the row's own AUTOINCREMENT id serves and nothing need
be stored.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, DateField, DateTimeField, Func
from django.db.models.sql.compiler import SQLCompiler


class IngestPosition(Func):
    """The id of the writing transaction on PostgreSQL; 0 on SQLite, where the row id is the position."""

    template = "0"
    arity = 0
    output_field = BigIntegerField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, template="pg_current_xact_id()::text::bigint", **context)


class UtcDay(Func):
    """The UTC day of a timestamp, natively: TruncDate calls back into Python for each row on SQLite."""

    template = "substr(%(expressions)s, 1, 10)"
    arity = 1
    output_field = DateField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, template="(%(expressions)s AT TIME ZONE 'UTC')::date", **context)


class UtcHour(Func):
    """The beginning of the UTC hour of a timestamp, natively, as a column would hold it."""

    template = "(substr(%(expressions)s, 1, 13) || ':00:00')"
    arity = 1
    output_field = DateTimeField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, template="date_trunc('hour', %(expressions)s, 'UTC')", **context)
