"""What people say to an anomaly."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from organizations.audit import record
from organizations.models import Organization, User
from usage.models import Anomaly

MOST_DAYS = 366


class NotExpected(Exception):
    """It cannot be declared expected; the text is a sentence."""


def expect_anomaly(
    *, organization: Organization, anomaly_id: int, by: User, days: int | None, why: str, now: datetime
) -> None:
    """
    What it is about is not raised again for `days`, or for good (None), unless it goes half as far again beyond.

    Raises NotExpected.
    """
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise NotExpected(f"Say for how many days it is expected, from 1 to {MOST_DAYS}, or for good.")
    why = " ".join(why.split())[:200]
    with transaction.atomic():
        anomaly = Anomaly.objects.for_organization(organization).filter(pk=anomaly_id).first()
        if anomaly is None:
            raise NotExpected("There is no such anomaly.")
        declared = {
            "state": Anomaly.State.EXPECTED,
            "expected_by": by,
            "expected_at": now,
            "expected_until": None if days is None else now + timedelta(days=days),
            "expected_most": anomaly.most_expected,
            "expected_why": why,
        }
        undeclared = Anomaly.objects.for_organization(organization).exclude(state=Anomaly.State.EXPECTED)
        if not undeclared.filter(pk=anomaly_id).update(**declared):
            raise NotExpected("Somebody said so already.")
        record(
            organization=organization,
            actor=by,
            action="anomaly.expected",
            target=str(anomaly),
            days=days,
            why=why,
        )


def raise_again(*, organization: Organization, anomaly_id: int, by: User) -> bool:
    """Take back that it is expected: it is over, and what is found from now on is told. Returns whether it was."""
    with transaction.atomic():
        anomaly = Anomaly.objects.for_organization(organization).filter(pk=anomaly_id).first()
        expected = Anomaly.objects.for_organization(organization).filter(pk=anomaly_id, state=Anomaly.State.EXPECTED)
        if anomaly is None or not expected.update(state=Anomaly.State.OVER):
            return False
        record(organization=organization, actor=by, action="anomaly.raised_again", target=str(anomaly))
    return True
