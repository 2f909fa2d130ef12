"""Validation against recordings of real answers, where those lie beside the project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from providers.adapters.base import HttpAnswer
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, ProviderKey
from tests.builders import NOW

CASSETTES = Path(__file__).resolve().parents[3] / "shared" / "data" / "cassettes"
pytestmark = pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")
Status = ProviderKey.Status


def recorded(name: str) -> HttpAnswer:
    response = json.loads((CASSETTES / f"{name}.json").read_text())["interactions"][0]["response"]
    body = response["body_text"] if "body_text" in response else json.dumps(response["body"])
    return HttpAnswer(response["status"], response["headers"], body.encode())


@pytest.fixture
def answered(monkeypatch):
    """Lets every provider answer with what was recorded."""

    def answer_with(*answers: HttpAnswer) -> None:
        left = list(answers)
        monkeypatch.setattr(
            "providers.keys.asking.send_now", lambda *_, **__: left.pop(0) if len(left) > 1 else left[0]
        )

    return answer_with


def validated(organization, provider: str, *, before: str = Status.SAVED) -> ProviderKey:
    key = save_provider_key(
        organization=organization, provider=provider, secret=Secret("a-key-of-no-provider"), actor=None, now=NOW
    )
    ProviderKey.objects.update(status=before)
    waiting = KeyValidation.objects.create(organization=organization, key=key, secret_version=1, requested_at=NOW)
    validate_key(validation_id=waiting.pk, now=NOW)
    return ProviderKey.objects.get()


def test_a_recorded_refusal_breaks_a_connected_key_and_what_it_echoes_is_not_kept(acme, answered):
    answered(recorded("openai__chat_completions__E401__01"))

    key = validated(acme, "openai", before=Status.CONNECTED)

    assert key.status == Status.INVALID
    assert "sk-fake" not in f"{key.status_reason} {key.state.detail}"
    assert "sk-fake" not in f"{KeyValidation.objects.get().reason} {KeyValidation.objects.get().sentence}"


def test_a_recorded_rate_limit_keeps_a_connected_key(acme, answered):
    answered(recorded("openrouter__chat_completions__E429__01"))

    key = validated(acme, "openrouter", before=Status.CONNECTED)

    assert (key.status, key.last_check_failed_at) == (Status.CONNECTED, NOW)


@pytest.mark.parametrize(
    "name",
    ["openai__chat_completions__E400__02", "openai__chat_completions__E404__01", "openai__responses__E400__01"],
)
def test_a_recorded_error_that_is_no_word_about_the_key_breaks_nothing(acme, answered, name):
    answered(recorded(name))

    assert validated(acme, "openai", before=Status.CONNECTED).status == Status.CONNECTED


def test_a_recorded_list_in_openais_form_is_what_the_key_can_call(acme, answered):
    answered(recorded("cerebras__models__models__01"))

    key = validated(acme, "openai")

    listed = json.loads(recorded("cerebras__models__models__01").body)["data"]
    assert key.status == Status.CONNECTED
    assert set(key.available_models.values_list("model", flat=True)) == {row["id"] for row in listed}


def test_a_recorded_answer_that_is_no_list_proves_nothing(acme, answered):
    answered(recorded("openai__models__models__01"))  # of one model

    assert validated(acme, "openai").status == Status.UNREACHABLE


def test_the_recorded_list_of_openrouter_has_sizes_and_prices(acme, answered):
    proven = HttpAnswer(200, {}, json.dumps({"data": {"label": "…", "limit": 20, "limit_remaining": 12.5}}).encode())
    answered(proven, recorded("openrouter__models__models__02"))

    key = validated(acme, "openrouter")

    sonnet = key.available_models.get(model="anthropic/claude-sonnet-4")
    assert (key.status, key.provider_limits["limit_remaining_nanousd"]) == (Status.CONNECTED, 12_500_000_000)
    assert (sonnet.context_tokens, sonnet.input_nanousd_per_mtok) == (1_000_000, 3_000_000_000)
