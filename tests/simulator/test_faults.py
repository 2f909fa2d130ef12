"""What goes wrong with calls of the simulator, on every wire: by prompt, key or header."""

from __future__ import annotations

from dataclasses import replace

import pytest

from providers.adapters.base import ErrorKind, HttpAnswer, ProviderError
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS, effective_base_url
from providers.egress.addresses import ANYWHERE
from providers.egress.short_calls import send_now
from simulator.faults import Fault
from tests.simulator.test_app import KEYED, PROMPT
from tests.simulator.test_streams import WIRES, call, follow, whole
from usage.tokens import TokenUsage

pytestmark = pytest.mark.usefixtures("simulated_providers")

every_wire = pytest.mark.parametrize("wire", WIRES)
STATUSES = [fault for fault in Fault if fault.status]


def answer(wire: str, prompt: str = PROMPT, *, streams: bool = False, header: str = "") -> HttpAnswer:
    _, asked, credentials = call(wire, prompt, streams=streams)
    asked = replace(asked, headers={**asked.headers, "x-simulate": header})
    return send_now(asked, credential_headers=credentials, timeout_seconds=10, reach=ANYWHERE)


@every_wire
@pytest.mark.parametrize("fault", STATUSES)
def test_a_status_that_was_asked_for_is_answered_in_the_words_of_the_wire(wire, fault):
    told = answer(wire, f"{PROMPT} {fault}", streams=True)

    adapter = PROVIDERS[wire.partition(" ")[0]].adapter
    expected = ErrorKind.RATE_LIMITED if fault is Fault.RATE_LIMITED else ErrorKind.OVERLOADED
    assert told.status == fault.status
    assert adapter.failure(told).kind is expected
    assert told.headers.get("retry-after") == ("1" if fault is Fault.RATE_LIMITED else None)


@every_wire
def test_what_is_spent_is_no_rate_limit(wire):
    told = answer(wire, f"{PROMPT} {Fault.SPENT}")

    assert PROVIDERS[wire.partition(" ")[0]].adapter.failure(told).kind is ErrorKind.NO_CREDIT
    assert told.status == (402 if wire.partition(" ")[0] in ("openrouter", "mistral") else 429)
    assert "retry-after" not in told.headers


@pytest.mark.parametrize("slug", KEYED)
def test_a_key_that_only_fails_in_calls_lists_its_models(slug):
    adapter, base_url = PROVIDERS[slug].adapter, effective_base_url(slug)
    headers = adapter.credential_headers(Secret("simulated-valid-simulate-503"))
    _, asked, _ = call(next(wire for wire in WIRES if wire.startswith(slug)), streams=False)

    proof, listing, called = (
        send_now(each, credential_headers=headers, timeout_seconds=10, reach=ANYWHERE)
        for each in (adapter.validation_call(base_url), adapter.models_call(base_url), asked)
    )

    adapter.parse_validation(proof)
    assert adapter.parse_models(listing)
    assert called.status == 503


@every_wire
def test_a_header_asks_for_a_fault(wire):
    assert answer(wire, header="502").status == 502
    assert answer(wire, header="nothing-we-know").status == 200


@every_wire
def test_tokens_that_are_none_are_reported_as_none_of_each_kind(wire):
    told = whole(wire, f"{PROMPT} {Fault.ZERO_USAGE}")
    stream, _, broke = follow(wire, f"{PROMPT} {Fault.ZERO_USAGE}")

    assert broke is None
    assert told.report.usage == stream.usage == TokenUsage()


@every_wire
def test_an_answer_without_usage_has_no_tokens(wire):
    assert whole(wire, f"{PROMPT} {Fault.NO_USAGE}").report.usage is None


@every_wire
def test_a_whole_answer_that_is_cut_does_not_arrive(wire):
    with pytest.raises(ProviderError) as refused:
        answer(wire, f"{PROMPT} {Fault.CUT}")

    assert refused.value.kind is ErrorKind.UNREACHABLE


@every_wire
def test_a_slow_answer_is_the_same_answer(wire, monkeypatch):
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr("simulator.app.sleep", sleep)
    stream, _, _ = follow(wire, f"{PROMPT} {Fault.SLOW}")
    events = len(paused)

    assert stream.usage == whole(wire, f"{PROMPT} {Fault.SLOW}").report.usage is not None
    assert events > 2
    assert len(paused) == events + 1
