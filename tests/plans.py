"""
Which indexes serve a statement, asked as the role that serves: a superuser sees other plans, since row-level security
does not hold for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from tests.serving_role import as_owner

SQLITE_KNOWS = ("nothing", "its tables", "many small organizations")


def analyze(*tables: str) -> None:
    """Make the figures of `tables`, or of all, those of the rows that the test has made."""
    with as_owner(), connection.cursor() as cursor:
        for table in tables or ("",):
            cursor.execute(f"ANALYZE {table}")


def have_sqlite_know(what: str) -> None:
    """
    One of SQLITE_KNOWS: no figures, as wherever nobody asked for ANALYZE; those of the rows of the test; or those of a
    large installation in which an organization has six rows on average, while the one that asks may have nearly all.
    """
    analyze()
    with connection.cursor() as cursor:
        if what == "nothing":
            cursor.execute("DELETE FROM sqlite_stat1")
        if what == "many small organizations":
            cursor.execute("SELECT idx, stat FROM sqlite_stat1 WHERE idx IS NOT NULL")
            for index, stat in cursor.fetchall():
                cursor.execute("SELECT name FROM pragma_index_info(%s) WHERE seqno = 0", [index])
                _, *same = map(int, stat.split())
                if cursor.fetchone() == ("organization_id",):
                    same = [min(6, each) for each in same]
                figures = " ".join(map(str, [1_000_000, *same]))
                cursor.execute("UPDATE sqlite_stat1 SET stat = %s WHERE idx = %s", [figures, index])
        cursor.execute("ANALYZE sqlite_schema")  # reads them again


@contextmanager
def plans_of_what_is_asked() -> Iterator[list[tuple[str, str]]]:
    """
    Of each SELECT: statement and plan, as it is asked. With its values written out, as Django's own capturing has it,
    SQLite would find indexes that it does not find otherwise.
    """
    found: list[tuple[str, str]] = []

    def explain(execute: Callable[..., Any], sql: str, parameters: Any, *rest: Any) -> Any:
        if sql.startswith("SELECT"):
            how = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
            with connection.connection.cursor() if connection.vendor == "postgresql" else connection.cursor() as cursor:
                cursor.execute(f"{how} {sql}", parameters)
                found.append((sql, "\n".join(str(row[-1]) for row in cursor.fetchall())))
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(explain):
        yield found


def index_conditions(sql: str, *, in_order: bool = False) -> list[str]:
    """
    Of each search in an index, "index: condition".

    For SQLite the line of its plan. No table of a test is large enough for an index to pay, so reading whole tables is
    switched off; with `in_order` so is sorting, for a statement that an index is to serve in its order.
    """
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            return [str(row[-1]) for row in cursor.fetchall()]
        switched_off = ["seqscan", *(["sort", "incremental_sort", "bitmapscan"] if in_order else [])]
        for way in switched_off:
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
        for way in switched_off:
            cursor.execute(f"SET LOCAL enable_{way} = on")
    if isinstance(plan, str):
        plan = json.loads(plan)
    return [
        f"{node['Index Name']}: {node.get('Index Cond', '')}"
        for node in _nodes(plan[0]["Plan"])
        if "Index Name" in node
    ]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
