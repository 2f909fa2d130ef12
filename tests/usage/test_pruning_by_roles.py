"""Old calls leave as the role that owns the tables, for which row-level security holds, not as the one that serves."""

from __future__ import annotations

import json

from django.db import connection

from tests.scratch_database import OWNER, SERVING, new_installation, scratch_database

__all__ = ["new_installation", "scratch_database"]

CALLS = """
import django
django.setup()
from datetime import timedelta
from organizations import clock
from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from tests.usage.conftest import event, roll_up
with scope(EVERY, "a test"):
    for days in (0, 300, 900):
        event(Organization.objects.get(slug="acme"), occurred_at=clock.now() - timedelta(days=days))
    roll_up(now=clock.now())
"""


def test_the_owner_has_them_leave_and_who_serves_may_not(scratch_database, new_installation):
    here = scratch_database("here", like=new_installation)
    filled = here.run("-c", CALLS)
    assert filled.returncode == 0, filled.stderr

    here.manage("seal_months")
    if connection.vendor == "postgresql":
        refused = here.run("manage.py", "prune_usage", "--older-than", "3")
        assert refused.returncode == 1
        assert f"connects as “{SERVING}”, but the tables belong to “{OWNER}”" in refused.stderr
        assert "manage.py prune_usage. Nothing was changed." in refused.stderr
    answer = json.loads(here.manage("prune_usage", "--older-than", "3", "--json", role=OWNER))

    assert answer["events"] == 2
    assert here.query("SELECT count(*) FROM usage_usageevent") == [(1,)]
    here.manage("roll_up_usage", "--rebuild")
    assert here.query("SELECT CAST(sum(calls) AS integer) FROM usage_usagedaily") == [(3,)]
    here.prove()
