"""
How fast the rollup is, beside the least a database has to do for it, in the same run.

    .venv/bin/python benchmarks/rollup.py [EVENTS]        (default 200,000)

Uses the database that DATABASE_URL names, under an organization of its own (slug `benchmark-…`), and takes
back all it wrote at the end: use a database of your own all the same, migrated before. Everything runs in
this process:

    floor     the bare GROUP BY, same sums, of the same events into a temporary table: no window, no index, no upsert
    roll_up   the real thing: find the new events, group them, upsert the days, move the watermark
    again     nothing new: what the scheduler pays each time
    page      the cost panel of an organization with all these events

Prints the times, events per second, and the ratio floor / roll_up (1.00 would be the floor itself).
"""

from __future__ import annotations

import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.db import connection, transaction  # noqa: E402  # models come after setup

from organizations.models import Organization  # noqa: E402
from organizations.tenancy import EVERY, scope  # noqa: E402
from usage import measures, rollups  # noqa: E402
from usage.cost_panel import cost_summary  # noqa: E402
from usage.models import Mode, RollupState, UsageDaily, UsageEvent  # noqa: E402

NOW = datetime.now(UTC)
BATCH = 2000
ROUNDS = 3


@scope(EVERY, "the benchmark")
def main(count: int) -> None:
    if UsageEvent.objects.exists():
        sys.exit("This database holds usage events. Use an empty one: the rollup takes in all that is new.")
    organization = Organization.objects.create(name="Benchmark", slug=f"benchmark-{uuid.uuid4().hex[:8]}")
    try:
        insert_seconds, _ = timed(lambda: insert_events(organization, count))
        print(f"{connection.vendor}: {count:,} events in 30 days, 4 providers, 20 models, 5 actions")
        print(f"insert    {insert_seconds:8.3f} s   {count / insert_seconds:12,.0f} events/s (executemany)")
        compare(organization, count)
    finally:
        take_back(organization)


def compare(organization: Organization, count: int) -> None:
    floors, ours = [], []
    rows = 0
    for _ in range(ROUNDS):
        floors.append(timed(bare_group_by)[0])
        forget_rollup()
        seconds, result = timed(lambda: rollups.roll_up(now=NOW))
        assert result.events == count
        rows = UsageDaily.objects.count()
        ours.append(seconds)
    floor, roll_up = sorted(floors)[ROUNDS // 2], sorted(ours)[ROUNDS // 2]
    again, nothing = timed(lambda: rollups.roll_up(now=NOW))
    assert nothing == rollups.NOTHING
    page, _ = timed(lambda: cost_summary(organization=organization, today=NOW.date(), show_managed_usd=True))
    print(f"floor     {floor:8.3f} s   {count / floor:12,.0f} events/s (GROUP BY into a temporary table)")
    print(f"roll_up   {roll_up:8.3f} s   {count / roll_up:12,.0f} events/s, {rows:,} daily rows")
    print(f"again     {again * 1000:8.3f} ms  nothing new")
    print(f"page      {page * 1000:8.3f} ms  30 days of all these events")
    print(f"ratio     {floor / roll_up:8.2f}     floor / roll_up, median of {ROUNDS}")


def bare_group_by() -> None:
    rows = measures.daily_rows(UsageEvent.objects.all(), *UsageDaily.DIMENSIONS)
    select, parameters = rows.query.get_compiler(connection=connection).as_sql()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET work_mem = '64MB'")  # as the rollup has
        cursor.execute("DROP TABLE IF EXISTS benchmark_floor")
        cursor.execute(f"CREATE TEMPORARY TABLE benchmark_floor AS {select}", parameters)


def insert_events(organization: Organization, count: int) -> None:
    """Rows as the gateway writes them, by the fastest way that both databases have."""
    chance = random.Random(1)
    fields = [field for field in UsageEvent._meta.concrete_fields if field.name not in ("id", "ingest_position")]
    columns = [str(field.column) for field in fields]
    holes = ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO usage_usageevent ({', '.join(columns)}) VALUES ({holes})"  # noqa: S608
    keys = [uuid.UUID(int=number) for number in range(2)]
    for start in range(0, count, BATCH):
        events = (an_event(organization, chance, keys) for _ in range(min(BATCH, count - start)))
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(
                statement,
                [
                    [field.get_db_prep_save(getattr(event, field.attname), connection) for field in fields]
                    for event in events
                ],
            )


def an_event(organization: Organization, chance: random.Random, keys: list[uuid.UUID]) -> UsageEvent:
    model = chance.randrange(20)
    tokens = chance.randrange(8000)
    return UsageEvent(
        organization=organization,
        call_id=uuid.uuid4(),
        occurred_at=NOW - timedelta(seconds=chance.randrange(30 * 86400 - 1)),
        provider=f"provider-{model % 4}",
        model=f"model-{model}",
        action=f"action-{chance.randrange(5)}",
        key_id=chance.choice(keys),
        key_label="Default",
        mode=Mode.BYOK,
        run_id=uuid.uuid4(),
        iteration=1 if chance.random() < 0.8 else 2,
        status=UsageEvent.Status.ANSWERED,
        uncached_input_tokens=tokens,
        output_tokens=tokens // 10,
        cost_nanousd=tokens * 2500,
        price_source=UsageEvent.PriceSource.CATALOG,
        latency_ms=chance.randrange(4000),
    )


def forget_rollup() -> None:
    UsageDaily.objects.all().delete()
    RollupState.objects.all().delete()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE usage_usagedaily")
            cursor.execute("VACUUM ANALYZE usage_usageevent")


def take_back(organization: Organization) -> None:
    """The events are append-only, so their triggers step aside for the scratch organization."""
    forget_rollup()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE usage_usageevent DISABLE TRIGGER USER")
            cursor.execute("DELETE FROM usage_usageevent WHERE organization_id = %s", [organization.pk])
            cursor.execute("ALTER TABLE usage_usageevent ENABLE TRIGGER USER")
        else:
            name = "usage_usageevent_append_only_delete"
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [name])
            (definition,) = cursor.fetchone()
            cursor.execute(f"DROP TRIGGER {name}")
            cursor.execute("DELETE FROM usage_usageevent WHERE organization_id = %s", [organization.pk])
            cursor.execute(definition)
    organization.delete()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main(int(sys.argv[1].replace(",", "").replace("_", "")) if len(sys.argv) > 1 else 200_000)
