"""What nobody recorded in time: an event with status *lost*, whose tokens and cost nobody knows."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction

from usage.metering import Finished, record_calls
from usage.models import InFlightCall, UsageEvent

logger = logging.getLogger(__name__)

Status = UsageEvent.Status
MOST_SWEPT = 1000  # in one pass; the next one takes the rest


def sweep_lost_calls(*, now: datetime) -> int:
    """
    Turn admissions past their deadline into events with status *lost*; returns how many this pass wrote.

    Safe beside workers and other sweepers: whoever writes a call's event first has it.
    """
    swept = 0
    overdue = InFlightCall.objects.filter(deadline_at__lt=now).order_by("deadline_at").values_list("pk", flat=True)
    for call_id in list(overdue[:MOST_SWEPT]):
        with transaction.atomic():
            rows = InFlightCall.objects.select_for_update(skip_locked=True, of=("self",))
            row = rows.filter(pk=call_id).first()
            if row is None:
                continue
            latency_ms = (now - row.started_at) // timedelta(milliseconds=1)
            (event,) = record_calls([Finished(row.admission, Status.LOST, latency_ms)])
        swept += event.status == Status.LOST
    if swept:
        logger.warning("%d calls ended without a trace and count as lost.", swept)
    return swept
