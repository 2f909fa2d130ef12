"""
Files that hold secrets, or everything: readable by their owner only.

`var/` is ours and is mended at every start. Anywhere else a mode may be meant, so there it is only said. SQLite gives
its -wal and -shm files the mode of the database, which is therefore made before SQLite would make it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.db import connection

logger = logging.getLogger(__name__)
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """The folder and what is missing above it, for us alone; one that is there keeps its mode."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def make_database_file() -> None:
    """Where SQLite is used and has no file yet."""
    path = database_file()
    if path is not None:
        with suppress(OSError):  # SQLite says it better
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def database_file() -> Path | None:
    """Of SQLite, if it is one."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or ":memory:" in name or name.startswith("file:"):
        return None
    return Path(name)


def keep_private() -> None:
    """Take the rights of others from all of `var/`; warn of our files elsewhere, and of what cannot be mended."""
    ours = settings.BASE_DIR / "var"
    for path in _below(ours):
        _mend(path)
    for path in _files():
        if ours not in path.resolve().parents and _is_open(path):
            logger.warning("%s can be read by others than its owner: `chmod 600 %s`.", path, path)


def _below(folder: Path) -> Iterator[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return
    yield folder
    for where, folders, files in os.walk(folder):
        yield from (Path(where, name) for name in (*folders, *files))


def _files() -> Iterator[Path]:
    yield settings.ENV_FILE
    database = database_file()
    if database is not None:
        yield from (Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm"))


def _is_open(path: Path) -> bool:
    try:
        return path.is_file() and bool(path.stat().st_mode & OTHERS)
    except OSError:
        return False


def _mend(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and mode & OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
    except FileNotFoundError:
        pass  # a -wal file, just folded into its database
    except OSError as error:
        logger.warning("%s can be read by others than its owner, and that could not be mended: %s", path, error)
