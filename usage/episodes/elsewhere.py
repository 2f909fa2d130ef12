"""What providers say that keys used, held against what passed here with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Sum

from usage import gaps
from usage.anomalies.elsewhere import Passed, used_elsewhere
from usage.anomalies.series import number_of
from usage.episodes.keeping import Told
from usage.episodes.reading import Stream
from usage.models import Mode, UsageEvent

MARGIN = timedelta(hours=1)  # a call may be told of that much earlier or later than it passed here


@dataclass(frozen=True, slots=True)
class KeyReading:
    """An organization's own key used so much between two times at which its provider was asked."""

    organization_id: int
    key_id: UUID
    since: datetime
    read_at: datetime
    used_nanousd: int


Readings = Callable[[datetime, datetime], Iterable[KeyReading]]  # those taken in [one, other)


def no_readings(_since: datetime, _until: datetime) -> Iterable[KeyReading]:
    return ()


def told_of_keys(readings: Iterable[KeyReading], hour: int) -> Iterator[tuple[int, Told]]:
    for reading in readings:
        finding = used_elsewhere(
            key=str(reading.key_id),
            used_nanousd=reading.used_nanousd,
            passed=_passed(reading),
            since=number_of(reading.since),
            hours=round((reading.read_at - reading.since) / timedelta(hours=1)),
            hour=hour,
        )
        if finding:
            yield reading.organization_id, Told(Stream("", Mode.BYOK), finding)


def _passed(reading: KeyReading) -> Passed:
    sums = (
        UsageEvent.objects.for_organization(reading.organization_id)
        .filter(
            occurred_at__gte=reading.since - MARGIN, occurred_at__lt=reading.read_at + MARGIN, key_id=reading.key_id
        )
        .aggregate(
            cost=Sum("cost_nanousd"), calls=Count("pk"), without=Count("pk", filter=gaps.UNPRICED | gaps.UNKNOWN)
        )
    )
    return Passed(sums["cost"] or 0, sums["calls"], sums["without"])
