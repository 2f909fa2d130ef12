"""Briefings that are done with: one that nobody was checked against can be deleted, any other archived."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from candidates.briefings import BriefingRefused
from candidates.models import Briefing
from organizations.audit import record
from organizations.models import TenantQuerySet, User


def archive_briefing(*, briefing: Briefing, now: datetime) -> None:
    """It leaves the list, and nobody is checked against it; its results stay. Checks under way end as usual."""
    _one(briefing).filter(archived_at=None).update(archived_at=now)


def bring_back_briefing(*, briefing: Briefing) -> None:
    _one(briefing).update(archived_at=None)


def delete_briefing(*, briefing: Briefing, actor: User) -> None:
    """
    Delete it for good; a draft that is being written is dropped. Raises BriefingRefused where something hangs on it.
    """
    with transaction.atomic():
        locked = _one(briefing).select_for_update().first()
        if locked is None:
            return
        if locked.checks.filter(organization=locked.organization_id).exists():
            raise BriefingRefused("People were checked against this briefing, so it is kept. Archive it instead.")
        later = Briefing.objects.filter(organization=locked.organization_id, earlier_version=locked).first()
        if later:
            raise BriefingRefused(
                f"Version {later.version} was made from this briefing, so it is kept. Archive it instead."
            )
        title = str(locked)
        locked.delete()
        record(organization=briefing.organization, actor=actor, action="briefing.deleted", target=title)


def _one(briefing: Briefing) -> TenantQuerySet[Briefing]:
    return Briefing.objects.for_organization(briefing.organization).filter(pk=briefing.pk)
