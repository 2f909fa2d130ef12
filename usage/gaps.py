"""
Which calls a sum does not tell all about. The rollup counts by these, and the usage page finds the rows by them.

A call that was refused before a model worked on it, or used nothing, costs nothing and is in none of them.
"""

from __future__ import annotations

from django.db.models import Q

from usage.models import UsageEvent

NoPrice, Source, Status = UsageEvent.NoPrice, UsageEvent.PriceSource, UsageEvent.Status

NOTHING_DUE = UsageEvent.NOTHING_DUE

# An answer came, and nobody knows what it cost.
UNPRICED = Q(price_source=Source.NONE) & ~Q(no_price__in=[*NOTHING_DUE, NoPrice.NO_ANSWER])
# It left, and no answer came; it may have been billed.
UNKNOWN = Q(no_price=NoPrice.NO_ANSWER)
# An answer came, and did not say all that was used. Calls that failed at no cost are not among them.
UNREPORTED = (
    Q(usage_reported=False) & ~Q(no_price__in=[*NOTHING_DUE, NoPrice.NO_ANSWER]) & ~Q(status=Status.FAILED, no_price="")
)
TOKENS_NOT_KNOWN = Q(usage_reported=False) & (UNKNOWN | UNREPORTED)
NOTHING_TO_PAY = Q(no_price__in=NOTHING_DUE)
OWN_SERVER = Q(price_source=Source.OWN_SERVER)
