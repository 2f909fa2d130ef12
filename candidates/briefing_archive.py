"""Briefings that are done with: one that nobody was checked against can be deleted, any other archived."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from candidates.models import Briefing
from candidates.requirements import BriefingRefused
from organizations.audit import record
from organizations.models import TenantQuerySet, User


def archive_briefing(*, briefing: Briefing, now: datetime) -> None:
    """It leaves the list, and nobody is checked against it; its results stay. Checks under way end as usual."""
    _one(briefing).filter(archived_at=None).update(archived_at=now)


def bring_back_briefing(*, briefing: Briefing) -> None:
    _one(briefing).update(archived_at=None)


def why_kept(briefing: Briefing) -> str:
    """What hangs on it, as a sentence, or nothing where it can be deleted."""
    if briefing.checks.filter(organization=briefing.organization_id).exists():
        return "People were checked against this briefing, so it is kept. Archive it instead."
    later = Briefing.objects.filter(organization=briefing.organization_id, earlier_version=briefing).first()
    return f"Version {later.version} was made from this briefing, so it is kept. Archive it instead." if later else ""


def delete_briefing(*, briefing: Briefing, actor: User) -> None:
    """
    Delete it for good; a draft that is being written is dropped. Raises BriefingRefused where something hangs on it.
    """
    with transaction.atomic():
        locked = _one(briefing).select_for_update().first()
        if locked is None:
            return
        if why := why_kept(locked):
            raise BriefingRefused(why)
        title = str(locked)
        locked.delete()
        record(organization=briefing.organization, actor=actor, action="briefing.deleted", target=title)


def _one(briefing: Briefing) -> TenantQuerySet[Briefing]:
    return Briefing.objects.for_organization(briefing.organization).filter(pk=briefing.pk)
