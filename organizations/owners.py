from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey
from django.db.models.fields.related_lookups import RelatedExact
from django.db.models.sql.compiler import SQLCompiler


@ForeignKey.register_lookup
class Owner(RelatedExact):
    """
    `organization__owner=…`: whose rows they are; what SQLite plans by it holds for an organization that has nearly all.

    SQLite takes an organization to have ten rows, or the average of all organizations where it has counted, and would
    rather read every row of the largest one than look for fifty by their ids. It is told a twentieth of the table: more
    than any list of ids, less than the whole.
    """

    lookup_name = "owner"

    def get_rhs_op(self, connection: BaseDatabaseWrapper, rhs: str) -> str:
        return f"= {rhs}"

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        sql, parameters = self.as_sql(compiler, connection)
        return f"likelihood({sql}, 0.05)", parameters
