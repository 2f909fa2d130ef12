"""A master rotation ended by a real SIGKILL, and the next one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.db import connection

from tests.providers.master_keys import NEW, OLD

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")
ORGANIZATIONS = 60
FILL = f"""
import django
django.setup()
from config.onboarding import open_organization
from organizations.models import User
from providers.custody.sealing import new_organization_key
owner = User.objects.create_user("owner@acme.example")
for number in range({ORGANIZATIONS}):
    new_organization_key(open_organization(name=str(number), slug=str(number), owner=owner), version=1)
"""
SLOW = """
import time
import django
django.setup()
from providers.custody import rotation
store = rotation._store_token
def slowly(*arguments):
    time.sleep(0.05)
    print("one", flush=True)
    return store(*arguments)
rotation._store_token = slowly
rotation.rotate_master_key(batch=1)
"""


def test_a_killed_master_rotation_loses_nothing_and_the_next_finishes_it(tmp_path, migrated_file):
    shutil.copy(migrated_file, tmp_path / "keyfare.sqlite3")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/keyfare.sqlite3",
    }
    both = {**environment, "KEYFARE_MASTER_KEYS": f"{NEW},{OLD}"}
    only_new = {**environment, "KEYFARE_MASTER_KEYS": NEW}

    def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=settings.BASE_DIR, env=env, capture_output=True, text=True)

    filled = run("-c", FILL, env=environment)
    assert filled.returncode == 0, filled.stderr
    rotation = subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=settings.BASE_DIR, env=both, stdout=subprocess.PIPE, text=True
    )
    assert rotation.stdout is not None
    for _ in range(10):
        assert rotation.stdout.readline()
    time.sleep(0.02)
    rotation.send_signal(signal.SIGKILL)
    rotation.communicate()

    checks = [run("manage.py", "check_secrets", "--json", env=env) for env in (both, only_new)]
    second = run("manage.py", "rotate_master_key", env=both)
    after = run("manage.py", "check_secrets", "--json", env=only_new)

    assert [check.returncode for check in checks] == [0, 1]
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"of {ORGANIZATIONS} organization keys were wrapped anew" in second.stdout
    assert int(second.stdout.split()[0]) in range(ORGANIZATIONS - 12, ORGANIZATIONS - 7)
    assert after.returncode == 0, after.stdout
