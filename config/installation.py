"""What an installation needs before anything else: its secrets, tables, platform organization and schedules."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path
from typing import NoReturn

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from config.models import Sentinel
from config.onboarding import ensure_platform
from config.private_files import database_file, keep_private, make_database_file, make_folder
from config.schedules import ensure_schedules
from config.sentinels import WRONG_DIGEST_KEY, digest_key_fits
from organizations import clock
from organizations.models import User
from providers.custody import system_checks
from providers.models import OrganizationKey
from usage.rollups import RollupRefused, roll_up

logger = logging.getLogger(__name__)
SECRETS = {"SECRET_KEY": 50, "KEYFARE_MASTER_KEYS": 48, "KEYFARE_DIGEST_KEY": 48}  # random bytes of each


def write_env_file(path: Path, **more: str) -> None:
    """
    Write fresh secrets, and `more` settings, to `path`, readable by its owner only.

    Raises FileExistsError rather than overwrite: losing a master key loses every key sealed under it.
    """
    make_folder(path.parent)
    lines = {**{name: secrets.token_urlsafe(size) for name, size in SECRETS.items()}, **more}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in lines.items())


def missing_secrets() -> list[str]:
    """Neither in the environment nor in the env file, whose lines are in the environment by now."""
    return [name for name in SECRETS if not os.environ.get(name, "").strip(" ,")]


def add_secrets(path: Path, names: list[str]) -> None:
    """
    Write fresh ones to the end of `path`, readable by its owner only from then on, for the next start to read.

    Raises OSError.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        os.fchmod(descriptor, 0o600)
        begun = file.read()
        lines = [f"{name}={secrets.token_urlsafe(SECRETS[name])}\n" for name in names]
        file.writelines(lines if not begun or begun.endswith("\n") else ["\n", *lines])
    for name in names:
        os.environ.pop(name, None)  # an empty one would win over the file


def refuse_new_secrets_for_old_database() -> None:
    """
    Raises CommandError if the database was filled under secrets that are not set: new ones would fit nothing in it.

    Also if it cannot be asked.
    """
    path = database_file()
    if path is not None and not (path.is_file() and path.stat().st_size):
        return
    where = str(path or connection.settings_dict["NAME"])
    try:
        tables = connection.introspection.table_names()
        rows = {
            "users": User.objects.count() if User._meta.db_table in tables else 0,
            "organization keys": OrganizationKey.objects.count() if OrganizationKey._meta.db_table in tables else 0,
            "sentinels": Sentinel.objects.count() if Sentinel._meta.db_table in tables else 0,
        }
    except DatabaseError as error:
        raise CommandError(f"The database {where} does not answer, so no secrets were made for it: {error}") from None
    if any(rows.values()):
        lacks = ", ".join(missing_secrets())
        raise CommandError(
            f"The database {where} is in use ({rows['users']:,} users, {rows['organization keys']:,} organization "
            f"keys), but its secrets are not set: {settings.ENV_FILE} is gone, or lacks {lacks}. Put "
            "that file back from its backup: new secrets open nothing that is in the database. If it is lost for "
            "good: `manage.py init --new-secrets`. If the database is not needed, move it away."
        )


def has_first_owner() -> bool:
    """Somebody of the staff. A database that is not there stays so. Raises DatabaseError."""
    path = database_file()
    if path is not None and not path.exists():
        return False
    if User._meta.db_table not in connection.introspection.table_names():
        return False
    return User.objects.filter(is_staff=True).exists()


def start_again(*arguments: str) -> NoReturn:
    """Run this very command anew, with `arguments` more: settings are read at start, and were written just now."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv, *arguments])  # noqa: S606  # our own command line


def prepare_database(*, verbosity: int = 1) -> None:
    """Tables, cache table, platform organization, managed defaults, schedules, sums; repeating it changes nothing."""
    make_database_file()
    keep_private()
    call_command("migrate", interactive=False, verbosity=verbosity, stdout=sys.stderr)
    call_command("createcachetable", verbosity=verbosity, stdout=sys.stderr)
    if not system_checks.digest_key() and not digest_key_fits():
        raise CommandError(WRONG_DIGEST_KEY)
    ensure_platform()
    ensure_schedules()
    try:
        roll_up(now=clock.now())  # an upgrade may have left sums to be derived anew
    except RollupRefused as refused:
        logger.warning("%s", refused)
