"""What people do to their own accounts on allauth's pages, for the logs of their organizations."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.db import transaction

from organizations import people
from organizations.models import User
from organizations.tenancy import EVERY, scope


@scope(EVERY, "a person's organizations are several")
def address_changed(
    *, user: User, from_email_address: EmailAddress | None, to_email_address: EmailAddress, **kwargs: Any
) -> None:
    """allauth has told the old address."""
    if from_email_address is None:
        return
    with transaction.atomic():
        people.record_about(
            user,
            actor=user,
            action="account.email_changed",
            target=from_email_address.email,
            on_platform=user.is_staff,
            new_email=to_email_address.email,
        )
