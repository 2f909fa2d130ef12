"""
What metering costs at five million calls: the rollup beside the bare GROUP BYs, and the pages that read it.

    python -m benchmarks.metering [--database postgresql|sqlite] [--keep DIRECTORY]

Uses the installations of `benchmarks.pages` (those of an earlier run with `--keep`) and the rollup of
`benchmarks.rollup`, dense. Pages are asked for as an owner, as the serving role; `growth` is the p50 of the big
installation divided by that of the small one. Ends with one line of JSON:

    {"postgresql": {"rollup_ratio": …, "consumption_p95_ms": …, "pages": {…}}, "sqlite": {…}, "consumption_growth": …}
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import pages, rollup

EVENTS = 1_000_000
CONSUMPTION = "consumption"
PAGES = ("overview", "settings", CONSUMPTION, "runs", "anatomy", "forecast", "what if", "models")  # or begin so


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("postgresql", "sqlite"))
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY")
    options = parser.parse_args()
    vendors = [options.database] if options.database else ["postgresql", "sqlite"]
    with pages.folder_of(options.keep) as folder:
        figures: dict[str, Any] = {vendor: measure(folder, vendor) for vendor in vendors}
    growth = max(figures[vendor]["pages"][CONSUMPTION]["growth"] for vendor in vendors)
    print(json.dumps({**figures, "consumption_growth": growth}))


def measure(folder: Path, vendor: str) -> dict[str, Any]:
    measured = pages.compare(folder, vendor, "big", PAGES)["pages"]
    return {
        "rollup_ratio": rollup.measure(vendor, "dense", EVENTS)["ratio"],
        "consumption_p95_ms": measured[CONSUMPTION]["p95_ms"],
        "pages": measured,
    }


if __name__ == "__main__":
    main()
