"""
Which tests run where and when, for `make test`: slow files first, so that no worker is left alone with one in the end,
and what no database has a part in once, with SQLite.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.conf import settings

# Slowest first, what waits for processes of its own ahead. Whoever is out of date here costs time, and nothing else.
SLOW = tuple(
    f"tests/{name}.py"
    for name in (
        "config/test_demo",
        "config/test_worker_supervisor",
        "security/test_canary",
        "config/test_browser",
        "config/test_startup",
        "config/test_staff_permissions",
        "test_urls_and_roles",
        "config/test_documents_walked",
        "config/test_backup_drill",
        "config/test_upgrade",
        "config/test_backup",
        "config/test_init",
        "config/test_login_keeps_the_section",
        "config/test_admin_in_the_browser",
        "organizations/test_nothing_of_others",
        "organizations/test_wall_alone",
        "providers/test_egress_limits",
        "config/test_headers",
        "security/test_killed_rotation",
        "config/test_garbage",
        "config/test_admin_confirmation",
        "test_two_tabs",
        "test_recipes",
    )
)
# Who names one of these speaks of a database, or starts processes that may.
OF_A_DATABASE = {"connection", "connections", "psycopg", "subprocess", "serving_role", "scratch_database", "served"}
# Their processes have none.
WITHOUT_ONE = tuple(
    f"tests/{name}.py"
    for name in (
        "config/test_settings_as_written",
        "providers/test_egress",
        "providers/test_egress_limits",
        "simulator/test_command",
    )
)
FIXTURES_OF_ONE = {"db", "transactional_db", "live_server", "django_db_setup", "scratch_database", "new_installation"}


def slow_files_first(items: list[pytest.Item]) -> None:
    """Tests of one file stay together: what a module makes once is made by one worker."""
    places = {name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(SLOW)))


def once(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With PostgreSQL, leave out what would do the same again, unless it is asked for by its file."""
    named = [Path(argument.partition("::")[0]) for argument in config.args]
    if os.environ.get("KEYFARE_TEST_DATABASE") != "postgresql" or any(path.suffix for path in named):
        return
    again = [item for item in items if not _asks_a_database(item)]
    config.hook.pytest_deselected(items=again)
    left_out = set(again)
    items[:] = [item for item in items if item not in left_out]


def _asks_a_database(item: pytest.Item) -> bool:
    """Whether pytest-django lets it, or its module may in another way."""
    return bool(
        item.get_closest_marker("django_db")
        or FIXTURES_OF_ONE.intersection(getattr(item, "fixturenames", ()))
        or (
            not item.nodeid.startswith(WITHOUT_ONE)
            and OF_A_DATABASE.intersection(vars(getattr(item, "module", settings)))
        )
        or not isinstance(item, pytest.Function)
        or hasattr(item.cls, "databases")
    )
