"""
What Managed calls of an anomaly cost in credits. Checks are charged as they end, so that those of its hours are known;
drafts and agents cost no credits. How many are usual nobody knows: the same hours a week before stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Sum, Value

from candidates.models import CandidateCheck
from organizations.models import Organization
from routing.actions import CANDIDATE_CHECK
from usage.models import Anomaly, Mode

WEEK = timedelta(days=7)


def credits_said(organization: Organization, anomalies: Iterable[Anomaly]) -> dict[int, str]:
    """A sentence for each that is of Managed calls, in one statement for all."""
    managed = [anomaly for anomaly in anomalies if anomaly.mode == Mode.MANAGED]
    of_checks = [anomaly for anomaly in managed if anomaly.action == CANDIDATE_CHECK.slug]
    said = {anomaly.pk: "They cost no credits." for anomaly in managed}
    charged = _charged(organization, of_checks)
    for anomaly in of_checks:
        now, before = charged.get((anomaly.pk, 0), 0), charged.get((anomaly.pk, 1), 0)
        said[anomaly.pk] = f"Checks that ended in these hours took {now:,} credits; a week before, {before:,}."
    return said


def _charged(organization: Organization, anomalies: Iterable[Anomaly]) -> dict[tuple[int, int], int]:
    """Credits by anomaly and weeks before it: each a range of the index of checks that ended."""
    checks = CandidateCheck.objects.for_organization(organization).filter(mode=Mode.MANAGED).order_by()
    sums: list[Any] = [
        checks.filter(completed_at__gte=anomaly.since - weeks * WEEK, completed_at__lt=anomaly.seen_at - weeks * WEEK)
        .values("mode")
        .annotate(anomaly=Value(anomaly.pk), weeks=Value(weeks), credits=Sum("charged"))
        .values_list("anomaly", "weeks", "credits")
        for anomaly in anomalies
        for weeks in (0, 1)
    ]
    if not sums:
        return {}
    return {(anomaly, weeks): credits or 0 for anomaly, weeks, credits in sums[0].union(*sums[1:], all=True)}
