"""Opening organizations: the services that span apps."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from billing.ledger import grant_credits, open_account
from organizations.audit import record
from organizations.models import Membership, Organization, User
from routing.services import ensure_managed_defaults

PLATFORM_SLUG = "platform"


def ensure_platform() -> Organization:
    """The organization that owns the managed keys, with the managed default of every action; made on first call."""
    with transaction.atomic():
        platform, _ = Organization.objects.get_or_create(
            is_platform=True, defaults={"name": "Platform", "slug": PLATFORM_SLUG}
        )
        ensure_managed_defaults()
    return platform


def open_organization(*, name: str, slug: str, owner: User) -> Organization:
    """
    A new organization with its owner, credit account and trial credits (setting KEYFARE_TRIAL_CREDITS).

    Raises django.db.IntegrityError if the slug is taken; forms check before.
    """
    with transaction.atomic():
        organization = Organization.objects.create(name=name, slug=slug)
        Membership.objects.create(organization=organization, user=owner, role=Membership.Role.OWNER)
        record(organization=organization, actor=owner, action="organization.opened", target=name)
        open_account(organization=organization)
        if settings.KEYFARE_TRIAL_CREDITS:
            grant_credits(
                organization=organization,
                amount=settings.KEYFARE_TRIAL_CREDITS,
                reason="Trial credits",
                idempotency_key="trial",
            )
    return organization
