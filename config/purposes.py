"""What runs were for, where it was a check: the page of it, and whom it was about."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.urls import reverse

from candidates.models import CandidateCheck
from organizations.models import Organization
from usage.views import Purpose


def purposes_of(organization: Organization, runs: Collection[UUID]) -> dict[UUID, Purpose]:
    checks = CandidateCheck.objects.for_organization(organization).filter(run_id__in=runs)
    return {
        check.run_id: Purpose(f"Check of {check.candidate.name}", check_url(organization, check))
        for check in checks.select_related("candidate")
    }


def check_url(organization: Organization, check: CandidateCheck) -> str:
    return reverse("candidates:check", args=[organization.slug, check.pk])
