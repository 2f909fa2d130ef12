"""
Which indexes serve a statement, asked as the role that serves: a superuser sees other plans, since row-level security
does not hold for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection

from tests.serving_role import as_owner


def analyze(*tables: str) -> None:
    """Make the figures of `tables` those of the rows that the test has made."""
    with as_owner(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ANALYZE {table}")


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
