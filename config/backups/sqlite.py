"""SQLite: its own backup, a copy of one moment however much is written meanwhile."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.db import connection

from config.backups.manifest import BackupFailed, Contents, left_out

FILE_NAME = "database.sqlite3"


def copy(path: Path) -> Contents:
    """
    Write the database to the new file `path`, without what is left out. Returns what stands in it.

    Copying the file itself would lose what still lies in the write-ahead log. Raises OSError and sqlite3.Error.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection.ensure_connection()
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        connection.connection.backup(target)
        target.execute("PRAGMA secure_delete=ON")
        target.execute("PRAGMA journal_mode=DELETE")  # one file
        tables = [row[0] for row in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(left_out()) & set(tables):
            target.execute(f'DELETE FROM "{table}"')  # noqa: S608  # a table of ours
        return Contents.read(lambda sql: target.execute(sql).fetchall(), tables)


@contextmanager
def restored(source: Path) -> Iterator[None]:
    """
    Within it, Django works on a copy of `source`; after it, that copy is the database, unless an exception left it.

    Raises BackupFailed if there is a database already, and OSError.
    """
    path = Path(connection.settings_dict["NAME"])
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if connection.introspection.table_names():
        raise BackupFailed(
            f"{path} holds a database already, and a backup is restored only where there is none. Move it away, with "
            "the files beside it whose names begin alike (-wal, -shm), and restore again."
        )
    connection.close()
    beside = path.with_name(f"{path.name}.restoring-{os.getpid()}")
    try:
        _copy_file(source, beside)
        connection.settings_dict["NAME"] = beside
        try:
            yield
        finally:
            connection.close()  # empties the write-ahead log into the file and removes it
            connection.settings_dict["NAME"] = path
        os.replace(beside, path)
    finally:
        for left in (beside, *(Path(f"{beside}{end}") for end in ("-wal", "-shm", "-journal"))):
            left.unlink(missing_ok=True)


def _copy_file(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        while chunk := reading.read(1 << 20):
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
