"""What an installation needs before anything else: its secrets, tables, platform organization and schedules."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import NoReturn

from django.core.management import call_command

from config.onboarding import ensure_platform
from config.schedules import ensure_schedules


def write_env_file(path: Path, **more: str) -> None:
    """
    Write fresh secrets, and `more` settings, to `path`, readable by its owner only.

    Raises FileExistsError rather than overwrite: losing a master key loses every key sealed under it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "KEYFARE_MASTER_KEYS": secrets.token_urlsafe(48),
        "KEYFARE_DIGEST_KEY": secrets.token_urlsafe(48),
        **more,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in lines.items())


def start_again() -> NoReturn:
    """Run this very command anew: settings are read at start, and the secrets were written just now."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  # our own command line


def prepare_database(*, verbosity: int = 1) -> None:
    """Tables, cache table, platform organization, managed defaults and schedules; repeating it changes nothing."""
    call_command("migrate", interactive=False, verbosity=verbosity, stdout=sys.stderr)
    call_command("createcachetable", verbosity=verbosity, stdout=sys.stderr)
    ensure_platform()
    ensure_schedules()
