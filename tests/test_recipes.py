"""CONTRIBUTING's recipes, followed to the letter in a copy of the tree: what they add works, and nothing is missing."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest
from django.conf import settings
from django.db import connection

ROOT = Path(settings.BASE_DIR)
APPS = ("billing", "candidates", "config", "gateway", "organizations", "providers", "routing", "simulator", "usage")
BLOCK = re.compile(r"^   ```python\n   # (?P<where>.+)\n(?P<code>(?:(?:   .*)?\n)+?)   ```$", re.MULTILINE)


def blocks(text: str) -> list[tuple[str, str]]:
    """Where each block of the recipes goes, and the code."""
    recipes = text[text.index("## Recipes") : text.index("## Add a table")]
    found = [(block["where"], dedent(block["code"]).strip("\n")) for block in BLOCK.finditer(recipes)]
    assert len(found) == recipes.count("```python")
    return found


def follow(tree: Path, where: str, code: str) -> None:
    path, _, place = where.partition(", ")
    file = tree / path
    if not place:
        assert not file.exists()
        file.write_text(f"{code}\n")
        return
    how, name = place.split()
    lines = file.read_text().splitlines()
    statement = next(statement for statement in ast.parse("\n".join(lines)).body if name in names_of(statement))
    if how == "before":
        lines.insert(statement.lineno - 1, f"{code}\n")
    elif isinstance(statement, ast.FunctionDef):
        lines.insert(statement.body[-1].lineno - 1, indent(code, "    "))
    else:
        add_entry(lines, statement, code)
    file.write_text("\n".join([*lines, ""]))


def names_of(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def add_entry(lines: list[str], statement: ast.stmt, code: str) -> None:
    """As the last one of the outermost mapping or tuple."""
    assert isinstance(statement, ast.Assign | ast.AnnAssign)
    assert statement.value
    entries = next(node for node in ast.walk(statement.value) if isinstance(node, ast.Dict | ast.Tuple))
    last = (entries.values if isinstance(entries, ast.Dict) else entries.elts)[-1]
    assert last.end_lineno
    line, column = last.end_lineno - 1, last.end_col_offset
    raw = lines[line].encode()
    lines[line] = f"{raw[:column].decode()},\n{code}{raw[column:].decode()}"


STORY = """
import json
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test.utils import setup_test_environment

setup_test_environment()
plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}  # no files were collected
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
call_command("makemigrations", check=True, dry_run=True, verbosity=0)

from candidates.models import Profile
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.summaries import summarise
from config.onboarding import open_organization
from organizations import clock
from organizations.models import User
from providers.models import ProviderKey
from simulator.app import create_app, origins
from simulator.keys import KEYS_TO_TRY
from tests.conftest import logged_in
from tests.served import served
from usage.models import UsageEvent

owner = User.objects.create_user("owner@acme.example")
acme = open_organization(name="Acme", slug="acme", owner=owner)
resume = {"basics": {"name": "Rea", "email": "rea@people.example", "summary": "Builds Django services."}}
import_profiles(organization=acme, rows=parse_file(json.dumps([resume]).encode()), actor=owner)
browser = logged_in(owner)
with served(create_app()) as port:
    settings.KEYFARE_PROVIDER_ORIGINS = origins(f"http://127.0.0.1:{port}")
    home = "/o/acme/settings"
    saved = browser.post(f"{home}/keys/example/save/", {"key": KEYS_TO_TRY["example"], "label": "Ours"})
    key = ProviderKey.objects.get(provider="example")
    browser.post(f"{home}/keys/{key.pk}/validate/")
    key.refresh_from_db()
    page = browser.get(home).content.decode()
    form = {"profile_summary-key": str(key.pk), "profile_summary-model": "llama-3.1-8b-instant"}
    routed = browser.post(f"{home}/routing/save/", form)
    summary = summarise(profile=Profile.objects.get(), now=clock.now())
event = UsageEvent.objects.get(action="profile_summary")
print(json.dumps({
    "saved": saved.status_code, "status": key.status, "routed": routed.status_code, "summary": summary,
    "shown": ["Example" in page, "Profile summary" in page],
    "usage": "Profile summary" in browser.get("/o/acme/consumption/calls/").content.decode(),
    "event": [event.provider, event.model, event.mode, event.status, bool(event.cost_nanousd)],
}))
"""


@pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")
def test_what_the_recipes_add_is_connected_validated_routed_and_called(tmp_path, migrated_file):
    shutil.copy(migrated_file, tmp_path / "keyfare.sqlite3")
    tree = tmp_path / "tree"
    for folder in (*APPS, "templates", "static", "tests"):
        shutil.copytree(ROOT / folder, tree / folder)
    for where, code in blocks((ROOT / "CONTRIBUTING.md").read_text()):
        follow(tree, where, code)

    process = subprocess.run(
        [sys.executable, "-c", STORY],
        cwd=tree,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": f"sqlite:///{tmp_path}/keyfare.sqlite3",
        },
        capture_output=True,
        text=True,
    )

    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == {
        "saved": 302,
        "status": "connected",
        "shown": [True, True],
        "routed": 302,
        "summary": "Rea Summary Builds Django services. And so on.",
        "usage": True,
        "event": ["example", "llama-3.1-8b-instant", "byok", "answered", True],
    }
