"""Making a backup: a folder with the database and a manifest, whole under its name or not there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from django.db import DatabaseError, connection

from config.backups import postgresql, sqlite
from config.backups.manifest import FORMAT, BackupFailed, Manifest, digest_of, left_out

# A backup under way writes all the time.
LEFT_AFTER_SECONDS = 24 * 3600


def make_backup(where: Path) -> tuple[Path, Manifest]:
    """
    Back up the database to a new folder in `where`, readable by its owner only; returns the folder.

    Others may write meanwhile: it holds the state of one moment. Raises BackupFailed, and leaves nothing then.
    """
    kind = postgresql if connection.vendor == "postgresql" else sqlite
    now = datetime.now(UTC)
    name = f"keyfare-{now:%Y-%m-%dT%H-%M-%SZ}"
    folder, unfinished = where / name, where / f".{name}.{os.getpid()}"
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_what_killed_ones_left(where)
        if folder.exists():
            raise BackupFailed(f"{folder} is there already. Wait a second and try again.")
        unfinished.mkdir(mode=0o700)
        contents = kind.copy(unfinished / kind.FILE_NAME)
        manifest = Manifest(
            format=FORMAT,
            made_at=now.isoformat(timespec="seconds"),
            database=connection.vendor,
            server_version=".".join(map(str, connection.get_database_version())),
            file=kind.FILE_NAME,
            sha256=digest_of(unfinished / kind.FILE_NAME),
            left_out=left_out(),
            contents=contents,
        )
        manifest.write(unfinished)
        for path in (*unfinished.iterdir(), unfinished):
            _to_disk(path)
        unfinished.rename(folder)
        _to_disk(where)
    except OSError as error:
        raise BackupFailed(f"Nothing was backed up: {error.filename or where}: {error.strerror}.") from None
    except (sqlite3.Error, DatabaseError) as error:
        raise BackupFailed(f"Nothing was backed up: {str(error).partition(chr(10))[0]}.") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder, manifest


def _remove_what_killed_ones_left(where: Path) -> None:
    """Of a process that had no time to clear up. By its age: another machine may be writing its own here."""
    for folder in where.glob(".keyfare-*"):
        with suppress(OSError):
            last_written = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - last_written > LEFT_AFTER_SECONDS:
                shutil.rmtree(folder)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
