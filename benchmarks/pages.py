"""
What pages, imports and commands cost in a young installation and in one of years, on both databases.

    python -m benchmarks.pages [--scale small|big] [--database postgresql|sqlite] [--keep DIRECTORY]

Makes databases of both sizes (`benchmarks.volume`; small alone with `--scale small`) in a scratch folder, fills them,
and asks for every page of an owner and of staff in this way of the product: as the role that serves, in process, all
middleware, one after the other. PostgreSQL is the server that DATABASE_URL names, as a superuser, else one that comes
by pip. Databases of an earlier run are used again with `--keep`. Prints a line a page and ends with one of JSON:

    {"postgresql": {"pages": {"overview": {"p50_ms": …, "p95_ms": …, "cpu_ms": …, "queries": …, "kb": …,
     "growth": …}, …}, "worst_growth": …, "import_rows_s": …, "verify_ledger_s": …, …}, "sqlite": {…}}

`growth` is the p50 of the big installation divided by that of the small one, which is its floor. Commands are whole
processes, start included. `import_stale_rows_s` is an import into an organization that the statistics of the database
do not know.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import databases, volume
from benchmarks.databases import Database
from benchmarks.people import people_files

ROUNDS = 25
STALE_ROWS = 6_000
COMMANDS = ("roll_up_usage", "verify_ledger", "verify_audit", "check_secrets")
ADMIN_LISTS = (
    "billing_ledgerentry",
    "billing_credithold",
    "candidates_candidatecheck",
    "candidates_candidate",
    "candidates_profile",
    "candidates_requirementverdict",
    "organizations_auditevent",
    "organizations_organization",
    "usage_usageevent",
    "usage_usagedaily",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", choices=volume.SCALES, default="big")
    parser.add_argument("--database", choices=("postgresql", "sqlite"))
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY")
    options = parser.parse_args()
    with folder_of(options.keep) as folder:
        wanted = [options.database] if options.database else ["postgresql", "sqlite"]
        print(json.dumps({vendor: compare(folder, vendor, options.scale) for vendor in wanted}))


@contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield kept.resolve()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def compare(folder: Path, vendor: str, scale: str, wanted: Sequence[str] = ("",)) -> dict[str, Any]:
    """The figures of `scale`, of pages whose names begin so; those of the small installation stand beside."""
    if vendor == "postgresql":
        server = databases.postgresql_server(folder)
        make: Callable[[str], Database] = lambda name: databases.postgresql(folder, f"keyfare_{name}", server)  # noqa: E731
    else:
        make = lambda name: databases.sqlite(folder, name)  # noqa: E731
    small = measure(make("small"), "small", wanted)
    if scale == "small":
        return small
    figures = measure(make(scale), scale, wanted)
    for name, page in figures["pages"].items():
        page["growth"] = round(page["p50_ms"] / small["pages"][name]["p50_ms"], 2)
    figures["worst_growth"] = max(page["growth"] for page in figures["pages"].values())
    return figures


def measure(database: Database, scale: str, wanted: Sequence[str]) -> dict[str, Any]:
    figures = load(database, scale)
    print(f"\n{database.vendor}, {scale}: {figures}", file=sys.stderr)
    database.run("-m", "benchmarks.pages_once", str(database.folder / "pages.json"), *wanted)
    return {"pages": json.loads((database.folder / "pages.json").read_text()), **figures}


def load(database: Database, scale: str) -> dict[str, float]:
    """Fills the database, and what that and the commands took; of one that is full already, what was noted then."""
    noted = database.folder / f"{database.vendor}-{scale}.json"
    if not database.is_new:
        figures: dict[str, float] = json.loads(noted.read_text())
        return figures
    database.run("manage.py", "migrate", "-v0", as_owner=True)
    database.run("-m", "benchmarks.volume", "begin", scale, as_owner=True)
    count = volume.SCALES[scale].people
    with tempfile.TemporaryDirectory() as name:
        imported = _import(database, volume.SLUG, people_files(Path(name), count))
        database.run("-m", "benchmarks.volume", "fill", scale, as_owner=True)
        figures = {"import_rows_s": round(count / imported.seconds), "import_peak_mb": round(imported.peak_mb)}
        settle(database)
        stale = _import(database, "other-1", people_files(Path(name), STALE_ROWS, called=" stale"))
        figures["import_stale_rows_s"] = round(STALE_ROWS / stale.seconds)
    for command in COMMANDS:
        run = database.run("manage.py", command)
        figures |= {f"{command}_s": round(run.seconds, 1), f"{command}_peak_mb": round(run.peak_mb)}
    settle(database)
    noted.write_text(json.dumps(figures))
    return figures


def settle(database: Database) -> None:
    """What autovacuum does on PostgreSQL by and by; nothing does it on SQLite."""
    if database.vendor == "postgresql":
        database.execute("VACUUM ANALYZE")


def _import(database: Database, slug: str, files: list[Path]) -> databases.Run:
    return database.run("manage.py", "import_candidates", "--organization", slug, *map(str, files))


if __name__ == "__main__":
    main()
