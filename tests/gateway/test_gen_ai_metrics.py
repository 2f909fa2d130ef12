"""Calls as OpenTelemetry has them: two histograms by its names, and no word of anybody."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from django.conf import settings as project

from gateway import dispatch, writer
from gateway import gen_ai_metrics as subject
from gateway import gen_ai_names as names
from gateway.door.endpoints import Endpoint, asked_for
from gateway.gen_ai_metrics import GenAiMetrics, is_wanted
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import resolve
from tests.builders import NOW, ask_with, route_to_own_key
from tests.gateway.test_writer import QUESTION
from usage.facts import Admission, CallFacts, Origin, deadline_of
from usage.metering import Finished
from usage.models import UsageEvent
from usage.tokens import Report, TokenUsage

metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="the extra `otel` is not installed")
Status = UsageEvent.Status
COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"


def call(provider: str = "openai", model: str = "gpt-4o", **how: Any) -> Finished:
    facts = CallFacts(provider, model, "zeus-agent", uuid.UUID(int=1), "Zeus", "byok")
    admission = Admission(
        id=uuid.uuid4(),
        organization_id=1,
        facts=facts,
        run_id=uuid.uuid4(),
        iteration=1,
        started_at=NOW,
        deadline_at=deadline_of(NOW, 90),
        origin=Origin(7, 1, {"team": "zeus"}),
    )
    return Finished(admission, **{"status": Status.ANSWERED, "latency_ms": 1500, **how})


@pytest.fixture
def told(monkeypatch):
    """The points of each metric after some calls, as the SDK's reader in memory has them."""
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = metrics_sdk.MeterProvider([reader])
    metrics = GenAiMetrics(provider.get_meter("keyfare"))

    def tell(*calls: Finished, operation: str = names.CHAT) -> dict[str, list[Any]]:
        metrics.note((operation, each) for each in calls)
        data: Any = reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for of_resource in data.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        }

    yield tell
    provider.shutdown()


def test_an_answer_is_its_duration_and_its_tokens_by_input_and_output(told):
    usage = TokenUsage(uncached_input=90, cache_read=10, output=7, reasoning=5)

    found = told(call(report=Report(usage=usage, served_model="gpt-4o-2024-08-06")))

    by = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
    }
    (duration,) = found["gen_ai.client.operation.duration"]
    assert dict(duration.attributes) == by
    assert (duration.count, duration.sum) == (1, 1.5)
    assert duration.explicit_bounds == names.DURATION_BOUNDS
    tokens = {point.attributes["gen_ai.token.type"]: point for point in found["gen_ai.client.token.usage"]}
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 100, "output": 7}
    assert dict(tokens["input"].attributes) == by | {"gen_ai.token.type": "input"}
    assert tokens["input"].explicit_bounds == names.TOKENS_BOUNDS == (1, 4, 16, 64, 256, 1024, *TAIL)


TAIL = (4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"status": Status.FAILED, "error_kind": "rate_limited"}, "rate_limited"),
        ({"status": Status.CANCELLED}, "cancelled"),
    ],
)
def test_a_call_without_an_answer_says_why_and_has_no_tokens(told, how, error):
    found = told(call(**how))

    (duration,) = found["gen_ai.client.operation.duration"]
    assert duration.attributes["error.type"] == error
    assert "gen_ai.client.token.usage" not in found


def test_no_word_of_a_customer_is_told(told):
    secret = Report(usage=TokenUsage(output=1), served_model="zeus-7b", request_id="zeus-1")

    found = told(
        call(model="zeus-internal", report=secret),
        call("openai_compatible", "zeus-internal", report=secret),
        call("google", "gemini-2.5-flash", report=secret),
        operation=names.EMBEDDINGS,
    )

    points = [dict(point.attributes) for points in found.values() for point in points]
    assert "zeus" not in str(points)
    assert {point["gen_ai.provider.name"] for point in points} == {"openai", "own_server", "gcp.gemini"}
    assert {point["gen_ai.request.model"] for point in points} == {"other", "gemini-2.5-flash"}
    assert {point["gen_ai.operation.name"] for point in points} == {"embeddings"}


