"""What stands in a backup, told beside it: counts and heads that a restored database has to show again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection

FORMAT = 1
FILE_NAME = "manifest.json"
Query = Callable[[str], Sequence[Sequence[Any]]]


class BackupFailed(Exception):
    """Nothing was made, or nothing restored; the text says why and what to do."""


def left_out() -> list[str]:
    """
    The tables whose rows are in no backup: whoever reads one could log in with a session, and what is cached is made
    anew.
    """
    return sorted([Session._meta.db_table, settings.CACHES["default"]["LOCATION"]])


@dataclass(frozen=True, slots=True)
class Contents:
    """
    One state of a database. Holds no secret and no name.

    `migrations` are "app.name", sorted; `counts` are rows by table, without those left out. A ledger head is
    [organization id, entries, credits owned, credits held], an audit head [organization id, events, hash].
    """

    migrations: list[str]
    counts: dict[str, int]
    ledger_heads: list[list[Any]]
    audit_heads: list[list[Any]]

    @classmethod
    def read(cls, query: Query, tables: Sequence[str]) -> Self:
        """By plain SQL, as `query` answers it: the tables may be those of an earlier version."""
        counted = sorted(table for table in set(tables) - set(left_out()) if not table.startswith("sqlite_"))
        return cls(
            migrations=sorted(f"{app}.{name}" for app, name in query("SELECT app, name FROM django_migrations")),
            counts={table: int(query(f'SELECT count(*) FROM "{table}"')[0][0]) for table in counted},  # noqa: S608
            ledger_heads=_heads(query, tables, "billing_creditaccount", "seq, posted, held"),
            audit_heads=_heads(query, tables, "organizations_audithead", "seq, hash"),
        )

    @classmethod
    def now(cls) -> Self:
        """Of the database that Django is connected to."""
        with connection.cursor() as cursor:

            def query(sql: str) -> list[Any]:
                cursor.execute(sql)
                return list(cursor.fetchall())

            return cls.read(query, connection.introspection.table_names(cursor))

    def differences(self, restored: Contents) -> Iterator[str]:
        """What `restored` lacks or has too much, as sentences."""
        for table in sorted({*self.counts, *restored.counts}):
            told, found = self.counts.get(table, 0), restored.counts.get(table, 0)
            if told != found:
                yield f"{table} has {found:,} rows; the manifest tells of {told:,}."
        for what, told_heads, found_heads in (
            ("credit ledger", self.ledger_heads, restored.ledger_heads),
            ("audit log", self.audit_heads, restored.audit_heads),
        ):
            for organization in sorted(_ids(told_heads, found_heads)):
                yield f"The {what} of organization {organization} does not end where the manifest says."
        if self.migrations != restored.migrations:
            yield "The migrations are not those of the manifest."


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    `made_at` is UTC by this machine's clock; `database` the kind by Django's name ("sqlite", "postgresql"); `file` and
    `sha256` are of what lies beside.
    """

    format: int
    made_at: str
    database: str
    server_version: str
    file: str
    sha256: str
    left_out: list[str]
    contents: Contents

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        with os.fdopen(os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises BackupFailed."""
        try:
            values = json.loads((folder / FILE_NAME).read_text())
            if values["format"] != FORMAT:
                raise BackupFailed(
                    f"{folder} is a backup of format {values['format']}; this version of Keyfare reads {FORMAT}. "
                    "Restore it with the version that made it."
                )
            manifest = cls(**{**values, "contents": Contents(**values["contents"])})
            _refuse_other_shapes(manifest)
            return manifest
        except OSError as error:
            raise BackupFailed(f"{folder} is no backup: {FILE_NAME} cannot be read ({error.strerror}).") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise BackupFailed(f"{folder / FILE_NAME} is not as `manage.py backup` wrote it.") from None


def _refuse_other_shapes(manifest: Manifest) -> None:
    """Raises ValueError if a value is not of the kind that its field says."""
    contents = manifest.contents
    texts = (manifest.made_at, manifest.database, manifest.server_version, manifest.file, manifest.sha256)
    is_whole = (
        all(isinstance(text, str) for text in texts)
        and Path(manifest.file).name == manifest.file != ""
        and manifest.file.isprintable()
        and manifest.file != ".."
        and isinstance(contents.migrations, list)
        and all(isinstance(name, str) for name in contents.migrations)
        and isinstance(contents.counts, dict)
        and all(_is_number(count) for count in contents.counts.values())
        and _are_heads(contents.ledger_heads, int, int, int, int)
        and _are_heads(contents.audit_heads, int, int, str)
    )
    if not is_whole:
        raise ValueError("another shape")


def _are_heads(heads: object, *kinds: type) -> bool:
    return isinstance(heads, list) and all(
        isinstance(head, list) and list(map(type, head)) == list(kinds) for head in heads
    )


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def digest_of(path: Path) -> str:
    """SHA-256, hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _heads(query: Query, tables: Sequence[str], table: str, columns: str) -> list[list[Any]]:
    if table not in tables:
        return []
    return [list(row) for row in query(f'SELECT organization_id, {columns} FROM "{table}" ORDER BY 1')]  # noqa: S608


def _ids(one: list[list[Any]], other: list[list[Any]]) -> set[Any]:
    """The organizations whose heads are not the same in both."""
    heads, others = ({head[0]: head[1:] for head in every} for every in (one, other))
    return {organization for organization in {*heads, *others} if heads.get(organization) != others.get(organization)}
