"""The adapters against recordings of real traffic, where those lie beside the project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from providers.adapters.base import ErrorKind, HttpAnswer, ProviderError
from providers.catalog import PROVIDERS

CASSETTES = Path(__file__).resolve().parents[3] / "shared" / "data" / "cassettes"
CHATS = ("chat_completions", "messages", "generateContent", "count_tokens", "embedContent")

pytestmark = pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")

KINDS = {
    "auth_invalid_key": ErrorKind.INVALID,
    "rate_limited": ErrorKind.RATE_LIMITED,
    "model_not_found": ErrorKind.MODEL_NOT_FOUND,
    "context_length_exceeded": ErrorKind.BAD_REQUEST,
    "bad_request": ErrorKind.BAD_REQUEST,
}


def recordings() -> Iterator[Any]:
    """Each recorded answer of our providers that is no stream, with what is to be read from it."""
    if not CASSETTES.is_dir():
        return
    expected = json.loads((CASSETTES / "expected.json").read_text(), parse_float=Decimal)
    for name in sorted(expected):
        for entry in expected[name] if isinstance(expected[name], list) else ():
            if entry["provider"] in PROVIDERS and entry["endpoint"] in CHATS and not entry["stream"]:
                yield pytest.param(name, entry, id=f"{name.removesuffix('.json')}-{entry['index']}")


def recorded(name: str, index: int) -> HttpAnswer:
    response = json.loads((CASSETTES / name).read_text(), parse_float=float)["interactions"][index]["response"]
    body = response["body_text"] if "body_text" in response else json.dumps(response["body"])
    return HttpAnswer(response["status"], response["headers"], body.encode())


ALL = list(recordings())
ANSWERED = [row for row in ALL if not row.values[1].get("error") and row.values[1]["usage"]]
REFUSED = [row for row in ALL if row.values[1].get("error")]


def test_the_recordings_cover_every_provider():
    assert {row.values[1]["provider"] for row in ANSWERED} == {
        slug for slug, each in PROVIDERS.items() if not each.may_be_own_server
    }
    assert len(ANSWERED) >= 25
    assert len(REFUSED) >= 10


@pytest.mark.parametrize(("name", "entry"), ANSWERED)
def test_tokens_and_cost_are_read_as_the_provider_meant_them(name, entry):
    result = PROVIDERS[entry["provider"]].adapter.parse_chat(recorded(name, entry["index"]))

    expected, usage = entry["usage"], result.report.usage
    assert usage is not None
    assert usage.input_total == expected["input"]
    assert usage.output == expected["output"]
    assert usage.cache_read == expected["cached_input"]
    # One provider counts the same tokens as read and as written: they are counted once.
    writable = expected["input"] - expected["cached_input"]
    assert usage.cache_write + usage.cache_write_1h == min(expected["cache_write"], writable)
    assert usage.reasoning == min(expected["reasoning"], expected["output"])
    assert usage.total == expected["input"] + expected["output"]
    assert result.report.served_model == entry["model"]
    cost = entry.get("reported_cost_usd")
    assert result.report.cost_nanousd == (None if cost is None else round(Decimal(cost) * 10**9))


@pytest.mark.parametrize(("name", "entry"), REFUSED)
def test_errors_are_classified_as_what_they_were(name, entry):
    with pytest.raises(ProviderError) as refused:
        PROVIDERS[entry["provider"]].adapter.parse_chat(recorded(name, entry["index"]))

    assert refused.value.kind is KINDS[entry["error"]["class"]]
    assert refused.value.http_status == entry["status"]


def test_the_recorded_list_of_openrouter_has_sizes_and_prices():
    models = PROVIDERS["openrouter"].adapter.parse_models(recorded("openrouter__models__models__02.json", 0))

    by_id = {model.id: model for model in models}
    sonnet = by_id["anthropic/claude-sonnet-4"]
    assert sonnet.name == "Anthropic: Claude Sonnet 4"
    assert sonnet.context_tokens == 1_000_000
    assert (sonnet.input_nanousd_per_mtok, sonnet.output_nanousd_per_mtok) == (3_000_000_000, 15_000_000_000)


def test_a_larger_list_of_openrouter_is_read_whole():
    listing = CASSETTES.parent / "prices" / "openrouter_models_2025.json"
    if not listing.is_file():
        pytest.skip("needs ../shared/data/prices")
    content = json.loads(listing.read_text())
    rows = content["data"] if isinstance(content, dict) else content

    models = PROVIDERS["openrouter"].adapter.parse_models(HttpAnswer(200, {}, json.dumps({"data": rows}).encode()))

    assert len(models) == len(rows) > 100
    assert all(model.input_nanousd_per_mtok is None or model.input_nanousd_per_mtok >= 0 for model in models)
    assert sum(model.context_tokens is not None for model in models) > 100