def test_names_are_those_of_the_conventions_that_are_installed():
    conventions = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")

    assert conventions.GEN_AI_CLIENT_OPERATION_DURATION == names.DURATION
    assert conventions.GEN_AI_CLIENT_TOKEN_USAGE == names.TOKENS


def test_what_goes_wrong_in_telling_is_nothing_to_the_call(told, monkeypatch, caplog):
    def refuse(*_: object) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr(subject, "closed_model", refuse)
    told(call())

    assert "A call could not be told to OpenTelemetry" in caplog.text


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/responses", "chat"),
        ("/v1/messages", "chat"),
        ("/v1/embeddings", "embeddings"),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "generate_content"),
        ("/v1beta/models/gemini-embedding-001:batchEmbedContents", "embeddings"),
    ],
)
def test_every_door_says_which_operation_it_is(path, operation):
    endpoint = asked_for("POST", path)

    assert isinstance(endpoint, Endpoint)
    assert endpoint.operation == operation


def test_what_cannot_be_set_up_is_nothing_to_the_calls(monkeypatch, caplog):
    monkeypatch.setattr(subject, "is_wanted", lambda: True)
    monkeypatch.setattr(subject, "_exported", lambda: 1 / 0)
    subject.gen_ai_metrics.cache_clear()

    try:
        assert subject.gen_ai_metrics() is None
        assert "Calls are not told to OpenTelemetry" in caplog.text
    finally:
        subject.gen_ai_metrics.cache_clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("simulated_providers")
def test_each_call_is_told_once_it_is_in_the_books(acme, told, monkeypatch):
    route_to_own_key(acme)
    route = resolve(organization=acme, action=REQUIREMENT_GENERATION.slug)
    ticket = dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)
    seen: list[tuple[str, Finished]] = []

    class Collected:
        def note(self, calls: Iterable[tuple[str, Finished]]) -> None:
            assert UsageEvent.objects.count() == 1
            seen.extend(calls)

    monkeypatch.setattr(writer, "gen_ai_metrics", Collected)
    outcome = ask_with(ticket, QUESTION)

    ((operation, finished),) = seen
    assert (operation, finished.call) == ("chat", ticket.call)
    assert finished.report == outcome.report


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({COLLECTOR: "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"}, True),
        ({COLLECTOR: "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({COLLECTOR: "http://collector:4318", "OTEL_METRICS_EXPORTER": "none"}, False),
        ({COLLECTOR: "http://collector:4318", "OTEL_METRICS_EXPORTER": "otlp"}, True),
    ],
)
def test_it_is_told_where_the_usual_variables_name_a_collector(monkeypatch, variables, wanted):
    for name in (*subject.COLLECTORS, "OTEL_SDK_DISABLED", "OTEL_METRICS_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert is_wanted() is wanted


def test_without_the_extra_that_is_said(monkeypatch, caplog):
    monkeypatch.setenv(COLLECTOR, "http://collector:4318")
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setattr(subject, "PACKAGES", ("opentelemetry_that_is_not_there.sdk",))

    assert not is_wanted()
    assert "requirements/otel.txt" in caplog.text


def test_nothing_of_it_is_loaded_where_nobody_collects():
    code = (
        "import django, sys; django.setup(); import gateway.writer as writer; "
        "assert writer.gen_ai_metrics() is None; assert 'opentelemetry' not in sys.modules"
    )
    environment = {"PATH": "", "DJANGO_SETTINGS_MODULE": "tests.web_settings"}

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=project.BASE_DIR, env=environment, capture_output=True, text=True, timeout=120
    )

    assert ended.returncode == 0, ended.stderr
