"""What leaves for each provider."""

from __future__ import annotations

import json

import pytest

from providers.adapters.base import ChatRequest, Message
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS

OPENAI = PROVIDERS["openai"].adapter
OPENROUTER = PROVIDERS["openrouter"].adapter
ANTHROPIC = PROVIDERS["anthropic"].adapter
GOOGLE = PROVIDERS["google"].adapter

REQUEST = ChatRequest(
    model="some-model",
    system="Answer in JSON.",
    messages=(Message("user", "Ünïcode?"), Message("assistant", "Yes."), Message("user", "Again.")),
    max_output_tokens=100,
)


def test_openai_gets_the_key_as_bearer_and_max_completion_tokens():
    call = OPENAI.chat_call("https://api.openai.com/v1", REQUEST)

    assert (call.method, call.url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert json.loads(call.body or b"") == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "Answer in JSON."},
            {"role": "user", "content": "Ünïcode?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Again."},
        ],
        "max_completion_tokens": 100,
        "response_format": {"type": "json_object"},
    }
    assert OPENAI.credential_headers(Secret("sk-secret")) == {"authorization": "Bearer sk-secret"}


def test_openrouter_gets_max_tokens_and_our_name():
    call = OPENROUTER.chat_call("https://openrouter.ai/api/v1", REQUEST)
    content = json.loads(call.body or b"")

    assert call.headers["x-title"] == "Keyfare"
    assert content["max_tokens"] == 100
    assert "max_completion_tokens" not in content


def test_anthropic_gets_its_version_and_the_key_in_its_own_header():
    call = ANTHROPIC.chat_call("https://api.anthropic.com/v1", REQUEST)

    assert call.url == "https://api.anthropic.com/v1/messages"
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(call.body or b"") == {
        "model": "some-model",
        "max_tokens": 100,
        "messages": [
            {"role": "user", "content": "Ünïcode?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Again."},
        ],
        "system": "Answer in JSON.",
    }
    assert ANTHROPIC.credential_headers(Secret("sk-secret")) == {"x-api-key": "sk-secret"}


def test_google_gets_the_model_in_the_address_and_the_key_never_there():
    call = GOOGLE.chat_call("https://generativelanguage.googleapis.com/v1beta", REQUEST)

    assert call.url == "https://generativelanguage.googleapis.com/v1beta/models/some-model:generateContent"
    assert json.loads(call.body or b"") == {
        "contents": [
            {"role": "user", "parts": [{"text": "Ünïcode?"}]},
            {"role": "model", "parts": [{"text": "Yes."}]},
            {"role": "user", "parts": [{"text": "Again."}]},
        ],
        "generationConfig": {"maxOutputTokens": 100, "responseMimeType": "application/json"},
        "systemInstruction": {"parts": [{"text": "Answer in JSON."}]},
    }
    assert GOOGLE.credential_headers(Secret("AQ.secret")) == {"x-goog-api-key": "AQ.secret"}


def test_a_model_name_cannot_leave_its_place_in_an_address():
    call = GOOGLE.chat_call("https://google.example", ChatRequest("../x?key=1#y", "", (Message("user", "Hi"),)))

    assert call.url == "https://google.example/models/..%2Fx%3Fkey%3D1%23y:generateContent"


@pytest.mark.parametrize("slug", PROVIDERS)
def test_no_call_holds_credentials_before_it_leaves(slug):
    adapter = PROVIDERS[slug].adapter
    calls = (
        adapter.chat_call("https://x.example", REQUEST),
        adapter.validation_call("https://x.example"),
        adapter.models_call("https://x.example"),
    )

    for call in calls:
        assert not {"authorization", "x-api-key", "x-goog-api-key"} & {name.lower() for name in call.headers}


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_openai_is_told_of_json_because_it_refuses_json_mode_otherwise(system):
    call = OPENAI.chat_call("https://x.example", ChatRequest("gpt-4.1", system, (Message("user", "Hi"),)))

    assert "json" in json.loads(call.body or b"")["messages"][0]["content"].lower()


def test_nothing_of_json_is_asked_where_text_is_wanted():
    wanted = ChatRequest("gpt-4.1", "", (Message("user", "Hi"),), json_output=False)

    assert b"json" not in (OPENAI.chat_call("https://x.example", wanted).body or b"").lower()
    assert b"json" not in (GOOGLE.chat_call("https://x.example", wanted).body or b"").lower()
