from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from threading import current_thread, main_thread
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from candidates.profiles.files import MAX_FILE_BYTES, FileUnreadable, ProfileRow, RowError, parse_file
from candidates.profiles.importing import ImportReport, import_profiles
from candidates.profiles.row_spool import RowSpool
from organizations.models import Organization

INTERRUPTED = 130  # as shells say it of Ctrl-C


class Command(BaseCommand):
    help = (
        "Import candidate profiles (JSON Resume or Reactive Resume, as .json or .jsonl). Good rows are kept, bad ones "
        "listed; importing the same again adds nothing. “line” counts the lines of a .jsonl, or the items of a list; "
        "0 is the whole file. Exits with 1 if something was wrong and no row was good."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
        parser.add_argument("--organization", required=True, metavar="SLUG", help="whose candidates they are")
        parser.add_argument("--json", action="store_true", help="print the report as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, files = options["organization"], options["files"]
        organization = Organization.objects.customers().filter(slug=slug, closed_at=None).first()
        if organization is None:
            raise CommandError(f"There is no organization “{slug}”.")
        try:
            report = _import(organization, files)
        except OSError as error:
            raise CommandError(
                f"The rows cannot be kept in a temporary file meanwhile: {error.strerror}. Set TMPDIR to a folder with "
                "room, then import again."
            ) from None

        several = len(files) > 1
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(with_files=several), ensure_ascii=False))
        else:
            self.stdout.write(
                f"{report.imported} imported, {report.updated} updated, {report.unchanged} unchanged, "
                f"{len(report.errors)} refused."
            )
            for row in report.errors:
                self.stderr.write(f"{row.file + ': ' if several else ''}line {row.line}: {row.reason}")
        if report.errors and not report.kept:
            sys.exit(1)


def _import(organization: Organization, files: Sequence[Path]) -> ImportReport:
    """All files are read before anything is imported; each of them once, since it may be a pipe."""
    done = 0

    def show(number: int) -> None:
        nonlocal done
        done = number
        progress.update(bar, completed=done)
        interrupt_if_asked()

    with TemporaryFile() as spool, _progress(Console(stderr=True)) as progress:
        bar = progress.add_task("Reading profiles", total=None)
        rows = RowSpool(spool)
        try:
            for row in chain.from_iterable(map(_rows, files)):
                rows.add(row)
            progress.update(bar, description="Importing profiles", total=rows.profiles)
            with _interrupts_held() as interrupt_if_asked:
                return import_profiles(organization=organization, rows=rows, actor=None, on_progress=show)
        except KeyboardInterrupt:
            progress.stop()
            if not done:
                raise CommandError("Interrupted; nothing was imported.", returncode=INTERRUPTED) from None
            raise CommandError(
                f"Interrupted after {done:,} of {rows.profiles:,} profiles, which stay imported. Import the same files "
                "again for the rest.",
                returncode=INTERRUPTED,
            ) from None


@contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """
    Ctrl-C counts when what is given is called, so that it meets no commit, after which nobody knows what is stored.
    Pressed again it counts at once.
    """
    before = signal.getsignal(signal.SIGINT)
    # The main thread alone is interrupted, and not where it was started so that Ctrl-C passes it by, as by `&`.
    if current_thread() is not main_thread() or before == signal.SIG_IGN:
        yield lambda: None
        return
    is_asked = False

    def hold(*_: object) -> None:
        nonlocal is_asked
        is_asked = True
        signal.signal(signal.SIGINT, before)

    def interrupt_if_asked() -> None:
        if is_asked:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold)
    try:
        yield interrupt_if_asked
    finally:
        signal.signal(signal.SIGINT, before)


def _rows(file: Path) -> list[ProfileRow | RowError]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)  # one byte over the limit is refused as too large
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    try:
        return parse_file(data, file=str(file))
    except FileUnreadable as error:
        return [RowError(error.line, str(error), str(file))]


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
