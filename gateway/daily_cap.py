"""How often a day an action that costs no credits may call a managed model, which the operator pays for."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings

from organizations.models import Organization
from usage.days import midnight_before
from usage.models import Mode, UsageEvent


def runs_left_today(
    *, organization: Organization, action: str, now: datetime, waiting: Iterable[uuid.UUID] = ()
) -> int:
    """
    How many runs of `action` Managed mode still allows on the UTC day of `now`, beside those that called a model and
    those that are about to (`waiting`).
    """
    called = UsageEvent.objects.for_organization(organization).filter(
        action=action, mode=Mode.MANAGED, occurred_at__gte=midnight_before(now)
    )
    cap: int = settings.KEYFARE_MANAGED_DAILY_RUNS
    return max(0, cap - len({*called.values_list("run_id", flat=True), *waiting}))
