from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction
from django.forms import ValidationError

from organizations.email_changes import AddressTaken, set_email
from organizations.models import User
from organizations.tenancy import EVERY, scope


class Command(BaseCommand):
    help = (
        "Give somebody another e-mail address: for who reads the old one no more, where no other owner can vouch for "
        "them. Whoever runs this vouches for the new one: it counts as confirmed. The old one is told. With the same "
        "address twice, the address is marked as confirmed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("old")
        parser.add_argument("new")

    @scope(EVERY, "a person's organizations are several")
    def handle(self, *args: Any, old: str, new: str, **options: Any) -> None:
        person = User.objects.filter(email=old.lower()).first()
        if person is None:
            raise CommandError(f"Nobody has the address {old}.")
        try:
            validate_email(new)
            with transaction.atomic():
                set_email(person=person, email=new, actor=None, is_verified=True)
        except ValidationError:
            raise CommandError(f"{new} is no e-mail address.") from None
        except AddressTaken as taken:
            raise CommandError(str(taken)) from None
        self.stdout.write(f"{person.email} is the address of this account.")
