"""
Fails every transaction that locks rows in another order than docs/locking.md has them.

Two transactions that lock the same rows in opposite orders wait for each other for ever; PostgreSQL then ends one of
them. No test can be relied on to meet that moment, so this looks at the order alone: of the locks that each
transaction of our own code takes, in all tests; a transaction that a test opens around several of them is none. SQLite
has one writer at a time and no SELECT … FOR UPDATE, so there is nothing to watch.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import django.test
from django.conf import settings
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.transaction import Atomic

# First to last. A transaction may leave out what it does not need, and lock again what it has locked already.
ORDER = (
    "organizations_organization",
    "candidates_briefing",
    "providers_providerkey",
    "candidates_candidatecheck",
    "billing_creditaccount",
    "organizations_audithead",
)
TESTS = (str(Path(settings.BASE_DIR) / "tests"), str(Path(django.test.__file__).parent))
LOCKED = re.compile(r'FROM "(\w+)".* FOR (NO KEY )?UPDATE(?: OF "(\w+)")?', re.DOTALL)
WRITTEN = re.compile(r'\s*(?:UPDATE|DELETE FROM) "(\w+)"')


class LockedOutOfOrder(AssertionError):
    pass


class _Transaction(threading.local):
    """The outermost block of our code that this thread is in, and the ranks it has locked since that began."""

    outermost: Atomic | None = None
    ranks: list[int] | None = None


_transaction = _Transaction()


@contextmanager
def guarding() -> Iterator[None]:
    """Guard all connections, those of threads that open their own meanwhile as well."""
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(connection.execute_wrapper(guard))

        def also(connection: Any, **kwargs: Any) -> None:
            if guard not in connection.execute_wrappers:
                connection.execute_wrappers.append(guard)

        connection_created.connect(also)
        stack.callback(connection_created.disconnect, also)
        enter, leave = Atomic.__enter__, Atomic.__exit__

        def entering(block: Atomic) -> None:
            enter(block)
            if _transaction.outermost is None and not sys._getframe(1).f_code.co_filename.startswith(TESTS):
                _transaction.outermost, _transaction.ranks = block, []

        def leaving(block: Atomic, *error: Any) -> None:
            if _transaction.outermost is block:
                _transaction.outermost = _transaction.ranks = None
            leave(block, *error)

        Atomic.__enter__, Atomic.__exit__ = entering, leaving  # type: ignore[method-assign]
        try:
            yield
        finally:
            Atomic.__enter__, Atomic.__exit__ = enter, leave  # type: ignore[method-assign]
            _transaction.outermost = _transaction.ranks = None


def guard(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    table = _locked_table(str(sql)) if context["connection"].vendor == "postgresql" else ""
    if table in ORDER and _transaction.ranks is not None:
        rank = ORDER.index(table)
        later = [ORDER[held] for held in _transaction.ranks if held > rank]
        if later and rank not in _transaction.ranks:
            raise LockedOutOfOrder(f"{table} is locked after {later[-1]}; see docs/locking.md: {sql}")
        _transaction.ranks.append(rank)
    return execute(sql, params, many, context)


def _locked_table(sql: str) -> str:
    """The table of which a statement locks rows until the transaction ends, "" for most statements."""
    if written := WRITTEN.match(sql):
        return written[1]
    if not (locked := LOCKED.search(sql)):
        return ""
    table = locked[3] or locked[1]
    if table == ORDER[0] and not locked[2]:
        raise LockedOutOfOrder(f"Every row refers to an organization, so lock it with no_key=True: {sql}")
    return table
