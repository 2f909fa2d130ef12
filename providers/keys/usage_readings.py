"""
What providers say that a key used in all, each time it is validated: beside the last reading an earlier one is kept, so
that what it used in between can be held against what passed here. Only OpenRouter tells that to an inference key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from providers.models import ProviderKey
from usage.episodes.elsewhere import KeyReading

USED, READ_AT, BEFORE = "usage_nanousd", "read_at", "before"
LEAST_APART = timedelta(hours=20)  # keys are validated once a day
MOST_APART = timedelta(days=7)  # calls of longer ago may have been pruned


def with_reading(limits: Mapping[str, Any], last: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """`limits` as a provider has just told them, after those of the `last` time."""
    if USED not in limits:
        return dict(limits)
    before = last.get(BEFORE)
    if USED in last and READ_AT in last and (before is None or now - _moment(last) >= LEAST_APART):
        before = {USED: last[USED], READ_AT: last[READ_AT]}
    return {**limits, READ_AT: now.isoformat(), **({BEFORE: before} if before else {})}


def readings(since: datetime, until: datetime) -> Iterator[KeyReading]:
    """Those taken in [since, until) long enough after an earlier one, of organizations' own keys."""
    keys = ProviderKey.objects.filter(
        validated_at__gte=since,
        provider_limits__has_key=BEFORE,
        replaces=None,
        organization__closed_at=None,
        organization__is_platform=False,
    )
    for key in keys.order_by("pk"):
        now, before = key.provider_limits, key.provider_limits[BEFORE]
        used = now[USED] - before[USED]
        is_new, apart = since <= _moment(now) < until, _moment(now) - _moment(before)
        if is_new and LEAST_APART <= apart <= MOST_APART and used > 0:
            yield KeyReading(key.organization_id, key.pk, _moment(before), _moment(now), used)


def _moment(reading: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(reading[READ_AT])
