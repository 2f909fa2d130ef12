from __future__ import annotations

import getpass
import os
import sys
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction
from django.utils.text import slugify

from config.installation import (
    prepare_database,
    refuse_new_secrets_for_old_database,
    start_again,
    write_env_file,
)
from config.onboarding import open_organization
from config.private_files import make_database_file
from config.upgrade import pending_upgrade
from organizations.completeness import missing_rows
from organizations.models import Organization, User


class Command(BaseCommand):
    help = (
        "Sets up a real installation: secrets, tables, the first owner (who is staff, too) and their organization. "
        "Asks for what is not given; the password may come from KEYFARE_OWNER_PASSWORD. Safe to run again."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", help="E-mail of the first owner")
        parser.add_argument("--organization", help="Name of the first organization")
        parser.add_argument(
            "--new-secrets",
            action="store_true",
            help="Make new secrets for a database whose old ones are lost for good: what they sealed is lost, too",
        )
        parser.add_argument("--slug", help="Its name in URLs (default: made from the name)")
        parser.add_argument("--yes", action="store_true", help="Upgrade without asking, also what cannot be undone")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.FERNET_KEYS:
            if not options["new_secrets"]:
                refuse_new_secrets_for_old_database()
            self._make_secrets()
            start_again()
        make_database_file()  # before a first look would make it, for everybody to read
        self._tell_what_cannot_be_undone(is_agreed=options["yes"])
        prepare_database(verbosity=0)
        problems = missing_rows()
        if problems:
            raise CommandError("\n".join(problems))
        if User.objects.filter(is_staff=True).exists() and not options["email"]:
            self.stdout.write("This installation has its first owner. Tables and schedules are up to date.")
            return
        email = self._email(options["email"] or self._ask("E-mail of the first owner: ", "--email"))
        name = (options["organization"] or self._ask("Name of the organization: ", "--organization")).strip()
        slug = options["slug"] or slugify(name)[:60]
        if not slug or slugify(slug) != slug:
            raise CommandError(f"“{slug}” is no name for a URL: use lower-case letters, digits and hyphens (--slug).")
        if Organization.objects.filter(slug=slug).exists():
            raise CommandError(f"There is already an organization with the slug “{slug}”. Choose another: --slug.")
        if User.objects.filter(email=email).exists():
            raise CommandError(f"There is already a user {email}. Open more organizations in the admin.")
        password = self._password(email)
        with transaction.atomic():
            owner = User.objects.create_superuser(email, password)
            open_organization(name=name, slug=slug, owner=owner)
        self.stdout.write(self.style.SUCCESS(f"{name} is open. {email} owns it and may use /admin/."))
        self.stdout.write(
            "Start the worker with `manage.py qcluster`, the web server with `uvicorn config.asgi:application "
            "--no-proxy-headers`."
        )

    def _tell_what_cannot_be_undone(self, *, is_agreed: bool) -> None:
        upgrade = pending_upgrade()
        if not upgrade.for_good or is_agreed:
            return
        if not sys.stdin.isatty():
            raise CommandError(f"{upgrade.warning} Then run this again with --yes. Nothing was changed.")
        self.stdout.write(upgrade.warning)
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")

    def _make_secrets(self) -> None:
        path = settings.ENV_FILE
        try:
            write_env_file(path)
        except FileExistsError:
            raise CommandError(
                f"{path} exists but sets no KEYFARE_MASTER_KEYS. Add one there (32 characters or more), or move the "
                "file away and run this again."
            ) from None
        self.stdout.write(
            f"Wrote new secrets to {path} (readable by you only).\n"
            "Back this file up, apart from the database: without its master key no stored provider key can be "
            "opened, and nobody can recover it."
        )

    def _email(self, email: str) -> str:
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"“{email}” is no e-mail address.") from None
        return email.lower()

    def _password(self, email: str) -> str:
        password = os.environ.get("KEYFARE_OWNER_PASSWORD")
        if password is None:
            if not sys.stdin.isatty():
                raise CommandError("There is no terminal to ask for a password: set KEYFARE_OWNER_PASSWORD.")
            password = getpass.getpass(f"Password for {email}: ")
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        return password

    def _ask(self, question: str, flag: str) -> str:
        if not sys.stdin.isatty():
            raise CommandError(f"There is no terminal to ask on: give {flag}.")
        return input(question)
