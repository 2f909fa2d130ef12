"""
What is deleted has to be gone from the disk as well, as far as the database lets us.

SQLite overwrites deleted rows (`secure_delete`), but its write-ahead log keeps older versions of a page until it is
emptied. PostgreSQL keeps deleted rows until VACUUM, and its own log for as long as it is set up to: see
docs/security.md.
"""

from __future__ import annotations

import logging

from django.db import OperationalError, connection, transaction

logger = logging.getLogger(__name__)


def sweep_after_commit() -> None:
    """Empty SQLite's write-ahead log once the present transaction is committed; nothing on PostgreSQL."""
    if connection.vendor == "sqlite":
        transaction.on_commit(_empty_write_ahead_log)


def _empty_write_ahead_log() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy, _, _ = cursor.fetchone()
    except OperationalError:  # locked
        busy = 1
    if busy:
        logger.warning("A reader kept the write-ahead log in use; a removed key's ciphertext stays there for now.")
