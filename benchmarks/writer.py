"""
How fast the writer of calls is, beside the least that a database has to do for the same rows, on both databases.

    python -m benchmarks.writer [--calls 20000] [--callers 200] [--database postgresql|sqlite]

Makes databases in a scratch folder as `benchmarks.checks` does, and measures in a process of its own, as the serving
role; rounds alternate, medians:

    floor      the same rows, made before, by bare statements (INSERT … SELECT FROM unnest on PostgreSQL, executemany on
               SQLite): admissions in one transaction; events and runs, and admissions deleted, in another one; as many
               calls a transaction as there are callers
    writer     as many callers at once, each of which admits a call and then settles it, one call after the other
    alone      one caller, nothing else: milliseconds for admission and event

Ends with one line of JSON: {"postgresql": {"calls_per_s": …, "floor_per_s": …, "ratio": …, "alone_ms": …}, …}.
"""

from __future__ import annotations

import argparse
import json

from benchmarks import databases


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    given = (options.calls, options.callers)
    print(json.dumps(databases.measured("benchmarks.writer_once", *given, only=options.database)))


if __name__ == "__main__":
    main()
