"""The writer of calls and the bare statements; writes its figures to the file that it is given."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from asgiref.sync import async_to_sync  # noqa: E402  # apps come after setup
from django.db import connection, models, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from gateway.ticket import Outcome, Ticket  # noqa: E402
from gateway.writer import Ended, Writer, open_writer  # noqa: E402
from organizations.models import Organization  # noqa: E402
from organizations.tenancy import EVERY, scope  # noqa: E402
from providers.adapters.base import ChatResult, Finish  # noqa: E402
from providers.custody.sealing import SealedKey  # noqa: E402
from providers.egress.addresses import ANYWHERE  # noqa: E402
from providers.keys.destinations import Destination  # noqa: E402
from usage import metering, new_rows, runs  # noqa: E402
from usage.facts import Admission, CallFacts  # noqa: E402
from usage.models import InFlightCall, Mode, UsageEvent, UsageRun  # noqa: E402
from usage.tokens import Report, TokenUsage  # noqa: E402

ROUNDS = 3
ALONE = 300
NOW = timezone.now()
ANSWERED = Outcome(
    result=ChatResult(
        text="",
        finish=Finish.STOP,
        report=Report(usage=TokenUsage(uncached_input=800, output=200), served_model="gpt-4.1-mini", request_id="req"),
    ),
    latency_ms=1200,
)


def tickets(organization: Organization, count: int) -> list[Ticket]:
    facts = CallFacts("openai", "gpt-4.1-mini", "candidate_check", uuid.UUID(int=1), "Default", Mode.BYOK)
    return [
        Ticket(
            call=Admission(
                id=(call_id := uuid.uuid4()),
                organization_id=organization.pk,
                facts=facts,
                run_id=call_id,
                iteration=1,
                started_at=NOW,
                deadline_at=NOW + timedelta(hours=1),
            ),
            sealed_key=SealedKey(b"", b"", b""),
            key_organization_id=organization.pk,
            secret_version=1,
            destination=Destination("https://provider.example", ANYWHERE),
            quirks=(),
        )
        for _ in range(count)
    ]


def by_writer(calls: Sequence[Ticket], callers: int) -> float:
    async def caller(writer: Writer, of_caller: Sequence[Ticket]) -> None:
        for ticket in of_caller:
            await writer.admit(ticket)
            await writer.settle(ticket, ANSWERED, NOW)

    async def everybody() -> None:
        async with open_writer(has_thread=True) as writer:
            await asyncio.gather(*(caller(writer, calls[place::callers]) for place in range(callers)))

    began_at = time.perf_counter()
    async_to_sync(everybody)()
    return time.perf_counter() - began_at


class Bare:
    """What the writer writes, as statements of the database."""

    def __init__(self, calls: Sequence[Ticket], at_once: int) -> None:
        ended = [Ended(replace(each, call=replace(each.call, id=uuid.uuid4())), ANSWERED, NOW) for each in calls]
        events = [metering._event_of(each.outcome.finished(each.ticket.call)) for each in ended]
        self.batches = []
        for start in range(0, len(calls), at_once):
            some = events[start : start + at_once]
            for event in some:
                event.run_id = event.call_id
            begun = runs.begin_runs(some)
            admitted = [new_rows.values_of_admission(each.ticket.call) for each in ended[start : start + at_once]]
            self.batches.append(
                (
                    _prepared(InFlightCall, new_rows.ADMITTED, admitted),
                    _prepared(UsageRun, runs.NEW_RUN, list(map(runs.values_of_run, begun))),
                    _prepared(UsageEvent, new_rows.EVENT, list(map(new_rows.values_of_event, some))),
                    [each.ticket.call.id for each in ended[start : start + at_once]],
                )
            )

    def write(self) -> float:
        began_at = time.perf_counter()
        with connection.cursor() as cursor:
            for admitted, begun, events, ids in self.batches:
                with transaction.atomic():
                    admitted(cursor)
                with transaction.atomic():
                    if connection.vendor == "postgresql":
                        cursor.execute("DELETE FROM usage_inflightcall WHERE id = ANY(%s)", [ids])
                    else:
                        marks = ", ".join(["%s"] * len(ids))
                        cursor.execute(
                            f"DELETE FROM usage_inflightcall WHERE id IN ({marks})",  # noqa: S608  # marks
                            [each.hex for each in ids],
                        )
                    begun(cursor)
                    events(cursor)
        return time.perf_counter() - began_at


def _prepared(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A function of a cursor that inserts the rows."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    into = f"INSERT INTO {model._meta.db_table} ({', '.join(columns)})"
    values = [
        [fields[name].get_db_prep_save(value, connection) for name, value in zip(columns, row, strict=True)]
        for row in rows
    ]
    if connection.vendor != "postgresql":
        sql = f"{into} VALUES ({', '.join(['%s'] * len(columns))})"
        return lambda cursor: cursor.executemany(sql, values)
    kinds = (str(fields[name].db_type(connection)).partition("(")[0] for name in columns)
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    sql = f"{into} SELECT * FROM unnest({arrays})"  # noqa: S608  # names of ours
    by_column = [list(column) for column in zip(*values, strict=True)]
    return lambda cursor: cursor.execute(sql, by_column)


def alone(organization: Organization) -> Iterator[float]:
    """Milliseconds that each of some calls took."""

    async def one(ticket: Ticket, writer: Writer) -> float:
        began_at = time.perf_counter()
        await writer.admit(ticket)
        await writer.settle(ticket, ANSWERED, NOW)
        return (time.perf_counter() - began_at) * 1000

    async def one_after_the_other() -> list[float]:
        async with open_writer(has_thread=True) as writer:
            return [await one(ticket, writer) for ticket in tickets(organization, ALONE)]

    yield from async_to_sync(one_after_the_other)()


@scope(EVERY, "the benchmark")
def main(count: int, callers: int, output: Path) -> None:
    organization = Organization.objects.create(name="Benchmark", slug="benchmark")
    by_writer(tickets(organization, callers), callers)  # prices are looked up once
    floor, ours = [], []
    for _ in range(ROUNDS):
        floor.append(Bare(tickets(organization, count), callers).write())
        ours.append(by_writer(tickets(organization, count), callers))
    assert UsageEvent.objects.count() == callers + 2 * ROUNDS * count
    assert not InFlightCall.objects.exists()
    figures = {
        "calls_per_s": round(count / statistics.median(ours)),
        "floor_per_s": round(count / statistics.median(floor)),
        "ratio": round(statistics.median(floor) / statistics.median(ours), 2),
        "alone_ms": round(statistics.median(alone(organization)), 2),
    }
    output.write_text(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
