"""What `/metrics` tells, by the names that dashboards and alerts are written for: never rename one."""

from __future__ import annotations

import platform
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, timedelta
from functools import cache

from django.conf import settings
from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import Now
from django_q.models import OrmQ
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from candidates.models import CandidateCheck
from config.metrics.counting import TOKENS
from config.models import CallCount, UsageCheck
from config.worker import heartbeat
from organizations import clock
from organizations.models import MailServer, OutgoingMail
from usage.measures import LATENCY_BOUNDS_MS
from usage.models import InFlightCall, UsageEvent
from usage.price_list import CATALOG_VERSION
from usage.rollups import not_rolled_up, position_column

NANO = 10**9
MOST_PENDING = 100_000  # so many are counted, and no more
OPEN_CHECKS = (CandidateCheck.Status.PENDING, CandidateCheck.Status.IN_PROGRESS)
WITHOUT_COST = ("unpriced", "unanswered")
BY_MODEL = ("provider", "model", "mode")


def of_calls() -> Iterator[Metric]:
    """The counters, from CallCount."""
    found: defaultdict[str, list[CallCount]] = defaultdict(list)
    for row in CallCount.objects.all():
        found[row.measure].append(row)

    calls = CounterMetricFamily("keyfare_calls", "Model calls that have ended.", labels=CallCount.LABELS)
    for row in found["calls"]:
        calls.add_metric(_labels(row, CallCount.LABELS), row.value)
    yield calls

    tokens = CounterMetricFamily("keyfare_tokens", "Tokens of model calls.", labels=(*BY_MODEL, "kind"))
    for measure in TOKENS:
        for row in found[measure]:
            tokens.add_metric([*_labels(row, BY_MODEL), measure.removesuffix("_tokens")], row.value)
    yield tokens
    yield _by_model("keyfare_reasoning_tokens", "Those of the output tokens that reasoned.", found["reasoning_tokens"])
    yield _by_model("keyfare_cost_usd", "Of the model calls that have a price.", found["cost_nanousd"], NANO)
    yield _by_model(
        "keyfare_cost_taken_back_usd", "What later corrections took from it.", found["taken_back_nanousd"], NANO
    )

    gaps = CounterMetricFamily(
        "keyfare_calls_without_cost", "Model calls whose cost nobody knows.", labels=(*BY_MODEL, "reason")
    )
    for reason in WITHOUT_COST:
        for row in found[reason]:
            gaps.add_metric([*_labels(row, BY_MODEL), reason], row.value)
    yield gaps
    yield _durations(found)


def _labels(row: CallCount, names: tuple[str, ...]) -> list[str]:
    return [getattr(row, name) for name in names]


def _by_model(name: str, about: str, rows: list[CallCount], scale: int = 1) -> Metric:
    family = CounterMetricFamily(name, about, labels=BY_MODEL)
    for row in rows:
        family.add_metric(_labels(row, BY_MODEL), row.value / scale if scale > 1 else row.value)
    return family


def _durations(found: defaultdict[str, list[CallCount]]) -> Metric:
    family = HistogramMetricFamily(
        "keyfare_call_duration_seconds",
        "From sending to the whole answer, of answered calls.",
        labels=("provider", "mode"),
    )
    values = {
        (row.provider, row.mode, measure): row.value
        for measure in ("answered_ms", *(f"within_{bound}_ms" for bound in LATENCY_BOUNDS_MS))
        for row in found[measure]
    }
    for row in found["answered"]:
        at = (row.provider, row.mode)
        buckets = [
            (str(bound / 1000), float(values.get((*at, f"within_{bound}_ms"), 0))) for bound in LATENCY_BOUNDS_MS
        ]
        family.add_metric(at, [*buckets, ("+Inf", row.value)], values.get((*at, "answered_ms"), 0) / 1000)
    return family


def of_now() -> Iterator[Metric]:
    """What waits, and what is known of how things are. What nobody knows is left out."""
    in_flight = InFlightCall.objects.aggregate(calls=Count("pk"), overdue=Count("pk", filter=Q(deadline_at__lt=Now())))
    yield _gauge("keyfare_calls_in_flight", "Admitted model calls that have not ended.", in_flight["calls"])
    yield _gauge(
        "keyfare_calls_overdue",
        "Those of them that have no time left, and are to be counted as lost.",
        in_flight["overdue"],
    )
    pending = not_rolled_up(UsageEvent.objects.order_by(position_column()))
    yield _gauge(
        "keyfare_rollup_pending_events",
        f"Usage events that the rollup has not taken in, at most {MOST_PENDING}.",
        pending[:MOST_PENDING].count(),
    )
    first = pending.annotate(asked_at=Now()).values_list("occurred_at", "asked_at").first()
    age = _seconds(first[1] - first[0]) if first else 0
    yield _gauge("keyfare_rollup_pending_seconds", "Since the first of them left.", age)
    if beat := heartbeat.last_sign_of_life():
        yield _gauge("keyfare_worker_heartbeat_age_seconds", "Since a worker gave a sign of life.", _seconds(beat.age))
    oldest = heartbeat.oldest_waiting_task()
    due = OrmQ.objects.filter(lock__lte=Now()).count()
    yield _gauge("keyfare_tasks_waiting", "Background tasks that could run.", due)
    yield _gauge(
        "keyfare_tasks_waiting_seconds", "Since the first of them could.", _seconds(oldest.age) if oldest else 0
    )
    checks = CandidateCheck.objects.filter(status__in=OPEN_CHECKS)
    yield _gauge("keyfare_checks_open", "Candidate checks that were accepted and have not ended.", checks.count())
    mails = OutgoingMail.objects.filter(state=OutgoingMail.State.WAITING)
    yield _gauge("keyfare_mails_waiting", "Mails in the outbox.", mails.count())
    failing = MailServer.objects.filter(failures__gt=0).exclude(failing_since=None).exists()
    yield _gauge("keyfare_mail_server_failing", "1: the mail server did not take the last mail.", int(failing))
    yield _gauge(
        "keyfare_clock_skew_seconds", "The clock of this machine, ahead of the database's.", clock.clock_skew_seconds()
    )
    if check := UsageCheck.objects.order_by("-pk").first():
        at = check.checked_at.astimezone(UTC).timestamp()
        yield _gauge("keyfare_usage_check_timestamp_seconds", "When sums of usage were last compared with calls.", at)
        yield _gauge("keyfare_usage_check_differences", "Sums that were not those of their calls.", check.differing)


def of_the_build() -> Metric:
    about = GaugeMetricFamily(
        "keyfare_build_info", "1; what runs here.", labels=["version", "python", "database", "price_list"]
    )
    about.add_metric([_version(), platform.python_version(), connection.vendor, CATALOG_VERSION.rpartition(" ")[2]], 1)
    return about


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _seconds(age: timedelta) -> float:
    return max(age.total_seconds(), 0.0)


@cache
def _version() -> str:
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
