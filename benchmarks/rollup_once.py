"""One round of `benchmarks.rollup`: fills a database, or measures and writes its figures to the file it is given."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.db import connection  # noqa: E402  # apps come after setup

from benchmarks import volume  # noqa: E402
from organizations.models import Organization  # noqa: E402
from organizations.tenancy import EVERY, scope  # noqa: E402
from usage import measures, rollups  # noqa: E402
from usage.models import UsageByLabel, UsageDaily, UsageEvent, UsageHourly  # noqa: E402

NOW = datetime.now(UTC).replace(microsecond=0)


def fill(shape: str, events: int) -> None:
    big = volume.SCALES["big"]
    own = events if shape == "dense" else events // 5
    others = big.others * (events - own) // big.calls_of_others
    organization = Organization.objects.create(name="Big", slug=volume.SLUG)
    for number in range(others):
        Organization.objects.create(name=f"Other {number}", slug=f"other-{number}")
    scale = volume.Scale(own, others, events - own, people=0, checks=0, holds=0, audit_events=0)
    volume.fill_calls(organization, scale, NOW)


def measure() -> dict[str, float]:
    count = UsageEvent.objects.count()
    figures = {}
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("RESET max_parallel_workers_per_gather; RESET jit")  # which our connections go without
            figures["floor_s"] = timed(bare_group_by)
            cursor.execute("SET max_parallel_workers_per_gather = 0; SET jit = off")
            figures["alone_s"] = timed(bare_group_by)
    else:
        figures["floor_s"] = figures["alone_s"] = timed(bare_group_by)
    figures["roll_up_s"] = timed(lambda: check(rollups.roll_up(now=NOW), count))
    figures["again_s"] = timed(lambda: check(rollups.roll_up(now=NOW), 0))
    figures["daily_rows"] = UsageDaily.objects.count()
    figures["rebuild_s"] = timed(lambda: check(rollups.rebuild(now=NOW), count))
    return figures


def check(result: rollups.RollUpResult, events: int) -> None:
    assert result.events == events


def bare_group_by() -> None:
    events = UsageEvent.objects.all()
    recent = events.filter(occurred_at__gte=rollups.hours_kept_from(NOW))
    daily = measures.daily_rows(events, *UsageDaily.DIMENSIONS)
    hourly = measures.coarse_rows(recent, *UsageHourly.DIMENSIONS)
    by_label = measures.coarse_rows(events, *UsageByLabel.DIMENSIONS)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET work_mem = '64MB'")  # as the rollup has
        for rows in (daily, hourly, by_label):
            select, parameters = rows.query.get_compiler(connection=connection).as_sql()
            if rows is by_label:
                select = measures.with_labels(select, connection.vendor)
            cursor.execute("DROP TABLE IF EXISTS benchmark_floor")
            cursor.execute(f"CREATE TEMPORARY TABLE benchmark_floor AS {select}", parameters)
        if connection.vendor == "postgresql":
            cursor.execute("RESET work_mem")


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@scope(EVERY, "the benchmark")
def main() -> None:
    match sys.argv[1:]:
        case "fill", shape, events:
            fill(shape, int(events))
        case "measure", file:
            Path(file).write_text(json.dumps(measure()))


if __name__ == "__main__":
    main()
