"""Opening and closing organizations: the services that span apps."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from billing.ledger import grant_credits, open_account
from candidates import failures
from candidates.briefings import end_drafts
from candidates.check_endings import end_checks
from candidates.trials import end_trials
from organizations import people
from organizations.audit import events_last, record
from organizations.invitations import end_invitations
from organizations.models import Membership, Organization, User
from organizations.templatetags import mail_text
from providers.custody.shredding import sweep_after_commit
from providers.models import OrganizationKey, ProviderKey
from routing.services import ensure_managed_defaults, remove_provider_key
from usage.models import AnomalyWebhook

PLATFORM_SLUG = "platform"


class CloseRefused(Exception):
    """The organization cannot be closed; the text is a sentence."""


def ensure_platform() -> Organization:
    """The organization that owns the managed keys, with the managed default of every action; made on first call."""
    with transaction.atomic():
        platform, _ = Organization.objects.get_or_create(
            is_platform=True, defaults={"name": "Platform", "slug": PLATFORM_SLUG}
        )
        ensure_managed_defaults()
    return platform


def may_open_for(actor: User, owner: User) -> bool:
    """Nobody of the staff opens organizations of their own, each with its trial credits, but superusers."""
    return actor.is_superuser or actor != owner


def open_organization(*, name: str, slug: str, owner: User, actor: User | None = None) -> Organization:
    """
    A new organization with its owner, credit account and trial credits (setting KEYFARE_TRIAL_CREDITS).

    An owner whom `actor` named, one of the staff, is told by mail.
    Raises django.db.IntegrityError if the slug is taken; forms check that, and `may_open_for`, before.
    """
    with transaction.atomic(), events_last():
        organization = Organization.objects.create(name=name, slug=slug)
        Membership.objects.create(organization=organization, user=owner, role=Membership.Role.OWNER)
        record(organization=organization, actor=actor or owner, action="organization.opened", target=organization.name)
        open_account(organization=organization)
        if settings.KEYFARE_TRIAL_CREDITS:
            grant_credits(
                organization=organization,
                amount=settings.KEYFARE_TRIAL_CREDITS,
                reason="Trial credits",
                idempotency_key="trial",
            )
        if actor is not None and actor != owner:
            people.tell(
                owner.email,
                subject=f"You own {mail_text.name(organization.name)} on Keyfare",
                template="organizations/email/organization_opened.txt",
                actor=actor,
                organization=organization,
                url=settings.SITE_URL.rstrip("/") + reverse("overview", args=[slug]),
                site=settings.SITE_URL,
            )
    return organization


def close_organization(*, organization: Organization, actor: User | None, now: datetime) -> bool:
    """
    Close `organization` for good: nobody can open it any more, and its provider keys are unreadable at once.

    The keys under which they were sealed go first, in a transaction of their own; whatever happens after that,
    nothing is left that opens them. Then its invitations, checks and drafts end: what waited or was being worked on
    fails free of charge, and no call is begun any more. Ledger, usage and audit log stay. Returns whether it was open;
    closing it again finishes what was interrupted. Raises CloseRefused for the platform.
    """
    with transaction.atomic():
        locked = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if locked.is_platform:
            raise CloseRefused("The platform owns the managed keys and cannot be closed.")
        was_open = locked.closed_at is None
        if was_open:
            locked.closed_at = now
            locked.save(update_fields=["closed_at"])
            record(organization=locked, actor=actor, action="organization.closed", target=locked.name)
        OrganizationKey.objects.for_organization(locked).delete()
        AnomalyWebhook.objects.for_organization(locked).delete()
        sweep_after_commit()
    organization.closed_at = locked.closed_at
    end_invitations(organization=organization, actor=actor, now=now)
    end_checks(organization=organization, reason=failures.CLOSED)
    end_drafts(organization=organization, reason=failures.DRAFT_CLOSED)
    end_trials(organization=organization, reason=failures.TRIAL_CLOSED)
    for key in ProviderKey.objects.for_organization(locked).filter(replaces=None).order_by("pk"):
        remove_provider_key(key=key, reset_actions=True, actor=actor)
    return was_open
