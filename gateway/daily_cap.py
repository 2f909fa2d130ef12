"""How much a day what costs no credits may call a managed model, which the operator pays for: actions, and agents."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Q, Sum

from organizations.models import Organization
from usage.days import midnight_before
from usage.models import InFlightCall, Mode, UsageEvent

WAIT_SECONDS = 2.0  # for calls that are under way


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


class DailyCapReached(Exception):
    """
    A managed agent has called as much as a day allows; str() is a sentence, `seconds` those until it may again.
    `can_retry`: only what is under way keeps it from calling.
    """

    def __init__(self, sentence: str, seconds: float, *, can_retry: bool = False) -> None:
        super().__init__(sentence)
        self.seconds, self.can_retry = seconds, can_retry


def refuse_over_cap(
    *, organization_id: int, agent: str, most_calls: int, most_nanousd: int, reserved_nanousd: int, now: datetime
) -> None:
    """
    Raise DailyCapReached where a managed agent made as many calls on the UTC day of `now` as it may, those under way
    among them, or cost as much, together with the `reserved_nanousd` that those under way may cost yet. Runs are not
    counted: a client can name them. A call that cost nobody knows what counts as a call alone.
    """
    midnight = midnight_before(now)
    of_agent = Q(organization_id=organization_id, action=agent, mode=Mode.MANAGED)
    told = UsageEvent.objects.filter(of_agent, occurred_at__gte=midnight).aggregate(
        calls=Count("pk", filter=Q(revision=0)), nanousd=Sum("cost_nanousd")
    )
    calls = told["calls"] + InFlightCall.objects.filter(of_agent, started_at__gte=midnight).count()
    spent = told["nanousd"] or 0
    if calls < most_calls and spent < most_nanousd:
        if spent + reserved_nanousd < most_nanousd:
            return
        raise DailyCapReached(
            "This agent's calls under way may cost all that its managed key still allows on this day (UTC). Try again "
            "once they have ended; a lower output limit lets more of them run at once.",
            WAIT_SECONDS,
            can_retry=True,
        )
    what = "calls" if calls >= most_calls else "cost"
    raise DailyCapReached(
        f"This agent has reached the {what} that its managed key allows on a day (UTC). It goes on tomorrow, or "
        "at once on a key of your own: route it in Settings, LLM Routing by Action.",
        (midnight + timedelta(days=1) - now).total_seconds(),
    )
