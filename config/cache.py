"""The cache in the database, which counts failed logins: where it cannot count it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.db import DatabaseError, connection

from config.unavailable import is_unavailable


class CountingCache(DatabaseCache):
    """
    Django's own takes a write that the database refuses for one that somebody else was quicker with. Whoever logs in
    while SQLite's file is locked would read of too many attempts.
    """

    def _base_set(self, mode: str, key: str, value: object, timeout: Any = DEFAULT_TIMEOUT) -> bool:
        refusals: list[DatabaseError] = []

        def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            try:
                return execute(sql, params, many, context)
            except DatabaseError as error:
                refusals.append(error)
                raise

        with connection.execute_wrapper(note):
            is_set: bool = super()._base_set(mode, key, value, timeout)  # type: ignore[misc]  # not in the stubs
        for error in refusals:
            if not is_set and is_unavailable(error):
                raise error
        return is_set
