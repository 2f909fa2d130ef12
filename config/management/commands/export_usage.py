from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.exports import FORMATS, export
from organizations import clock
from organizations.models import Organization
from usage.exports.cells import Piece
from usage.exports.periods import BadPeriod, read_period
from usage.exports.sealing import SealBroken


class Command(BaseCommand):
    help = "Write what an organization used as a file: model calls, or FOCUS 1.4 in USD or credits (docs/exports.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", required=True, metavar="SLUG")
        parser.add_argument("--month", default="", metavar="YYYY-MM", help="A month, a sealed one as it was sealed.")
        parser.add_argument(
            "--from", default="", dest="first", metavar="YYYY-MM-DD", help="Or the days on which calls left."
        )
        parser.add_argument("--to", default="", dest="last", metavar="YYYY-MM-DD", help="and the last.")
        parser.add_argument("--format", default="csv", choices=FORMATS)
        parser.add_argument("--output", type=Path, metavar="FILE", help="Instead of standard output.")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.customers().filter(slug=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization “{options['organization']}”. Give the slug of its address.")
        try:
            period = read_period(
                month=options["month"], first=options["first"], last=options["last"], today=clock.now().date()
            )
        except BadPeriod as bad:
            raise CommandError(str(bad)) from None
        try:
            pieces = export(organization, options["format"], period)
            if options["output"] is None:
                for piece in pieces:
                    self.stdout.write(piece.content.decode(), ending="")
            else:
                _write(pieces, options["output"])
        except BadPeriod as bad:
            raise CommandError(str(bad)) from None
        except SealBroken as broken:
            raise CommandError(str(broken)) from None
        except OSError as error:
            raise CommandError(f"The file could not be written: {error}.") from None


def _write(pieces: Iterable[Piece], path: Path) -> None:
    """In its place once it is whole."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(piece.content for piece in pieces)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
