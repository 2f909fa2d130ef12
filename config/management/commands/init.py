from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import OperationalError, connection, transaction
from django.utils.text import slugify

from config.installation import (
    add_secrets,
    has_first_owner,
    missing_secrets,
    prepare_database,
    refuse_new_secrets_for_old_database,
    start_again,
)
from config.onboarding import open_organization
from config.private_files import make_database_file
from config.schema_state import missing_migrations
from config.upgrade import pending_upgrade
from organizations.completeness import missing_rows
from organizations.database_rights import refuse_unless_owner, refuse_without_rights
from organizations.models import Organization, User

PASSWORD = "KEYFARE_OWNER_PASSWORD"  # noqa: S105  # where it may be


@dataclass(frozen=True, slots=True)
class FirstOwner:
    email: str
    organization: str
    slug: str
    password: str = field(repr=False)

    def arguments(self) -> tuple[str, ...]:
        """For this command to know them without asking again; the password by the environment, which is ours alone."""
        os.environ[PASSWORD] = self.password
        return f"--email={self.email}", f"--organization={self.organization}", f"--slug={self.slug}"


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
        try:
            missing = missing_secrets()
            if missing and not options["new_secrets"]:
                refuse_new_secrets_for_old_database()
            self._refuse_a_role_without_rights()
            owner = self._owner(options) if options["email"] or not has_first_owner() else None
            if missing:
                self._make_secrets(missing)
                start_again(*(owner.arguments() if owner else ()))
            make_database_file()  # before a first look would make it, for everybody to read
            self._tell_what_cannot_be_undone(is_agreed=options["yes"])
        except OperationalError as error:
            raise CommandError(f"The database does not answer: {error}") from None
        prepare_database(verbosity=0)
        problems = missing_rows()
        if problems:
            raise CommandError("\n".join(problems))
        if owner is None:
            self.stdout.write("This installation has its first owner. Tables and schedules are up to date.")
            return
        if Organization.objects.filter(slug=owner.slug).exists():
            raise CommandError(
                f"There is already an organization with the slug “{owner.slug}”. Choose another: --slug."
            )
        if User.objects.filter(email=owner.email).exists():
            raise CommandError(f"There is already a user {owner.email}. Open more organizations in the admin.")
        with transaction.atomic():
            user = User.objects.create_superuser(owner.email, owner.password)
            open_organization(name=owner.organization, slug=owner.slug, owner=user)
        self.stdout.write(
            self.style.SUCCESS(
                f"{owner.organization} is open. {owner.email} owns it and may use /admin/, which asks for a passkey or "
                "an authenticator app first."
            )
        )
        self.stdout.write(
            "Start the worker with `manage.py qcluster`, the web server with `uvicorn config.asgi:application "
            "--no-proxy-headers`."
        )

    def _refuse_a_role_without_rights(self) -> None:
        if connection.vendor != "postgresql":  # a look at SQLite would make the file
            return
        refuse_without_rights()
        if missing_migrations():
            refuse_unless_owner()

    def _tell_what_cannot_be_undone(self, *, is_agreed: bool) -> None:
        upgrade = pending_upgrade()
        if not upgrade.for_good or is_agreed:
            return
        if not sys.stdin.isatty():
            raise CommandError(f"{upgrade.warning} Then run this again with --yes. Nothing was changed.")
        self.stdout.write(upgrade.warning)
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")

    def _make_secrets(self, names: list[str]) -> None:
        path = settings.ENV_FILE
        try:
            add_secrets(path, names)
        except OSError as error:
            raise CommandError(
                f"{error.filename or path} cannot be written: {error.strerror}. Run this as a user who may, or set "
                f"KEYFARE_ENV_FILE to another file, here and wherever Keyfare runs. Nothing was changed."
            ) from None
        self.stdout.write(
            f"Wrote new secrets to {path} (readable by you only).\n"
            "Back this file up, apart from the database: without its master key no stored provider key can be "
            "opened, and nobody can recover it."
        )

    def _owner(self, options: dict[str, Any]) -> FirstOwner:
        """Whoever was named, else whoever is answered: before anything is written, so that a refusal leaves nothing."""
        if not sys.stdin.isatty():
            self._refuse_to_guess(options)
        email = self._email(options["email"] or input("E-mail of the first owner: "))
        organization = (options["organization"] or input("Name of the organization: ")).strip()
        slug = options["slug"] or slugify(organization)[:60]
        if not slug or slugify(slug) != slug:
            raise CommandError(f"“{slug}” is no name for a URL: use lower-case letters, digits and hyphens (--slug).")
        return FirstOwner(email, organization, slug, self._password(email))

    def _refuse_to_guess(self, options: dict[str, Any]) -> None:
        missing = [f"--{name}" for name in ("email", "organization") if not options[name]]
        if PASSWORD not in os.environ:
            missing.append(f"{PASSWORD} in the environment")
        if missing:
            raise CommandError(f"There is no terminal to ask on: give {' and '.join(missing)}. Nothing was changed.")

    def _email(self, email: str) -> str:
        try:
            validate_email(email)
        except ValidationError:
            raise CommandError(f"“{email}” is no e-mail address.") from None
        return email.lower()

    def _password(self, email: str) -> str:
        password = os.environ.get(PASSWORD)
        if password is None:
            password = getpass.getpass(f"Password for {email}: ")
            if getpass.getpass("Once more: ") != password:
                raise CommandError("These were two different passwords. Nothing was changed.")
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        return password
