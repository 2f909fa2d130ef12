"""
How fast checks run end to end, beside the least that the same calls can cost, on both databases.

    python -m benchmarks.checks [--checks 400] [--rounds 3] [--many 20000] [--database postgresql|sqlite]

Makes databases in a scratch folder (as `benchmarks.pages` does, PostgreSQL with its serving role), starts the provider
simulator in a process of its own and measures in another (`benchmarks.checks_once`):

1. with an instant simulator, checks per second through `run_pending_checks` (claim, ask, parse, score, usage event,
   ledger, all written, each check charged) beside a bare asyncio + aiohttp loop over the same connections that sends
   the same requests with as many in flight; alternating, median of the rounds, as a ratio;
2. the statements that a check takes, those that begin and end transactions and change scopes among them;
3. with a simulator that takes 2 seconds an answer, 200 checks in one worker beside ceil(200 / 64) × 2 s, the time
   that the 64 in flight alone allow;
4. with --many, by how much memory grows from the first 2,000 checks to the last.

Ends with one line of JSON: {"sqlite": {"ratio": …, "checks_per_s": …, "two_second_ratio": …}, "postgresql": {…},
"statements_per_check": …}, the last of whichever database takes more.
"""

from __future__ import annotations

import argparse
import json

from benchmarks import databases


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checks", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    given = (options.checks, options.rounds, options.many)
    figures = databases.measured("benchmarks.checks_once", *given, only=options.database)
    statements = max(each.pop("statements_per_check") for each in figures.values())
    print(json.dumps({**figures, "statements_per_check": statements}))


if __name__ == "__main__":
    main()
