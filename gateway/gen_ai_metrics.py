"""
Calls as OpenTelemetry's `gen_ai` metrics, for who collects by it: how long they took, and their tokens.

Only where the extra `otel` is installed and the usual variables name a collector; else nothing of it is loaded. The
same closed names as `/metrics`, and no word of what was asked or answered.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from gateway import gen_ai_names as names
from providers.closed_names import closed_model, closed_provider
from usage.metering import Finished
from usage.models import UsageEvent

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

logger = logging.getLogger(__name__)

COLLECTORS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class GenAiMetrics:
    """Two histograms of a meter. An error of it is nothing to a call."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            names.DURATION,
            unit=names.DURATION_UNIT,
            description="How long a model call took.",
            explicit_bucket_boundaries_advisory=names.DURATION_BOUNDS,
        )
        self._tokens = meter.create_histogram(
            names.TOKENS,
            unit=names.TOKENS_UNIT,
            description="Tokens of a model call, by input and output.",
            explicit_bucket_boundaries_advisory=names.TOKENS_BOUNDS,
        )

    def note(self, calls: Iterable[tuple[str, Finished]]) -> None:
        """With the operation that each was."""
        for operation, call in calls:
            try:
                self._note(call, attributes_of(operation, call))
            except Exception:
                logger.exception("A call could not be told to OpenTelemetry")

    def _note(self, call: Finished, attributes: dict[str, str]) -> None:
        failed = {} if call.status == UsageEvent.Status.ANSWERED else {names.ERROR_TYPE: call.error_kind or call.status}
        self._duration.record(call.latency_ms / 1000, attributes | failed)
        usage = call.report.usage
        if usage is None or call.are_tokens_estimated:
            return
        for kind, tokens in ((names.INPUT, usage.input_total), (names.OUTPUT, usage.output)):
            self._tokens.record(tokens, attributes | {names.TOKEN_TYPE: kind})


def attributes_of(operation: str, call: Finished) -> dict[str, str]:
    facts, served = call.call.facts, call.report.served_model
    provider = closed_provider(facts.provider)
    attributes = {
        names.OPERATION: operation,
        names.PROVIDER: names.PROVIDERS.get(provider, provider),
        names.REQUEST_MODEL: closed_model(facts.provider, facts.model),
    }
    return attributes | {names.RESPONSE_MODEL: closed_model(facts.provider, served)} if served else attributes


@cache
def gen_ai_metrics() -> GenAiMetrics | None:
    """Of this process; None where nobody collects them."""
    try:
        return _exported() if is_wanted() else None
    except Exception:  # variables that it cannot read, say: the calls go on
        logger.exception("Calls are not told to OpenTelemetry")
        return None


def _exported() -> GenAiMetrics:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    return GenAiMetrics(provider.get_meter("keyfare"))


def is_wanted() -> bool:
    """By the variables that OpenTelemetry has for that, and what is installed."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OTEL_METRICS_EXPORTER", "otlp").strip().lower() not in ("", "otlp"):
        return False
    if not any(os.environ.get(name, "").strip() for name in COLLECTORS):
        return False
    try:
        is_installed = all(importlib.util.find_spec(package) for package in PACKAGES)
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        logger.warning("OpenTelemetry is asked for, but not installed: pip install -r requirements/otel.txt")
    return is_installed
