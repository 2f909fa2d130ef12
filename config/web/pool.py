"""
The connections of the web server to PostgreSQL: one pool a process, and none but the web server has one.

As a setting the pool would also be every command's and the workers', who fork; so it is switched on where a process
becomes a web server, before that has connected.
"""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connection, connections

from organizations.tenancy import forget_scope

NAME = "keyfare web"  # in pg_stat_activity
# A request that finds no connection, because the database is away, says so after this.
WAIT_SECONDS = 3.0
IDLE_SECONDS = 60.0


def share_connections(size: int) -> None:
    """From now on the threads of this process borrow at most `size` connections. Nothing on SQLite, or with 0."""
    database = connections.settings[DEFAULT_DB_ALIAS]
    if connection.vendor != "postgresql" or not size:
        return
    connections.close_all()  # of before: they belong to no pool
    database["CONN_MAX_AGE"] = 0
    options = database["OPTIONS"]
    options.setdefault("application_name", NAME)
    options["pool"] = {
        "min_size": 1,
        "max_size": size,
        "timeout": WAIT_SECONDS,
        "max_idle": IDLE_SECONDS,
        # Given up soon, so that the next request tries anew: else a pool sleeps as long as its database was away.
        "reconnect_timeout": WAIT_SECONDS,
        "reset": forget_scope,
    }
