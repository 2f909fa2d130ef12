"""
Counters of model calls that never go down, whoever asks, and of whichever process.

Each event is added to CallCount once, by a watermark of its own as the rollup has one (usage/rollups.py), when somebody
asks. So it costs what happened since, however much there is. The sums of days would not do: there are ever more of
them, a rebuild makes them anew, corrections make them smaller, and a model that a later price list names would leave
the count of "other". Here a call is counted under the name it has when it is counted, and what corrections take back
is a count of its own. Counting begins with the first question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Case, CharField, Count, Max, Q, Sum, Value, When

from config.models import CallCount, CallsCounted
from providers.closed_names import closed_model, closed_provider
from usage import gaps
from usage.measures import LATENCY_BOUNDS_MS
from usage.models import UsageEvent
from usage.rollups import events_between, next_position, position_column, system_identifier

EVENTS_AT_ONCE = 100_000  # a fifth of a second; what is left is counted the next time
ROWS_AT_ONCE = 500
GATEWAY, OURSELVES = "gateway", "keyfare"

_ANSWERED = Q(status=UsageEvent.Status.ANSWERED)
_DOOR = Case(
    When(token_id__isnull=False, then=Value(GATEWAY)), default=Value(OURSELVES), output_field=CharField(max_length=10)
)
TOKENS = ("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
OF_A_STATUS = {"calls": Count("id", filter=Q(revision=0))}
OF_A_MODEL: dict[str, Any] = {
    **{name: Sum(name) for name in (*TOKENS, "reasoning_tokens")},
    "cost_nanousd": Sum("cost_nanousd", filter=Q(cost_nanousd__gt=0)),
    "taken_back_nanousd": Sum("cost_nanousd", filter=Q(cost_nanousd__lt=0)),
    "unpriced": Count("id", filter=gaps.UNPRICED),
    "unanswered": Count("id", filter=gaps.UNKNOWN),
}
OF_A_PROVIDER: dict[str, Any] = {
    "answered": Count("id", filter=_ANSWERED),
    "answered_ms": Sum("latency_ms", filter=_ANSWERED),
    **{f"within_{bound}_ms": Count("id", filter=_ANSWERED & Q(latency_ms__lte=bound)) for bound in LATENCY_BOUNDS_MS},
}
MEASURES = OF_A_STATUS | OF_A_MODEL | OF_A_PROVIDER


class Counted(NamedTuple):
    """What a row of CallCount counts; "" is a label that its measure does not have."""

    measure: str
    provider: str
    model: str
    mode: str
    status: str
    door: str


def count_new_calls() -> None:
    """Add those that ended since the last time; at once if another one is at it."""
    state = CallsCounted.objects.first()
    if state is None:
        new = CallsCounted(position=next_position(), system_identifier=system_identifier())
        CallsCounted.objects.bulk_create([new], ignore_conflicts=True)
        return
    if not events_between(state.position, next_position(), after_id=state.after_id).exists() and _is_of_here(state):
        return
    with transaction.atomic():
        locked = CallsCounted.objects.select_for_update(skip_locked=True).first()
        if locked is None:
            return
        if not _is_of_here(locked):  # restored into another cluster, where positions begin anew
            locked.after_id = UsageEvent.objects.aggregate(last=Max("id"))["last"] or 0
            locked.position, locked.system_identifier = next_position(), system_identifier()
            locked.save()
            return
        until = _until(locked)
        _add(_counts(locked, until))
        CallsCounted.objects.update(position=until)


def _is_of_here(state: CallsCounted) -> bool:
    return state.system_identifier == system_identifier()


def _until(state: CallsCounted) -> int:
    """Up to where to count this time. What one transaction wrote has one position, and is counted together."""
    until, by = next_position(), position_column()
    events = events_between(state.position, until, after_id=state.after_id).order_by(by)
    far = events.values_list(by, flat=True)[EVENTS_AT_ONCE : EVENTS_AT_ONCE + 1].first()
    return until if far is None else max(far, state.position + 1)


def _counts(state: CallsCounted, until: int) -> Mapping[Counted, int]:
    events = events_between(state.position, until, after_id=state.after_id).order_by()
    by = ("provider", "model", "mode", "status")
    counts: Counter[Counted] = Counter()
    for *facts, door, sums in _rows(events.annotate(door=_DOOR).values(*by, "door").annotate(**_named()), by):
        provider, model, mode, status = facts
        labels = closed_provider(provider), closed_model(provider, model), mode, status, door
        for measure, value in sums.items():
            if value:
                counts[_counted(measure, *labels)] += abs(value)
    return counts


def _rows(rows: Any, by: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield *(row[name] for name in by), row["door"], {name: row[f"sum_{name}"] for name in MEASURES}


def _named() -> dict[str, Any]:
    """Their names are columns, too."""
    return {f"sum_{name}": aggregate for name, aggregate in MEASURES.items()}


def _counted(measure: str, provider: str, model: str, mode: str, status: str, door: str) -> Counted:
    if measure in OF_A_STATUS:
        return Counted(measure, provider, model, mode, status, door)
    if measure in OF_A_MODEL:
        return Counted(measure, provider, model, mode, "", "")
    return Counted(measure, provider, "", mode, "", "")


def _add(counts: Mapping[Counted, int]) -> None:
    table, columns = CallCount._meta.db_table, (*Counted._fields, "value")
    row = f"({', '.join(['%s'] * len(columns))})"
    rows = [(*counted, value) for counted, value in counts.items()]
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(part))} "  # noqa: S608  # names of ours
                f"ON CONFLICT ({', '.join(Counted._fields)}) DO UPDATE SET value = {table}.value + excluded.value",
                [value for each in part for value in each],
            )
