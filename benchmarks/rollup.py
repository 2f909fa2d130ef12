"""
How fast the rollup is, beside the least that a database has to do for it, on both databases.

    python -m benchmarks.rollup [--events 1000000] [--database postgresql|sqlite]

Makes databases in a scratch folder, fills them with calls as `benchmarks.volume` does, and measures as the serving
role, each round in a process of its own; medians. `dense` are calls of one organization, so that a daily row stands for
many, and of an agent of theirs labels and tokens are known; `sparse` is the worst case, four fifths of them of others so small that one in two calls makes a row:

    floor      the bare GROUP BYs, same sums by day, hour and label, of the same calls into temporary tables: no window,
               no index, no upsert
    alone      the same without parallel workers, which PostgreSQL has for no statement that writes into a real table
    roll_up    the real thing: find the new calls, group them, add them to their days, hours and labels, move the
               watermark
    again      nothing new: what the scheduler pays each time
    rebuild    all of it anew, while the old rows are still there

Ends with one line of JSON: {"postgresql": {"dense": {"ratio": …, "ratio_alone": …, "rebuild_ratio": …, …}, …}, …}.
`ratio` is floor / roll_up, `ratio_alone` the same by `alone`, `rebuild_ratio` is rebuild / roll_up.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

from benchmarks import databases
from benchmarks.pages import settle

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    vendors = [options.database] if options.database else ["sqlite", "postgresql"]
    shapes = ("dense", "sparse")
    figures = {vendor: {shape: measure(vendor, shape, options.events) for shape in shapes} for vendor in vendors}
    print(json.dumps(figures))


def measure(vendor: str, shape: str, events: int) -> dict[str, Any]:
    rounds: list[dict[str, float]] = []
    with databases.fresh(vendor) as database:
        database.run("-m", "benchmarks.rollup_once", "fill", shape, str(events), as_owner=True)
        file = database.folder / "figures.json"
        for _ in range(ROUNDS):
            for table in ("usage_usagedaily", "usage_usagehourly", "usage_usagebylabel", "usage_rollupstate"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608
            settle(database)
            database.run("-m", "benchmarks.rollup_once", "measure", str(file))
            rounds.append(json.loads(file.read_text()))
    figures = {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}
    return {
        "ratio": round(figures["floor_s"] / figures["roll_up_s"], 2),
        "ratio_alone": round(figures["alone_s"] / figures["roll_up_s"], 2),
        "rebuild_ratio": round(figures["rebuild_s"] / figures["roll_up_s"], 2),
        **figures,
    }


if __name__ == "__main__":
    main()
