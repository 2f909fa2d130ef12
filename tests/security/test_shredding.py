"""The ciphertext of a removed, replaced or discarded key is gone from SQLite's files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")

STORY = """
import sys
from pathlib import Path
import django
django.setup()
from django.utils import timezone
from config.onboarding import close_organization
from organizations.models import Organization
from providers.adapters.secret import Secret
from providers.models import OrganizationKey, ProviderKey
from providers.custody.rotation import rotate_organization_key
from providers.keys.replacement import discard_replacement, replace_provider_key
from providers.keys.saving import delete_provider_key, save_provider_key

home, now = Path(sys.argv[1]), timezone.now()
acme = Organization.objects.create(name="Acme", slug="acme")

def save(label):
    secret = Secret("sk-proj-simulated-0123456789")
    return save_provider_key(organization=acme, provider="openai", secret=secret, label=label, actor=None, now=now)

def holds(sealed):
    files = list(home.glob("keyfare.sqlite3*"))
    assert len(files) > 1, files
    return any(bytes(sealed)[-40:] in file.read_bytes() for file in files)

removed, replaced, rotated, closed = save("removed"), save("replaced"), save("rotated"), save("closed")
assert all(holds(key.ciphertext) for key in (removed, replaced, rotated, closed))
delete_provider_key(key=removed, actor=None)
assert not holds(removed.ciphertext), "removed"
replace_provider_key(key=replaced, secret=Secret("sk-proj-simulated-9876543210"), actor=None, now=now)
assert not holds(replaced.ciphertext), "replaced"
serving = save("serving")
ProviderKey.objects.filter(pk=serving.pk).update(status=ProviderKey.Status.CONNECTED)
pasted = lambda end: replace_provider_key(
    key=serving, secret=Secret("sk-proj-simulated-waiting-" + end), actor=None, now=now
)
outdone = pasted("1")
assert outdone.replaces_id == serving.pk and holds(outdone.ciphertext)
discarded = pasted("2")
assert not holds(outdone.ciphertext), "replacement that gave way to another one"
discard_replacement(key=serving, actor=None)
assert not holds(discarded.ciphertext), "discarded replacement"
token = bytes(OrganizationKey.objects.with_token().values_list("token", flat=True).get())
assert holds(token)
rotate_organization_key(organization=acme, actor=None)
assert not holds(rotated.ciphertext), "rotated"
assert not holds(token), "organization key"
left = [bytes(key.ciphertext) for key in ProviderKey.objects.all()]
token = bytes(OrganizationKey.objects.with_token().values_list("token", flat=True).get())
close_organization(organization=acme, actor=None, now=now)
assert not any(holds(sealed) for sealed in left), "closed"
assert not holds(token), "organization key of the closed"
"""


def test_removed_replaced_discarded_rotated_and_closed_keys_leave_the_files_of_sqlite(tmp_path, migrated_file):
    shutil.copy(migrated_file, tmp_path / "keyfare.sqlite3")

    process = subprocess.run(
        [sys.executable, "-c", STORY, str(tmp_path)],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": f"sqlite:///{tmp_path}/keyfare.sqlite3",
        },
        capture_output=True,
        text=True,
    )

    assert process.returncode == 0, process.stderr
